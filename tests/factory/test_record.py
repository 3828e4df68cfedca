"""Records: every modality there and back within its step, hashes of numbers, depth that always fits."""

import dataclasses
import json

import numpy as np
import pytest

from dnerf_jax.factory import record
from dnerf_jax.factory.plan import VIEWS, Plan, Viewpoints


@pytest.fixture(scope="module")
def forms(tiny_config):
    """Of a plan with everything."""
    return record.forms(Plan(modalities=VIEWS), tiny_config)


def values(rng):
    """What a view of 6 x 6 pixels may hold; its corner is empty."""
    depth = rng.uniform(1.9, 3.5, (6, 6)).astype(np.float32)
    depth[0, 0] = np.inf
    normal = rng.standard_normal((6, 6, 3)).astype(np.float32)
    return {
        "image": rng.uniform(-1.2, 1.2, (6, 6, 3)).astype(np.float32),
        "mask": rng.integers(0, 5, (6, 6)).astype(np.uint8),
        "depth_z": depth,
        "distance": depth * 1.01,
        "normal": normal / np.linalg.norm(normal, axis=-1, keepdims=True),
        "opacity": rng.uniform(0, 1, (6, 6)).astype(np.float32),
        "confidence": rng.uniform(0, 1, (6, 6)).astype(np.float32),
        "logits": rng.standard_normal((6, 6, 5)).astype(np.float32) * 20,
    }


STEP = {"image": 1.01 / 127.5, "mask": 0, "normal": 5e-4, "opacity": 1 / 65535, "confidence": 1 / 65535, "logits": 0.05}


@pytest.mark.parametrize("name", VIEWS)
def test_a_modality_comes_back(forms, generator, name):
    form, array = forms[name], values(generator)[name]
    numbers = record.stored(form, array)
    assert numbers.dtype == form.dtype
    data = record.encode(form, numbers, np.zeros((5, 3), np.uint8) if name == "mask" else None)
    decoded = record.decode(form, data)
    np.testing.assert_array_equal(decoded, numbers)
    assert record.pixel_hash(decoded) == record.pixel_hash(numbers)
    found = record.restored(form, decoded)
    if name == "image":
        np.testing.assert_allclose(found / 127.5 - 1, np.clip(array, -1, 1), atol=STEP["image"] / 2)
    elif name in ("depth_z", "distance"):
        assert found.dtype == np.float32 and found[0, 0] == 0
        np.testing.assert_allclose(found[np.isfinite(array)], array[np.isfinite(array)], atol=form.scale * 0.51)
    else:
        np.testing.assert_allclose(found, array, atol=STEP[name])


def test_depth_can_be_float(tiny_config, generator):
    form = record.forms(Plan(depth="float32"), tiny_config)["depth_z"]
    assert (form.suffix, form.dtype, form.scale) == ("depth_z.npy", "float32", None)
    array = values(generator)["depth_z"]
    found = record.restored(form, record.decode(form, record.encode(form, record.stored(form, array))))
    np.testing.assert_array_equal(found, np.where(np.isfinite(array), array, 0))


@pytest.mark.parametrize("radius", [0.9, 2.7, 40.0])
def test_the_far_side_of_the_box_always_fits(tiny_config, radius):
    options = dataclasses.replace(tiny_config.rendering, avg_camera_radius=radius, ray_start="auto", ray_end="auto")
    config = dataclasses.replace(tiny_config, rendering=options)
    form = record.forms(Plan(), config)["depth_z"]
    far = radius + np.sqrt(3) / 2 * options.box_warp
    assert 60_000 * 0.9 < record.stored(form, np.full((2, 2), far)).max() <= 65_535
    assert float(f"{form.scale:.1e}") == form.scale
    with pytest.raises(ValueError, match=r"beyond what 16 bits .* hold: store them as float32"):
        record.stored(form, np.full((2, 2), far * 1.2))


def test_cameras_of_a_list_may_stand_further_away(tiny_config):
    pose = np.eye(4)
    pose[:3, 3] = 0, 0, 9
    entry = (*pose.ravel().tolist(), 4, 0, 0.5, 0, 4, 0.5, 0, 0, 1)
    plan = Plan(views_per_identity=1, viewpoints=Viewpoints("fixed", fixed=(entry,)))
    assert record.depth_scale(plan, tiny_config) * 65_535 > 9.8


def test_a_hash_is_of_type_shape_and_values():
    base = np.arange(4, dtype=np.uint8)
    hashes = [record.pixel_hash(x) for x in (base, base.reshape(2, 2), base.astype(np.uint16), base + np.uint8(1))]
    assert len(set(hashes)) == 4 and all(len(entry) == 16 for entry in hashes)
    assert record.pixel_hash(np.stack([base, base])[:, ::2]) == record.pixel_hash(np.array([[0, 2], [0, 2]], np.uint8))


def test_numbers_in_json_are_short_and_exact(generator):
    array = (generator.standard_normal((20, 4)) * 10.0 ** generator.integers(-8, 8, (20, 4))).astype(np.float32)
    text = json.dumps(record.numbers_of(array))
    np.testing.assert_array_equal(np.asarray(json.loads(text), np.float32), array)
    assert record.numbers_of(np.float32([0.1])) == [0.1]


def test_damaged_files_and_other_types_are_refused(forms):
    with pytest.raises(ValueError, match="damaged"):
        record.decode(forms["depth_z"], b"nothing")
    grey = record.encode(forms["mask"], np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="its numbers are uint8, expected uint16"):
        record.decode(forms["depth_z"], grey)


def test_keys_sort_as_numbers_do():
    keys = [record.key_of(identity, view) for identity in (0, 7, 12_345) for view in (0, 3, 11)]
    assert keys == sorted(keys) and keys[1] == "00000000_03"
    assert record.key_of(12) == "00000012"
