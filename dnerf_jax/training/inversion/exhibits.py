"""What there is to see of one scene, as files: labelled views, a turntable, the fused cloud and the mesh.

    views/image/00.png      RGB; 01, 02, ... are the other views in their order
    views/mask/00.png       class ids, in the label map's colours
    views/depth_z/00.png    16 bits, times depth_scale of views.json in world units, 0 where empty
    views/cameras.json      the cameras by these numbers, with yaw and pitch in degrees
    views/labelmap.json, views/views.json
    turntable.jpg           the views' images, masks and depths in rows
    cloud.ply, mesh.ply     of what the views show, with labels

Without a semantic branch there are no masks and no labels.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from dnerf_jax.io import encoding, files, ply, png
from dnerf_jax.models import scenes, shapes
from dnerf_jax.models.model import Model
from dnerf_jax.models.scenes import Scene, View
from dnerf_jax.ops import images, meshes, points
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.clouds import PointCloud
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.subject import Subject
from dnerf_jax.viz import pictures

YAWS = tuple(float(yaw) for yaw in range(-40, 41, 10))  # degrees
VOXEL = 0.005  # side of the cloud's voxels in world units, as in the factory's clouds
_SHOWN = ("image", "mask", "confidence", "depth_z", "opacity", "normal", "camera")  # of a view, what files are made of
_STEPS = 65535  # of 16 bits


@dataclasses.dataclass(frozen=True, eq=False)
class Exhibits:
    """What was written: the turntable, uint8 (H, W, 3), the cloud, and notes of what could not be made, sentences."""

    turntable: np.ndarray
    cloud: PointCloud
    notes: tuple[str, ...]


def write(
    out: pathlib.Path, model: Model, scene: Scene, *, yaws: Sequence[float] = YAWS, pitch: float = 0.0
) -> Exhibits:
    """Writes the views of one scene from these yaws and this pitch in degrees, and what they show, into a folder.

    Files that are there are replaced, each whole or not at all. A mesh needs the extra `meshes`; without it, or without
    a surface, there is none, which a note says.
    """
    views = look(model, scene, yaws, pitch)
    write_views(out / "views", model, views, yaws, pitch)
    turntable = turntable_of(model, views)
    png.save_image(out / "turntable.jpg", turntable)
    scale = model.generator.config.rendering.metres_per_unit
    cloud = points.from_views(views, label_map=model.label_map, voxel_size=VOXEL)
    ply.save_cloud(out / "cloud.ply", cloud, metres_per_unit=scale)
    notes = []
    try:
        mesh = shapes.extract_mesh(model.replace(semantic=None), scene)
        if views.mask is not None and model.label_map is not None:
            mesh = meshes.with_labels_of_views(mesh, views.mask, views.depth_z, views.camera, model.label_map)
        ply.save_mesh(out / "mesh.ply", mesh, metres_per_unit=scale)
    except (ImportError, ValueError) as error:
        (out / "mesh.ply").unlink(missing_ok=True)
        notes.append(f"there is no mesh: {error}")
    return Exhibits(turntable, cloud, tuple(notes))


def look(model: Model, scene: Scene, yaws: Sequence[float], pitch: float = 0.0) -> View:
    """Views (V,) of one scene from yaws (V,) and a pitch in degrees, of NumPy; fields that no file needs are None.

    Raises ValueError: the scene is a batch.
    """
    if scene.batch_shape:
        raise ValueError(f"the scene is a batch of shape {scene.batch_shape}, expected one: index it, scene[0]")
    angles = (np.radians(np.asarray(x, np.float32)) for x in (yaws, pitch))
    camera = subjects.camera_of(Subject(None, None, subjects.default_orbit(model, *angles)))
    views = [jax.tree.map(np.asarray, _look(model, scene, one)) for one in camera]
    return jax.tree.map(lambda *parts: np.stack(parts), *views)


def write_views(folder: pathlib.Path, model: Model, views: View, yaws: Sequence[float], pitch: float) -> None:
    """Writes the folder of labelled views, whole or not at all; one that is there is replaced."""
    filled = np.isfinite(views.depth_z)
    scale = float(np.max(views.depth_z, where=filled, initial=1e-6)) / _STEPS
    depth = np.rint(np.where(filled, views.depth_z, 0.0) / scale).astype(np.uint16)
    poses = {}
    with files.atomic_folder(folder, replace=True) as place:
        for name in ("image", "mask", "depth_z"):
            if name != "mask" or views.mask is not None:
                (place / name).mkdir()
        for v, yaw in enumerate(yaws):
            png.save_image(place / "image" / f"{v:02d}.png", images.to_uint8(views.image[v], span=(-1, 1)))
            (place / "depth_z" / f"{v:02d}.png").write_bytes(encoding.encode_png(depth[v]))
            if views.mask is not None and model.label_map is not None:
                png.save_mask(place / "mask" / f"{v:02d}.png", views.mask[v], model.label_map)
            camera: dict[str, Any] = {n: getattr(views.camera, n)[v].tolist() for n in ("cam2world", "intrinsics")}
            poses[f"{v:02d}"] = camera | {"yaw": float(yaw), "pitch": float(pitch)}
        if views.mask is not None and model.label_map is not None:
            png.save_label_map(place / "labelmap.json", model.label_map)
        files.write_json(place / "cameras.json", poses, indent=2)
        options = model.generator.config.rendering
        about = {"depth_scale": scale, "box_side": options.box_warp, "metres_per_unit": options.metres_per_unit}
        files.write_json(place / "views.json", about | {"fingerprint": model.fingerprint}, indent=2)


def turntable_of(model: Model, views: View) -> np.ndarray:
    """A strip of views (V,): images, masks where there are any, depths, uint8 (H, W, 3)."""
    rows = [list(images.to_uint8(views.image, span=(-1, 1)))]
    if views.mask is not None and model.label_map is not None:
        rows.append(list(model.label_map.colorize(views.mask)))
    return pictures.sheet([*rows, list(pictures.depth_picture(np.asarray(views.depth_z)))])


@jax.jit
def _look(model: Model, scene: Scene, camera: Camera) -> View:
    view = scenes.render(model, scene, camera, skip_empty=True)
    return view.replace(**{f.name: None for f in dataclasses.fields(view) if f.name not in _SHOWN})
