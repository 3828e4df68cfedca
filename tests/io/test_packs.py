"""Annotation packs: round trips, every fault named at once, images out of step with latents found out."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image
from random_pack import LABELS, SIZE, make_pack

from dnerf_jax.io import packs
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models import generator, scenes
from dnerf_jax.models.model import Model
from dnerf_jax.networks.superresolution import SuperresolutionConfig
from dnerf_jax.ops.images import to_uint8


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


def test_a_pack_says_what_it_is_in_one_line():
    text = repr(make_pack(name="faces"))
    assert text == "<Annotations 'faces': images (6, 16, 16, 3) of 3 latents, 3 classes>"


def test_truncation_is_kept_and_is_1_where_a_pack_says_nothing(pack, tmp_path):
    assert packs.load(pack).truncation_psi == 1.0
    rewrite(pack / "pack.json", truncation_psi=None)
    assert packs.load(pack).truncation_psi == 1.0
    packs.save(tmp_path / "other", make_pack(truncation_psi=np.float32(0.5)))
    loaded = packs.load(tmp_path / "other")
    assert loaded.truncation_psi == 0.5 and loaded[:2].truncation_psi == 0.5
    for wrong in ("0.7", True, 7, [1.0]):
        rewrite(pack / "pack.json", truncation_psi=wrong)
        (problem,) = problems_of(lambda: packs.load(pack))
        assert problem == f"truncation_psi is {wrong!r}, expected a number from -1 to 2"
    with pytest.raises(ValueError, match="truncation_psi is nan"):
        packs.save(tmp_path / "third", make_pack(truncation_psi=np.nan))


def test_black_and_white_masks_are_refused(pack, tmp_path):
    masks = np.where(make_pack().masks > 0, 255, 0).astype(np.uint8)
    for index, mask in enumerate(masks):
        Image.fromarray(mask).save(pack / "masks" / f"000{index}.png")
    (problem,) = problems_of(lambda: packs.load(pack))
    assert "no pixel of a class beside 'background'; all ids found: [0, 255]. Black-and-white" in problem
    with pytest.raises(ValueError, match=r"all ids found: \[0\]"):
        packs.save(tmp_path / "empty", make_pack(masks=np.zeros_like(masks)))


def test_classes_without_a_pixel_are_warned_of(tmp_path):
    whole = make_pack()
    packs.save(tmp_path / "pack", dataclasses.replace(whole, masks=np.where(whole.masks == 2, 0, whole.masks)))
    with pytest.warns(UserWarning, match="no pixel of the pack .*pack has the classes hair") as caught:
        packs.load(tmp_path / "pack")
    assert len(caught) == 1 and caught[0].filename == __file__


def test_palettes_that_an_editor_numbered_anew_are_said_in_one_warning(pack):
    for path in sorted((pack / "masks").iterdir())[1:]:
        Image.open(path).convert("RGB").quantize(4, dither=Image.Dither.NONE).save(path)
    with pytest.warns(UserWarning, match=r"masks, 0001\.png, .*0005\.png, are numbered anew, as editors do") as caught:
        loaded = packs.load(pack)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert_equal(loaded, make_pack())


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
        "images/0001.png cannot be read as an image: it is 16 x 8 pixels, expected 16 x 16",
        "0002.png is of mode L, expected 8-bit RGB",
        "0003.png cannot be read as an image",
        "0000.png has the unknown ids [7]",
        "0001.png is a PNG of mode RGB",
        "masks/0005.png cannot be read as a mask (a single-channel PNG of class ids): it is 8 x 8 pixels, expected 16",
        "the latents of views 2 are not finite",
    ]
    for text in expected:
        assert sum(text in problem for problem in problems) == 1, (text, problems)
    assert len(problems) == len(expected), problems


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pack.json", b"{", "pack.json cannot be read"),
        ("pack.json", b"[]", "pack.json cannot be read as the description of a pack: it holds a list"),
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z": np.full((6, 8), 1e300)}, "the latents of views 0, 1, 2, 3, 4, 5 are not finite"),
        ({"cam2world": np.full((6, 4, 4), 1e300)}, "the cameras of views 0, 1, 2, 3, 4, 5: "),
        ({"z": np.zeros((10**15, 0), np.float32)}, "z has shape (1000000000000000, 0), expected (N, z_dim)"),
        ({"latent_id": np.full(6, 2**64 - 1, np.uint64)}, "the latent_ids of views 0, 1, 2, 3, 4, 5 are negative or"),
    ],
)
def test_arrays_that_lie_do_no_harm(pack, changes, message):
    rewrite_views(pack / "views.npz", **changes)
    assert [message in problem for problem in problems_of(lambda: packs.load(pack))] == [True]


def test_packs_that_would_fill_the_memory_are_not_read(pack, monkeypatch):
    monkeypatch.setattr(packs, "PIXELS", 5 * SIZE**2)
    problems = problems_of(lambda: packs.load(pack))
    assert problems == [
        f"{name}/ has 6 pictures of 16 x 16 pixels, more than are held at once: make several packs"
        for name in ("images", "masks")
    ]


def test_arrays_with_python_objects_are_not_unpickled(pack):
    rewrite_views(pack / "views.npz", z=np.array([print] * 6, dtype=object))
    assert [
        "its header is not that of plain numbers" in problem for problem in problems_of(lambda: packs.load(pack))
    ] == [True]


def test_other_resolution_and_newer_schema_are_refused(pack):
    rewrite(pack / "pack.json", schema_version=2, resolution=32)
    problems = problems_of(lambda: packs.load(pack))
    assert "schema version 2, expected 1" in problems[0]
    assert sum("16 x 16 pixels, expected 32 x 32" in problem for problem in problems) == 12
    with pytest.raises(ValueError, match="is no folder"):
        packs.load(pack / "absent")


@pytest.fixture(scope="module")
def model(random_arrays):
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
    variables = random_arrays(generator.abstract(config).variables, 0)
    decoder = variables["params"]["decoder"]["fc1"]
    decoder["weight"] = decoder["weight"] * 30
    return Model(generator.Generator(config, variables))


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
