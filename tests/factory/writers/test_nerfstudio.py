"""transforms.json: points project where the dataset says, by OpenGL's rules alone; depth, labels and clouds are its."""

import json

import numpy as np
import pytest
from PIL import Image

from dnerf_jax import factory
from dnerf_jax.factory import exporting
from dnerf_jax.io import ply
from dnerf_jax.ops import cameras
from dnerf_jax.ops.cameras import Camera

SIZE = 64


@pytest.fixture(scope="module")
def scenes(balls, tmp_path_factory):
    """The folder of the export."""
    out = tmp_path_factory.mktemp("nerfstudio") / "out"
    exporting.export(balls, "nerfstudio", out)
    return out


def frames(folder, data):
    """Of every view of the dataset: its record, the scene's folder, transforms.json, its frame."""
    for record in data:
        (scene,) = folder.glob(f"*/{record['key'][:8]}")
        transforms = json.loads((scene / "transforms.json").read_text())
        (frame,) = (entry for entry in transforms["frames"] if record["key"] in entry["file_path"])
        yield record, scene, transforms, frame


def seen_by(frame, lens, points):
    """Pixels (N, 2) and depths (N,) of points by a camera of OpenGL: x right, y up, looking along -z."""
    world2cam = np.linalg.inv(np.array(frame["transform_matrix"]))
    x, y, z = world2cam[:3, :3] @ points.T.astype(np.float64) + world2cam[:3, 3:]
    u, v = lens["cx"] + lens["fl_x"] * x / -z, lens["cy"] - lens["fl_y"] * y / -z
    return np.stack([u, v], axis=-1), -z


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_points_project_where_the_dataset_says(balls, scenes):
    data, met = factory.load(balls), 0
    for record, scene, transforms, frame in frames(scenes, data):
        cloud = ply.load_cloud(scene / transforms["ply_file_path"])
        pixels, depth = seen_by(frame, transforms, cloud.points)
        ours, z = cameras.project(Camera(record["cam2world"], record["intrinsics"]), cloud.points)
        np.testing.assert_allclose(pixels, np.asarray(ours) * SIZE, atol=0.01)
        np.testing.assert_allclose(depth, z, atol=1e-5)
        # The ball's points that face the camera are where its depth image says, to the slope within a pixel.
        towards = np.array(frame["transform_matrix"])[:3, 3] - cloud.points
        facing = np.sum(cloud.normals * towards, axis=-1) > 0.5 * np.linalg.norm(towards, axis=-1)
        column, row = np.floor(pixels[facing]).astype(int).T
        image = pixels_of(scene / frame["depth_file_path"])[row, column] * 1e-3
        np.testing.assert_allclose(image, depth[facing], atol=0.02)
        met += np.sum(facing)
    assert met > len(data) * len(cloud) / 4


def test_pictures_are_those_of_the_dataset(balls, scenes):
    data = factory.load(balls)
    for record, scene, transforms, frame in frames(scenes, data):
        np.testing.assert_array_equal(pixels_of(scene / frame["file_path"]), record["image"])
        np.testing.assert_array_equal(pixels_of(scene / frame["label_path"]), record["mask"])
        depth = pixels_of(scene / frame["depth_file_path"])
        assert depth.dtype == np.uint16 and frame["depth_path"] == frame["depth_file_path"]
        np.testing.assert_array_equal(depth == 0, record["depth_z"] == 0)
        np.testing.assert_allclose(depth * transforms["integer_depth_scale"], record["depth_z"], atol=0.0005001)
        assert (transforms["w"], transforms["h"], transforms["cx"], transforms["cy"]) == (SIZE, SIZE, 32, 32)
        assert "mask_path" not in frame
    assert (scenes / "labelmap.json").read_bytes() == (balls / "labelmap.json").read_bytes()


def test_a_scene_has_its_cloud_and_the_box(balls, scenes):
    data = factory.load(balls)
    assert sorted(path.parent.name for path in scenes.glob("*/*/transforms.json")) == [f"0000000{i}" for i in range(4)]
    for identity in range(4):
        (path,) = scenes.glob(f"*/0000000{identity}/transforms.json")
        transforms = json.loads(path.read_text())
        assert (path.parent / transforms["ply_file_path"]).read_bytes() == data.object("points", identity)
        assert transforms["applied_transform"] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
        # The corners of the box are those of instant-ngp's cube.
        side = data.description.content["box_side"]
        np.testing.assert_allclose(np.array([-0.5, 0.5]) * side * transforms["scale"] + transforms["offset"][0], [0, 1])


def test_images_alone_are_enough_and_lenses_may_differ(make_balls, tmp_path):
    def zoom(views):
        scale = np.array([1.0, 1.5, 2.0], np.float32)[:, None, None] * np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]])
        k = np.where(scale > 0, views.camera.intrinsics * scale, views.camera.intrinsics).astype(np.float32)
        return views.replace(camera=views.camera.replace(intrinsics=k))

    source = make_balls(zoom, modalities=("image",), num_identities=1)
    exporting.export(source, "nerfstudio", tmp_path / "out")
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (9, 3)).astype(np.float32)
    for record, scene, transforms, frame in frames(tmp_path / "out", factory.load(source)):
        assert (
            "fl_x" not in transforms and "ply_file_path" not in transforms and "integer_depth_scale" not in transforms
        )
        assert sorted(path.name for path in scene.iterdir()) == ["images", "transforms.json"]
        ours, _ = cameras.project(Camera(record["cam2world"], record["intrinsics"]), points)
        np.testing.assert_allclose(seen_by(frame, frame, points)[0], np.asarray(ours) * SIZE, atol=0.01)
    assert len(transforms["frames"]) == 3


def test_what_the_form_cannot_say_is_refused(make_balls, tmp_path):
    def skewed(views):
        return views.replace(camera=views.camera.replace(intrinsics=views.camera.intrinsics + np.eye(3, k=1) * 0.1))

    for edit, message in (
        (skewed, "no skew"),
        (lambda views: views.replace(depth_z=views.depth_z * 40), r"00000000_00: its depth goes to .* beyond the 65.5"),
    ):
        source = make_balls(edit, depth="float32", num_identities=1, modalities=("image", "depth_z"))
        with pytest.raises(ValueError, match=message):
            exporting.export(source, "nerfstudio", tmp_path / "out")
        assert not list(tmp_path.iterdir())
