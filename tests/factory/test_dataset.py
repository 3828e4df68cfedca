"""Datasets: every file of a latent, the same latent whatever the batch, runs that continue, models without labels."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from dnerf_jax import cli, generate
from dnerf_jax.factory import dataset
from dnerf_jax.io import checkpoints, ply, png
from dnerf_jax.ops import cameras, images
from dnerf_jax.ops.labels import LabelMap

pytestmark = pytest.mark.slow
ROWS = 8  # as the door has them, so that all share one program


@pytest.fixture(scope="module")
def settings(shrunk):
    """The settings of configs/generate.py, three latents of two views in batches of four."""
    return cli.as_dataclass(shrunk("generate.py"), dataset.Settings)


@pytest.fixture(scope="module")
def checkpoint(tiny_semantic_model, tmp_path_factory):
    """The folder of the tiny model with a branch."""
    folder = tmp_path_factory.mktemp("generate") / "model"
    checkpoints.save(folder, tiny_semantic_model)
    return folder


@pytest.fixture(scope="module")
def model(checkpoint):
    """That model as it is loaded."""
    return checkpoints.load(checkpoint)


@pytest.fixture(scope="module")
def views(settings, model):
    """The views of latents 0 to 2, from one batch."""
    return dataset.render_latents(settings, model, range(3), rows_at_once=ROWS)


@pytest.fixture(scope="module")
def made(settings, checkpoint, tmp_path_factory):
    """The dataset as the door writes it."""
    folder = tmp_path_factory.mktemp("generated")
    generate.main(settings, str(checkpoint), str(folder))
    return folder


def test_files_hold_what_was_rendered(settings, made, views, model):
    label_map = model.label_map
    for index, (z, expected) in enumerate(views):
        folder = made / f"{index:06d}"
        kinds = ("image_{:02d}.png", "mask_{:02d}.png", "depth_z_{:02d}.npy", "distance_{:02d}.npy")
        names = [kind.format(view) for kind in kinds for view in range(settings.views)]
        names += ["cameras.json", "cloud.ply", "latent.npy"]
        assert sorted(path.name for path in folder.iterdir()) == sorted(names)
        latent = np.load(folder / "latent.npy")
        assert latent.dtype == np.float32
        np.testing.assert_array_equal(latent, z)
        described = json.loads((folder / "cameras.json").read_text())
        for view in range(settings.views):
            image = images.from_uint8(png.load_image(folder / f"image_{view:02d}.png"))
            np.testing.assert_allclose(image, np.clip(expected.image[view], -1, 1), atol=1 / 127)
            mask = png.load_mask(folder / f"mask_{view:02d}.png", label_map)
            np.testing.assert_array_equal(mask, expected.mask[view])
            for name in ("depth_z", "distance"):
                depth, rendered = np.load(folder / f"{name}_{view:02d}.npy"), getattr(expected, name)[view]
                assert depth.dtype == np.float32
                assert np.array_equal(depth == 0, ~np.isfinite(rendered))
                np.testing.assert_allclose(depth[depth > 0], rendered[depth > 0], rtol=1e-5)
            camera = cameras.Camera(*(np.array(described[name][view]) for name in ("cam2world", "intrinsics")))
            cameras.validate(camera)
            np.testing.assert_allclose(camera.cam2world, expected.camera.cam2world[view], atol=1e-6)


def test_a_cloud_is_the_surface_of_its_views(settings, made, views, model):
    found = 0
    for index, (_, expected) in enumerate(views):
        cloud = ply.load_cloud(made / f"{index:06d}" / "cloud.ply")
        assert cloud.label_map == model.label_map
        surface = expected.points[np.isfinite(expected.depth_z)]
        for point in cloud.points:
            assert np.linalg.norm(surface - point, axis=-1).min() < settings.voxel_size * 3**0.5
        assert not np.isin(cloud.labels, [0, LabelMap.IGNORE]).any()
        found += len(cloud)
    assert found > 10


def test_the_dataset_describes_itself(settings, made, model):
    description = json.loads((made / "dataset.json").read_text())
    assert description["settings"] == dataclasses.asdict(settings)
    assert description["checkpoint"]["fingerprint"] == model.fingerprint
    assert description["checkpoint"]["license"] == "none"
    assert description["box_side"] == 1.0 and "OpenCV" in description["frame"]
    assert png.load_label_map(made / "labelmap.json") == model.label_map
    with Image.open(made / "sheet.png") as sheet:
        assert sheet.height >= 3 * 16 and sheet.width >= 2 * 3 * 16


def test_a_latent_is_the_same_in_every_batch(settings, views, model):
    alone = dataset.render_latents(dataclasses.replace(settings, batch=1, latents=50), model, [1])[0]

    def same(found, expected):
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(finite, np.isfinite(found))
        found, expected = np.where(finite, found, 0).astype(float), np.where(finite, expected, 0).astype(float)
        assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)

    jax.tree.map(same, alone, views[1])


def test_latents_and_cameras_differ_and_stay_in_their_limits(settings, tiny_config):
    settings = dataclasses.replace(settings, views=4)
    z, camera = jax.jit(jax.vmap(lambda i: dataset.sample(settings, tiny_config, i)))(np.arange(32))
    assert len(np.unique(z, axis=0)) == 32
    position = camera.cam2world[..., :3, 3]
    yaw = np.degrees(np.arctan2(position[..., 0], position[..., 2]))
    pitch = np.degrees(np.arcsin(position[..., 1] / np.linalg.norm(position, axis=-1)))
    assert np.abs(pitch).max() <= settings.pitch + 1e-3
    # One view in each quarter of the range of yaws.
    edges = np.linspace(-settings.yaw, settings.yaw, 5)
    assert (yaw >= edges[:-1] - 1e-3).all() and (yaw <= edges[1:] + 1e-3).all()
    other, _ = dataset.sample(dataclasses.replace(settings, seed=settings.seed + 1), tiny_config, 0)
    assert not np.allclose(other, z[0])


def test_a_seed_is_the_same_dataset_whatever_the_flags(settings, tiny_config):
    z, camera = dataset.sample(settings, tiny_config, 1)
    with jax.enable_x64(True):
        wide_z, wide_camera = dataset.sample(settings, tiny_config, 1)
        assert (wide_z.dtype, wide_camera.cam2world.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(wide_z, z)
    np.testing.assert_allclose(wide_camera.cam2world, camera.cam2world, atol=1e-6)


def test_a_stopped_run_continues_with_what_is_missing(settings, tiny_model, tmp_path, monkeypatch):
    rendered = []

    def stand_in(settings, model, indices, *, rows_at_once):
        rendered.append((list(indices), rows_at_once))
        return [(None, None)] * len(indices)

    monkeypatch.setattr(dataset, "render_latents", stand_in)
    monkeypatch.setattr(dataset, "write_latent", lambda folder, *_: folder.mkdir(exist_ok=True))
    monkeypatch.setattr(dataset, "_file_names", lambda *_: ["image"])
    monkeypatch.setattr(dataset, "write_sheet", lambda *_: None)
    dataset.generate(settings, tiny_model, tmp_path)
    for index in (0, 2):
        (tmp_path / f"{index:06d}" / "image").write_text("pixels")
    (tmp_path / "000001" / "image").touch()  # the disk was full
    dataset.generate(dataclasses.replace(settings, latents=6, batch=2), tiny_model, tmp_path, rows_at_once=4)
    assert rendered == [([0, 1, 2], None), ([1, 3], 4), ([4, 5], 4)]


def test_surplus_latents_and_damaged_pictures_are_named(settings, made, model, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    with pytest.warns(UserWarning, match="copy also has latents beyond these 2: 000002"):
        dataset.generate(dataclasses.replace(settings, latents=2), model, tmp_path / "copy")
    (tmp_path / "copy" / "000001" / "image_00.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"image_00.png cannot be read.*Delete .*000001 and give the command again"):
        dataset.generate(settings, model, tmp_path / "copy")


def test_finished_latents_are_not_touched(settings, made, model, monkeypatch):
    monkeypatch.setattr(dataset, "render_latents", None)  # would fail if it were called
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in made.glob("0*/*")}
    dataset.generate(settings, model, made)
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in made.glob("0*/*")}


def test_a_folder_of_other_settings_or_another_checkpoint_is_refused(settings, made, tiny_model, model):
    with pytest.raises(ValueError, match="other settings or inputs: yaw was 30.0 and is 10.0"):
        dataset.generate(dataclasses.replace(settings, yaw=10.0), model, made)
    with pytest.raises(
        ValueError, match=r"other settings or inputs: .*the semantic branch changed \(fingerprint '\w+', now None"
    ):
        dataset.generate(settings, tiny_model, made)
    assert (made / "labelmap.json").exists()


def test_a_dataset_that_came_to_nothing_blocks_no_other(settings, model, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise MemoryError

    monkeypatch.setattr(dataset, "render_latents", fails)
    for changed in (settings, dataclasses.replace(settings, yaw=5.0)):
        with pytest.raises(MemoryError):
            dataset.generate(changed, model, tmp_path)
    assert json.loads((tmp_path / "dataset.json").read_text())["settings"]["yaw"] == 5.0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": 3, "checkpoint": {}}'])
def test_a_damaged_description_is_named(settings, made, model, tmp_path, content):
    (tmp_path / "000000").mkdir()
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match="dataset.json (cannot be read as the description of a dataset|lacks)"):
        dataset.generate(settings, model, tmp_path)


def test_without_a_semantic_branch_there_are_images_depth_and_geometry(settings, tiny_model, tmp_path):
    dataset.generate(dataclasses.replace(settings, latents=1), tiny_model, tmp_path)
    names = [
        f"{name}_{view:02d}.{suffix}"
        for view in (0, 1)
        for name, suffix in (("image", "png"), ("depth_z", "npy"), ("distance", "npy"))
    ]
    assert sorted(path.name for path in (tmp_path / "000000").iterdir()) == sorted(
        [*names, "cameras.json", "cloud.ply", "latent.npy"]
    )
    assert not (tmp_path / "labelmap.json").exists()
    cloud = ply.load_cloud(tmp_path / "000000" / "cloud.ply")
    assert len(cloud) and np.all(cloud.labels == LabelMap.IGNORE)
    assert (tmp_path / "sheet.png").exists()
