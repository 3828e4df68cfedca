"""dataset.json: what it says, what of it may change, and what is no description."""

import dataclasses
import json

import pytest

from dnerf_jax.factory import description
from dnerf_jax.factory.plan import Plan
from dnerf_jax.io import files, png
from dnerf_jax.ops.labels import LabelMap

ORIGIN = {"fingerprint": "0" * 16, "semantic_fingerprint": "1" * 16, "license": "none"}
LABELS = LabelMap(("background", "skin"), ((0, 0, 0), (9, 9, 9)))


def write(tiny_config, out, plan=None, origin=ORIGIN, *, begun=True):
    description.write(plan or Plan(), tiny_config, LABELS, origin, out, begun=begun)


def test_it_says_what_the_dataset_is(tiny_config, tmp_path):
    write(tiny_config, tmp_path)
    content = json.loads((tmp_path / "dataset.json").read_text())
    assert content["identities"] == {"train": 6, "validation": 1, "test": 1} and content["views"] == 32
    assert content["checkpoint"] == ORIGIN and content["image_resolution"] == tiny_config.image_resolution
    assert content["forms"]["depth_z"]["unit"] == "world unit" and content["box_side"] == 1.0
    assert "OpenCV" in content["frame"] and content["metres_per_unit"] is None
    assert png.load_label_map(tmp_path / "labelmap.json") == LABELS
    found = description.read(tmp_path)
    assert found.plan == Plan() and found.forms["depth_z"].suffix == "depth_z.png"


def test_the_same_again_touches_nothing(tiny_config, tmp_path):
    write(tiny_config, tmp_path)
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
    write(tiny_config, tmp_path)
    assert before == {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}


def test_a_dataset_may_grow_and_change_in_nothing_else(tiny_config, tmp_path):
    write(tiny_config, tmp_path)
    write(tiny_config, tmp_path, Plan(num_identities=50))
    assert description.read(tmp_path).plan.num_identities == 50
    with pytest.raises(ValueError, match="num_identities was 50 and is 8"):
        write(tiny_config, tmp_path)
    with pytest.raises(ValueError, match="batch was 1 and is 2.*Continue with the old ones"):
        write(tiny_config, tmp_path, Plan(num_identities=50, batch=2))
    with pytest.raises(ValueError, match=r"the semantic branch changed \(fingerprint '1{16}', now '2{16}'\)"):
        write(tiny_config, tmp_path, Plan(num_identities=50), ORIGIN | {"semantic_fingerprint": "2" * 16})


def test_where_no_shard_is_there_is_nothing_to_contradict(tiny_config, tmp_path):
    write(tiny_config, tmp_path)
    write(tiny_config, tmp_path, Plan(batch=3), begun=False)
    assert description.read(tmp_path).plan.batch == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plan": 3}, r"dataset\.json lacks \['plan'\]: restore it"),
        ({"schema_version": 1}, "has schema version 1, expected 2: it was made by another version"),
        ({"forms": {}}, r"forms are of \[\], the plan has \['image', 'mask', 'depth_z'\]"),
        ({"forms": {"image": {"sufix": "png"}}}, "forms.image has no field 'sufix'; did you mean 'suffix'"),
        ({"plan": {"seed": -1}}, r"dataset\.json: plan\.seed is -1, expected at least 0"),
    ],
)
def test_what_is_no_description_is_named(tiny_config, tmp_path, change, message):
    write(tiny_config, tmp_path)
    content = json.loads((tmp_path / "dataset.json").read_text())
    files.write_json(tmp_path / "dataset.json", content | change)
    with pytest.raises(ValueError, match=message):
        description.read(tmp_path)


def test_without_masks_there_is_no_label_map(tiny_config, tmp_path):
    description.write(Plan().without_labels(), tiny_config, LABELS, ORIGIN, tmp_path, begun=False)
    assert not (tmp_path / "labelmap.json").exists()
    assert dataclasses.asdict(description.read(tmp_path).plan)["modalities"] == ("image", "depth_z", "points")
