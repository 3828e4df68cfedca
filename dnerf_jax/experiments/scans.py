"""Figure 5 of the paper: networks that learned from clouds of a world label scans of real heads.

A scan is a mesh, y up and seen from where z is large, in any unit. It is placed as the world's mean head is, by two
measures of both: the crown's height, and the head's width (`profile`). Two cameras look at it, 20 degrees to either
side, as at the clouds that the networks have learned from.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dnerf_jax.experiments import clouds
from dnerf_jax.experiments.clouds import Row
from dnerf_jax.io import folders, mesh_files, networks, ply, png
from dnerf_jax.models import point_segmenters
from dnerf_jax.models.point_segmenters import PointSegmenter
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.meshes import Mesh
from dnerf_jax.ops.points import PointCloud
from dnerf_jax.training import runs
from dnerf_jax.training.points.learning import MODEL
from dnerf_jax.viz import pictures
from dnerf_jax.worlds import clouds as scanned
from dnerf_jax.worlds import heads

SIDES, SHOWN = (-20.0, 20.0), (-50.0, -20.0, 0.0, 35.0)  # yaws of the cameras that scan, and of the pictures
RESOLUTION, VOXEL_SIZE = 256, 0.005
ROWS = {"generated": Row(0, 1100), "exact": Row(1325, 0)}  # whose networks, of the first seed
LEVELS, NECK = 60, 0.8  # of the profile; below a level so narrow, in widths of the head, it ends


def make(out: str, files: Sequence[str], scale: float) -> None:
    """Writes figure5.png into the folder of tables 2 and 3, and every scan with its labels as scans/*.ply.

    A row of pictures is a network (of ROWS) and a scan. Then come a head of the world, of a latent drawn for this, as
    the first one labels it, and its exact labels.

    Raises ValueError: the networks are not there yet, or a file is no mesh.
    """
    if not files:
        raise ValueError("--files is empty: name heads (OBJ, PLY or GLB), y up, separated by commas")
    with folders.claimed(out, known_by=[runs.SETTINGS]) as folder:
        known = {}
        for kind, row in ROWS.items():
            where = clouds.run_of(row, folder, 0, scale) / MODEL
            if not where.exists():
                raise ValueError(f"{where}, of {row.name} clouds, is not there: make --table 2 and --table 3 first")
            known[kind] = networks.load(where, "points")
        given = [(Path(name).stem, cloud_of(mesh_files.load(name))) for name in files]
        (folder / "scans").mkdir(exist_ok=True)
        rows = []
        for kind, network in known.items():
            for name, cloud in given:
                labelled = label(network, cloud)
                print(f"{name}, by {kind} clouds: {labelled}")
                ply.save_cloud(folder / "scans" / f"{name}_{kind}.ply", labelled)
                rows.append(sides(labelled))
        z = np.random.default_rng(0).standard_normal(heads.Z_DIM).astype(np.float32)
        poses = [heads.orbit(yaw, 0.0) for yaw in SIDES]
        exact = scanned.scan(heads, z, poses, RESOLUTION, voxel_size=VOXEL_SIZE, num_points=None)
        rows += [sides(label(known["generated"], exact)), sides(exact)]
        png.save_image(folder / "figure5.png", pictures.sheet(rows), optimize=True)


def cloud_of(mesh: Mesh) -> PointCloud:
    """The cloud of a scan, placed as the world's mean head is. Raises ValueError: it is none, or not upright."""
    mean = heads.build(np.zeros(heads.Z_DIM, np.float32))
    vertices = placed(mesh.vertices, mean.vertices[np.unique(mean.faces)])
    inside = (np.abs(vertices) <= heads.BOX).all(axis=1)[mesh.faces].all(axis=1)
    poses = [heads.orbit(yaw, 0.0) for yaw in SIDES]
    return scanned.of_mesh(vertices, mesh.faces[inside], poses, RESOLUTION, voxel_size=VOXEL_SIZE)


def placed(vertices: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Vertices (V, 3) of a head, moved and scaled so that crown, width and front are those of `like` (N, 3)."""
    (width, top, middle), (wanted, crown, centre) = profile(vertices), profile(like)
    return ((vertices - np.array([middle[0], top, middle[1]])) * (wanted / width)).astype(np.float32) + np.float32(
        [centre[0], crown, centre[1]]
    )


def profile(vertices: np.ndarray) -> tuple[float, float, np.ndarray]:
    """A head's width, the height of its crown, and its middle from left to right and its foremost z, (2,).

    The head ends at the neck: going down from the crown, where it is narrower than NECK of its width so far.

    Raises ValueError: it is widest in its lower half, so that no neck tells it from the shoulders, as with long hair.
    """
    top, bottom = vertices[:, 1].max(), vertices[:, 1].min()
    level = np.minimum(((top - vertices[:, 1]) / (top - bottom) * LEVELS).astype(int), LEVELS - 1)
    widest, where, end = 0.0, 0, LEVELS
    for k in range(LEVELS):
        x = vertices[level == k, 0]
        width = float(np.ptp(x)) if len(x) else 0.0
        if len(x) and width < NECK * widest:
            end = k
            break
        if width > widest:
            widest, where = width, k
    if where > LEVELS / 2:
        raise ValueError("the head gets no narrower down to its shoulders: expected a neck, by which its size is told")
    head = vertices[level < end]
    return widest, float(top), np.array([(head[:, 0].min() + head[:, 0].max()) / 2, head[:, 2].max()])


def label(network: PointSegmenter, cloud: PointCloud) -> PointCloud:
    """The cloud with the network's classes."""
    ids = point_segmenters.label(network, np.asarray(cloud.points))
    return dataclasses.replace(cloud, labels=ids, label_map=network.config.label_map)


def sides(cloud: PointCloud) -> list[np.ndarray]:
    """Pictures of a cloud's labels, from SHOWN."""
    colors = heads.LABELS.colorize(np.asarray(cloud.labels)[None])[0]
    cameras = (Camera(*heads.orbit(yaw, 0.0)) for yaw in SHOWN)
    return [pictures.cloud_picture(cloud.points, colors, camera, RESOLUTION, radius=2) for camera in cameras]
