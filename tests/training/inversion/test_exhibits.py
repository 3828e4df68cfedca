"""What is written of a scene can be read by the project's own readers, and shows what is rendered."""

import json

import jax
import numpy as np
import pytest

from dnerf_jax import view
from dnerf_jax.io import camera_files, ply, png, scene_folders
from dnerf_jax.models import scenes, shapes
from dnerf_jax.ops import images, meshes
from dnerf_jax.training.inversion import exhibits

pytestmark = pytest.mark.slow
YAWS = (-20.0, 0.0, 20.0)


@pytest.fixture(scope="module")
def scene(small_model):
    z = np.random.default_rng(3).standard_normal(8).astype(np.float32)
    return jax.jit(scenes.synthesize)(small_model, z)


@pytest.fixture(scope="module")
def written(small_model, scene, tmp_path_factory):
    out = tmp_path_factory.mktemp("exhibits")
    with pytest.MonkeyPatch.context() as patched:  # random density has no surface where learned density has one
        patched.setattr(meshes, "surface_level", lambda: 10.0)
        return out, exhibits.write(out, small_model, scene, yaws=YAWS, pitch=5.0)


def test_views_are_what_is_rendered_with_cameras_that_find_them(written, scene, small_model):
    folder = written[0] / "views"
    seen = exhibits.look(small_model, scene, YAWS, 5.0)
    names = [f"{v:02d}.png" for v in range(3)]
    camera = camera_files.read_cameras(folder / "cameras.json", names=names)
    np.testing.assert_allclose(camera.cam2world, seen.camera.cam2world, atol=1e-6)
    true = scenes.default_camera(small_model, np.radians(20.0), np.radians(5.0))
    np.testing.assert_allclose(camera.cam2world[2], true.cam2world, atol=1e-5)
    about = json.loads((folder / "views.json").read_text())
    assert about["fingerprint"] == small_model.fingerprint
    label_map = png.load_label_map(folder / "labelmap.json")
    for v, name in enumerate(names):
        image = png.load_image(folder / "image" / name)
        np.testing.assert_array_equal(image, images.to_uint8(seen.image[v], span=(-1, 1)))
        np.testing.assert_array_equal(png.load_mask(folder / "mask" / name, label_map), seen.mask[v])
        depth = np.asarray(png.Image.open(folder / "depth_z" / name)) * about["depth_scale"]
        true = np.where(np.isfinite(seen.depth_z[v]), seen.depth_z[v], 0)
        np.testing.assert_allclose(depth, true, atol=about["depth_scale"])


def test_cloud_and_mesh_are_labelled(written, small_model):
    out, shown = written
    cloud = ply.load_cloud(out / "cloud.ply")
    np.testing.assert_array_equal(cloud.points, shown.cloud.points)
    assert cloud.label_map == small_model.label_map and shown.notes == ()
    mesh = ply.load_mesh(out / "mesh.ply")
    assert mesh.label_map == small_model.label_map and mesh.colors is not None
    assert (out / "turntable.jpg").exists()


def test_without_a_branch_or_a_mesh_the_rest_is_there(small_model, scene, tmp_path, monkeypatch):
    def no_mesh(*_, **__):
        raise ImportError("install the extra")

    monkeypatch.setattr(shapes, "extract_mesh", no_mesh)
    (tmp_path / "mesh.ply").touch()  # of another scene
    plain = small_model.replace(semantic=None, label_map=None)
    shown = exhibits.write(tmp_path, plain, scene.replace(semantic_planes=None), yaws=(0.0,))
    assert shown.notes == ("there is no mesh: install the extra",)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    views = {f"views/{name}" for name in ("image/00.png", "depth_z/00.png", "cameras.json", "views.json")}
    assert found == views | {"turntable.jpg", "cloud.ply"}


def test_a_batch_of_scenes_is_refused(small_model, scene):
    batch = jax.tree.map(lambda x: x[None], scene.replace(semantic_planes=None))
    with pytest.raises(ValueError, match=r"the scene is a batch of shape \(1,\)"):
        exhibits.look(small_model.replace(semantic=None), batch, YAWS)


def test_the_door_looks_at_a_folder(small_model, small_checkpoint, scene, tmp_path, capsys):
    camera = scenes.default_camera(small_model)
    scene_folders.save_scene(tmp_path / "scene", small_model, scene.ws, camera, checkpoint=small_checkpoint)
    view.main(str(tmp_path / "scene"), str(tmp_path / "out"), views=2, yaw=10.0)
    poses = json.loads((tmp_path / "out" / "views" / "cameras.json").read_text())
    assert [pose["yaw"] for pose in poses.values()] == [-10.0, 10.0]
    assert "2 views and a cloud of" in capsys.readouterr().out
    view.main(str(tmp_path / "scene"), str(tmp_path / "out"), views=4, yaw=180.0)  # what was there is replaced
    poses = json.loads((tmp_path / "out" / "views" / "cameras.json").read_text())
    assert [pose["yaw"] for pose in poses.values()] == [-180.0, -90.0, 0.0, 90.0]
    (tmp_path / "views").mkdir()
    with pytest.raises(ValueError, match="is what invert or edit wrote"):
        view.main(str(tmp_path / "scene"), str(tmp_path))
