"""COLMAP's models, read by pycolmap: its own projection puts the points where the dataset says."""

import numpy as np
import pytest

from dnerf_jax import factory
from dnerf_jax.factory import exporting
from dnerf_jax.io import ply, png
from dnerf_jax.ops import cameras
from dnerf_jax.ops.cameras import Camera

SIZE = 64


@pytest.fixture(scope="module")
def scenes(balls, tmp_path_factory):
    """The folder of the export."""
    out = tmp_path_factory.mktemp("colmap") / "out"
    exporting.export(balls, "colmap", out)
    return out


@pytest.mark.forms
def test_pycolmap_projects_points_where_the_dataset_says(balls, scenes):
    import pycolmap

    for record in factory.load(balls):
        (folder,) = scenes.glob(f"*/{record['key'][:8]}")
        model = pycolmap.Reconstruction(str(folder / "sparse" / "0"))
        image = model.find_image_with_name(f"{record['key']}.png")
        assert model.num_images() == 3 and model.num_cameras() == 1
        assert (image.camera.model.name, image.camera.width, image.camera.height) == ("PINHOLE", SIZE, SIZE)
        points = np.array([model.points3D[i].xyz for i in range(1, len(model.points3D) + 1)])
        ours, z = cameras.project(Camera(record["cam2world"], record["intrinsics"]), points)
        pixels = np.array([image.project_point(point) for point in points])
        np.testing.assert_allclose(pixels, np.asarray(ours) * SIZE, atol=0.01)
        # What a view sees are the points on its depth.
        seen = {point.point3D_id - 1: point.xy for point in image.points2D}
        index = np.array(list(seen))
        np.testing.assert_allclose(np.array(list(seen.values())), pixels[index], atol=1e-3)
        column, row = np.floor(pixels).astype(int).T
        depth = np.asarray(record["depth_z"])[row, column]
        np.testing.assert_allclose(depth[index], np.asarray(z)[index], rtol=0.01)
        assert 40 < len(seen) < len(points)
        for i in seen:
            assert image.image_id in [element.image_id for element in model.points3D[i + 1].track.elements]


@pytest.mark.forms
def test_pycolmap_reads_the_cloud(balls, scenes):
    import pycolmap

    data = factory.load(balls)
    for identity in range(4):
        (folder,) = scenes.glob(f"*/0000000{identity}/sparse/0")
        points, cloud = pycolmap.Reconstruction(str(folder)).points3D, ply.load_cloud(folder / "points3D.ply")
        assert (folder / "points3D.ply").read_bytes() == data.object("points", identity)
        np.testing.assert_array_equal([points[i + 1].xyz.astype(np.float32) for i in range(len(cloud))], cloud.points)
        np.testing.assert_array_equal([points[i + 1].color for i in range(len(cloud))], cloud.colors)


def test_pictures_are_those_of_the_dataset(balls, scenes):
    label_map = png.load_label_map(scenes / "labelmap.json")
    for record in factory.load(balls):
        (folder,) = scenes.glob(f"*/{record['key'][:8]}")
        np.testing.assert_array_equal(png.load_image(folder / "images" / f"{record['key']}.png"), record["image"])
        found = png.load_mask(folder / "labels" / f"{record['key']}.png", label_map)
        np.testing.assert_array_equal(found, record["mask"])


def test_a_text_file_reads_back_as_our_camera(balls, scenes):
    for record in factory.load(balls):
        (folder,) = scenes.glob(f"*/{record['key'][:8]}")
        lines = (folder / "sparse" / "0" / "images.txt").read_text().splitlines()[::2]
        (words,) = (line.split() for line in lines if line.endswith(f" {record['key']}.png"))
        model, _, _, *lens = (folder / "sparse" / "0" / "cameras.txt").read_text().split()[1:]
        numbers = [float(word) for word in words[1:8]]
        camera = cameras.from_colmap(numbers[:4], numbers[4:], model, [float(word) for word in lens], SIZE)
        np.testing.assert_allclose(camera.cam2world, record["cam2world"], atol=1e-6)
        np.testing.assert_allclose(camera.intrinsics, record["intrinsics"], atol=1e-6)


def test_a_dataset_without_clouds_is_refused_before_anything_is_written(make_balls, tmp_path):
    source = make_balls(modalities=("image", "mask"), num_identities=1)
    with pytest.raises(ValueError, match="has no depth_z, points, which this form needs"):
        exporting.export(source, "colmap", tmp_path / "out")
    assert not list(tmp_path.iterdir())
