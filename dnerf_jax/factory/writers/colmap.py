"""COLMAP's text models, one for every identity, as COLMAP, Gaussian splatting and gsplat open them.

    train/00000012/images/00000012_00.png      as in the dataset
                   labels/00000012_00.png      as in the dataset: class ids, if there are masks
                   sparse/0/cameras.txt        PINHOLE, in pixels; the first pixel has its centre at 0.5
                            images.txt         world to camera (OpenCV's axes), and where the points are seen
                            points3D.txt       the points of the cloud, numbered from 1, their colours and tracks
                            points3D.ply       the same points in the same order, with labels and normals
    labelmap.json

The world stays as it is (y up, world units). A track has the views that see the point: the pixel there has about its
depth. Points are seen exactly where the cameras put them, so the error of all is 0.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from dnerf_jax.factory import record
from dnerf_jax.factory.loading import Dataset
from dnerf_jax.factory.writers import identities
from dnerf_jax.factory.writers.identities import Scene
from dnerf_jax.factory.writers.streaming import View
from dnerf_jax.io import files, ply
from dnerf_jax.ops import cameras, warping
from dnerf_jax.ops.clouds import PointCloud


def write(dataset: Dataset, out: Path) -> None:
    """Writes a model for every identity; `out` is empty. Raises ValueError: there are no clouds, or no depth_z."""
    identities.require(dataset, "depth_z", "points")
    identities.write_label_map(dataset, out)
    for scene in identities.scenes(dataset):
        folder = out / scene.place
        for kind, modality in (("images", "image"), ("labels", "mask")):
            if modality in dataset.forms:
                (folder / kind).mkdir(parents=True)
                for view in scene.views:
                    (folder / kind / _name(view)).write_bytes(view.file(modality))
        data = dataset.object("points", scene.identity)
        model = folder / "sparse" / "0"
        model.mkdir(parents=True)
        (model / "points3D.ply").write_bytes(data)
        _write_model(model, scene, ply.decode_cloud(data, source=scene.place), dataset.description.image_resolution)


def _write_model(folder: Path, scene: Scene, cloud: PointCloud, size: int) -> None:
    """Writes the three text files."""
    lenses: list[tuple[float, ...]] = []
    images, tracks = [], [""] * len(cloud)
    for number, view in enumerate(scene.views, 1):
        quaternion, translation, lens = cameras.to_colmap(identities.camera_of(view), size)
        if lens not in lenses:
            lenses.append(lens)
        images.append(_line((number, *quaternion, *translation, lenses.index(lens) + 1, _name(view))))
        index, pixels = _seen(view, cloud, size)
        images.append(" ".join(f"{x:.5f} {y:.5f} {i + 1}" for i, (x, y) in zip(index, pixels, strict=True)))
        for place, i in enumerate(index):
            tracks[i] += f" {number} {place}"
    points = [
        _line((i + 1, *record.numbers_of(point), *color, 0)) + tracks[i]
        for i, (point, color) in enumerate(zip(cloud.points, cloud.colors.tolist(), strict=True))
    ]
    _write_lines(folder / "cameras.txt", [_line((i, "PINHOLE", size, size, *k)) for i, k in enumerate(lenses, 1)])
    _write_lines(folder / "images.txt", images)
    _write_lines(folder / "points3D.txt", points)


def _seen(view: View, cloud: PointCloud, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The points (n,) that a view sees, by their depth, and where in pixels (n, 2)."""
    depth = record.restored(view.forms["depth_z"], view.numbers("depth_z"))
    camera = identities.camera_of(view)
    index, pixel, z = warping.find(cloud.points.astype(np.float64), warping.matrices(camera), depth.shape)
    index = index[np.abs(depth.ravel()[pixel] - z) <= warping.TOLERANCE * z]
    return index, np.asarray(cameras.project(camera, jnp.asarray(cloud.points))[0])[index] * size


def _name(view: View) -> str:
    return f"{view.own['key']}.png"


def _line(values: Iterable[object]) -> str:
    """Numbers and names, as many digits as they have."""
    return " ".join(str(float(value)) if isinstance(value, np.floating) else str(value) for value in values)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    files.write_text(path, "".join(f"{line}\n" for line in lines))
