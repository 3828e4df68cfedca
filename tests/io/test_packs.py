"""Annotation packs: round trips, every fault named at once, images out of step with latents found out."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

from dnerf_jax.io import packs
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models import generator, scenes
from dnerf_jax.models.model import Model
from dnerf_jax.networks.superresolution import SuperresolutionConfig
from dnerf_jax.ops import cameras
from dnerf_jax.ops.images import to_uint8
from dnerf_jax.ops.labels import LabelMap

LABELS = LabelMap(("background", "skin", "hair"), ((0, 0, 0), (230, 180, 150), (90, 60, 20)))
SIZE = 16


def make_pack(latents=3, views=2, z_dim=8, size=SIZE, seed=0, **changes):
    """A pack of `latents` x `views` views with random content and orderly cameras."""
    rng = np.random.default_rng(seed)
    latent_id = np.repeat(np.arange(latents), views)
    camera = cameras.orbit(np.tile(np.linspace(-0.5, 0.5, views), latents), 0.1)
    fields = {
        "images": rng.integers(0, 256, (latents * views, size, size, 3)).astype(np.uint8),
        "masks": rng.choice([0, 1, 2, 255], (latents * views, size, size)).astype(np.uint8),
        "z": rng.normal(size=(latents, z_dim))[latent_id],
        "cam2world": camera.cam2world,
        "intrinsics": camera.intrinsics,
        "latent_id": latent_id,
        "label_map": LABELS,
        "fingerprint": "abc",
        "name": "test",
        "licence": "CC0-1.0",
    }
    return Annotations(**(fields | changes))


def assert_equal(a, b):
    for field in dataclasses.fields(Annotations):
        left, right = getattr(a, field.name), getattr(b, field.name)
        assert np.array_equal(left, right), field.name
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, field.name


def problems_of(call):
    with pytest.raises(ValueError) as caught:
        call()
    return str(caught.value).split("\n  - ")[1:]


@pytest.fixture
def pack(tmp_path):
    """A whole pack on the disk, for tests to break."""
    packs.save(tmp_path / "pack", make_pack())
    return tmp_path / "pack"


def rewrite(path, **changes):
    data = json.loads(path.read_text())
    data.update(changes)
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))


def rewrite_views(path, **changes):
    with np.load(path) as views:
        arrays = {name: views[name] for name in views}
    np.savez(path, **{name: value for name, value in (arrays | changes).items() if value is not None})


def test_round_trip(tmp_path):
    original = make_pack()
    packs.save(tmp_path / "pack", original)
    loaded = packs.load(tmp_path / "pack")
    assert_equal(loaded, original)
    assert len(loaded) == 6 and loaded.resolution == SIZE
    assert loaded.z.dtype == np.float32 and loaded.latent_id.dtype == np.int64
    assert loaded.camera.cam2world.shape == (6, 4, 4)
    files = {str(entry.relative_to(tmp_path / "pack")) for entry in (tmp_path / "pack").rglob("*.*")}
    assert {"pack.json", "labelmap.json", "views.npz", "images/0005.png", "masks/0005.png"} <= files


def test_a_pack_made_by_hand_loads(tmp_path):
    source = make_pack(latents=2, views=1)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for index in range(2):
        Image.fromarray(source.images[index]).save(tmp_path / "images" / f"000{index}.png")
        Image.fromarray(source.masks[index]).save(tmp_path / "masks" / f"000{index}.png")
    (tmp_path / "images" / ".DS_Store").write_text("left by a file manager")
    arrays = {name: getattr(source, name).astype(float) for name in ("z", "cam2world", "intrinsics")}
    np.savez(tmp_path / "views.npz", latent_id=[0, 1], **arrays)
    (tmp_path / "labelmap.json").write_text(LABELS.to_json())
    description = {
        "schema_version": 1,
        "name": "test",
        "fingerprint": "abc",
        "resolution": SIZE,
        "licence": "CC0-1.0",
    }
    (tmp_path / "pack.json").write_text(json.dumps(description))
    assert_equal(packs.load(tmp_path), source)


def test_selection_is_by_latent_and_keeps_the_order():
    pack = make_pack()
    chosen = packs.select(pack, [2, 0])
    assert chosen.latent_id.tolist() == [0, 0, 2, 2]
    assert_equal(chosen, pack[[0, 1, 4, 5]])
    assert_equal(pack[1:3], pack[np.array([False, True, True, False, False, False])])
    np.testing.assert_array_equal(pack[1:3].images, pack.images[1:3])
    assert len(pack[[]]) == 0 and len(packs.select(pack, [])) == 0
    with pytest.raises(ValueError, match=r"no latents 7, 9; it has 0, 1, 2"):
        packs.select(pack, [0, 9, 7])
    with pytest.raises(ValueError, match=r"for one, \[3\]"):
        pack[3]


def test_save_leaves_nothing_behind_when_it_refuses(tmp_path):
    with pytest.raises(ValueError, match="unknown ids"):
        packs.save(tmp_path / "pack", make_pack(masks=np.full((6, SIZE, SIZE), 9, np.uint8)))
    assert not list(tmp_path.iterdir())
    packs.save(tmp_path / "pack", make_pack())
    with pytest.raises(ValueError, match="not empty"):
        packs.save(tmp_path / "pack", make_pack(seed=1))
    assert_equal(packs.load(tmp_path / "pack"), make_pack())
    packs.save(tmp_path / "pack", make_pack(latents=1), replace=True)
    assert len(packs.load(tmp_path / "pack")) == 2


def nan_latent(pack):
    pack.z[3, 0] = np.nan


def other_latent_of_one_id(pack):
    pack.z[1] += 1


def one_latent_of_two_ids(pack):
    pack.z[:4] = pack.z[0]


def scaled_camera(pack):
    pack.cam2world[4, :3, :3] *= 2


def opengl_cameras(pack):
    pack.cam2world[:] = cameras.flip_opengl(pack.cam2world)


def world_to_camera(pack):
    pack.cam2world[:] = np.linalg.inv(pack.cam2world)


def pixel_intrinsics(pack):
    pack.intrinsics[2, :2] *= 512


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nan_latent, r"latents of views 3 are not finite"),
        (other_latent_of_one_id, r"views 0, 1 have one latent_id, but different latents"),
        (one_latent_of_two_ids, r"views 0, 1, 2, 3 have one latent z, but different latent_ids"),
        (scaled_camera, r"cameras of views 4: .*orthonormal"),
        (opengl_cameras, r"cameras of views 0, 1, 2, 3, 4, 5: they look away.*flip_opengl"),
        (world_to_camera, r"cameras of views 0, 1, 2, 3, 4, 5: .*world-to-camera"),
        (pixel_intrinsics, r"cameras of views 2: .*divided by the image size"),
    ],
)
def test_views_that_make_no_sense_are_named(change, message, tmp_path):
    pack = make_pack()
    change(pack)
    with pytest.raises(ValueError, match=message):
        packs.save(tmp_path / "pack", pack)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z": np.zeros((6, 2, 2))}, r"z has shape \(6, 2, 2\), expected \(N, z_dim\)"),
        ({"z": np.zeros((5, 8))}, r"numbers of views must be equal.*'z': 5"),
        ({"z": np.zeros((6, 8), int)}, r"z has type int64, expected floats"),
        ({"latent_id": np.zeros(6)}, r"latent_id has type float32, expected integers"),
        ({"latent_id": np.zeros((6, 1), int)}, r"latent_id has shape \(6, 1\), expected \(N\)"),
        ({"cam2world": np.zeros((6, 3, 4))}, r"cam2world has shape \(6, 3, 4\), expected \(N, 4, 4\)"),
        ({"images": np.zeros((6, SIZE, SIZE, 3))}, r"images has type float64, expected uint8"),
        ({"images": np.zeros((6, SIZE, 8, 3), np.uint8)}, r"images has shape .*expected \(N, 16, 16, 3\)"),
        ({"masks": np.zeros((6, 8, 8), np.uint8)}, r"masks has shape \(6, 8, 8\), expected \(N, 16, 16\)"),
        ({"fingerprint": ""}, "fingerprint is '', expected a non-empty string"),
    ],
)
def test_arrays_that_do_not_fit_are_named(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        packs.save(tmp_path / "pack", make_pack(**changes))


def test_all_faults_of_a_folder_are_listed_at_once(pack):
    Image.new("RGB", (SIZE, 8)).save(pack / "images" / "0001.png")
    Image.new("L", (SIZE, SIZE)).save(pack / "images" / "0002.png")
    (pack / "images" / "0003.png").write_bytes((pack / "images" / "0003.png").read_bytes()[:200])
    (pack / "images" / "0004.png").unlink()
    Image.new("RGB", (SIZE, SIZE)).save(pack / "images" / "extra.png")
    Image.fromarray(np.full((SIZE, SIZE), 7, np.uint8)).save(pack / "masks" / "0000.png")
    Image.new("RGB", (SIZE, SIZE)).save(pack / "masks" / "0001.png")
    Image.new("L", (8, 8)).save(pack / "masks" / "0005.png")
    with np.load(pack / "views.npz") as views:
        z = views["z"]
    z[2] = np.inf
    rewrite_views(pack / "views.npz", z=z, intrinsics=None)
    rewrite(pack / "pack.json", name=None, fingerprint=3)
    problems = problems_of(lambda: packs.load(pack))
    expected = [
        "pack.json lacks name (str), fingerprint (str)",
        "views.npz lacks the arrays ['intrinsics']",
        "images/ lacks 0004.png",
        "images/ has the unexpected extra.png",
        "images/0001.png is 16 x 8 pixels, expected 16 x 16",
        "0002.png is of mode L, expected 8-bit RGB",
        "0003.png cannot be read as an image",
        "0000.png has the unknown ids [7]",
        "0001.png is a PNG of mode RGB",
        "masks/0005.png is 8 x 8 pixels, expected 16 x 16",
        "the latents of views 2 are not finite",
    ]
    for text in expected:
        assert sum(text in problem for problem in problems) == 1, (text, problems)
    assert len(problems) == len(expected), problems


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pack.json", b"{", "pack.json cannot be read"),
        ("pack.json", b"[]", "pack.json cannot be read: it holds a list"),
        ("pack.json", None, "pack.json cannot be read"),
        ("labelmap.json", b"{}", "labelmap.json cannot be read as a label map"),
        ("labelmap.json", None, "labelmap.json cannot be read"),
        ("views.npz", b"PK not a zip", "views.npz cannot be read"),
        ("views.npz", None, "views.npz cannot be read"),
    ],
)
def test_broken_files_are_named(pack, name, content, message):
    (pack / name).unlink()
    if content is not None:
        (pack / name).write_bytes(content)
    assert [message in problem for problem in problems_of(lambda: packs.load(pack))] == [True]


def test_arrays_with_python_objects_are_not_unpickled(pack):
    rewrite_views(pack / "views.npz", z=np.array([print] * 6, dtype=object))
    assert ["Object arrays" in problem for problem in problems_of(lambda: packs.load(pack))] == [True]


def test_other_resolution_and_newer_schema_are_refused(pack):
    rewrite(pack / "pack.json", schema_version=2, resolution=32)
    problems = problems_of(lambda: packs.load(pack))
    assert "schema version 2, expected 1" in problems[0]
    assert sum("16 x 16 pixels, expected 32 x 32" in problem for problem in problems) == 12
    with pytest.raises(ValueError, match="is no folder"):
        packs.load(pack / "absent")


@pytest.fixture(scope="module")
def model():
    """A tiny generator with random weights, denser and more colourful than they come."""
    config = generator.GeneratorConfig(
        z_dim=8,
        c_dim=0,
        w_dim=16,
        plane_resolution=8,
        plane_channels=4,
        channel_base=64,
        channel_max=8,
        feature_channels=8,
        decoder_hidden=16,
        neural_rendering_resolution=SIZE,
        superresolution=SuperresolutionConfig(input_resolution=SIZE, widths=(4, 4), upsample=(False, False)),
        rendering=generator.RenderingConfig(depth_resolution=8, depth_resolution_importance=0, white_back=True),
    )
    made = generator.init(config, jax.random.key(0))
    decoder = made.variables["params"]["decoder"]["fc1"]
    decoder["weight"] = decoder["weight"] * 30
    return Model(made)


@pytest.fixture(scope="module")
def rendered(model):
    """A pack whose images are the model's own, with a little noise."""
    pack = make_pack(latents=4, fingerprint=model.fingerprint)
    render = jax.jit(lambda z, camera: scenes.render(model, scenes.synthesize(model, z), camera).image)
    images = render(pack.z, pack.camera)
    noisy = np.asarray(images) + np.random.default_rng(0).normal(0, 0.05, images.shape)
    return dataclasses.replace(pack, images=to_uint8(noisy))


@pytest.mark.slow
def test_a_pack_of_this_model_passes(tmp_path, model, rendered):
    packs.verify(rendered, model)
    packs.save(tmp_path / "pack", rendered)
    assert_equal(packs.load(tmp_path / "pack", model, check=8), rendered)


@pytest.mark.slow
def test_images_of_other_latents_are_found_out(tmp_path, model, rendered):
    wrong = dataclasses.replace(rendered, images=np.roll(rendered.images, 2, axis=0))
    packs.save(tmp_path / "pack", wrong)
    problems = problems_of(lambda: packs.load(tmp_path / "pack", model, check=3))
    assert len(problems) == 3
    for problem, (view, right) in zip(problems, ((0, 2), (4, 6), (7, 1)), strict=True):
        assert f"view {view}, rendered again, is at" in problem
        assert f"from image {right} of another latent: latents and images are out of step" in problem
    assert len(packs.load(tmp_path / "pack", model, check=0)) == 8


@pytest.mark.slow
def test_images_of_other_views_are_found_out(model, rendered):
    wrong = dataclasses.replace(rendered, images=rendered.images[[1, 0, 3, 2, 5, 4, 7, 6]])
    problems = problems_of(lambda: packs.verify(wrong, model, check=1))
    assert len(problems) == 1
    assert "from image 1 of the same latent: cameras and images are out of step" in problems[0]


def test_images_of_something_else_are_found_out(model, rendered):
    noise = np.random.default_rng(1).integers(0, 256, rendered.images.shape).astype(np.uint8)
    problems = problems_of(lambda: packs.verify(dataclasses.replace(rendered, images=noise), model))
    assert len(problems) == 4
    assert all("expected at least 15: latents and images do not belong together" in text for text in problems)


def test_a_pack_of_another_model_lists_all_that_differs(tmp_path, model):
    other = make_pack(z_dim=9, size=32)
    packs.save(tmp_path / "pack", other)
    for call in (
        lambda: packs.load(tmp_path / "pack", model),
        lambda: packs.verify(other, model),
    ):
        problems = problems_of(call)
        assert [
            text in problem
            for text, problem in zip(
                (
                    f"the fingerprint is 'abc', the model's {model.fingerprint!r}",
                    "latents have 9 numbers, the model's have 8",
                    "images are 32 pixels wide, the model renders 16",
                ),
                problems,
                strict=True,
            )
        ] == [True] * 3
