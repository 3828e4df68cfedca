"""Clouds as a scanner sees them: of a world's own surface, with exact labels, and of any mesh, with none."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from flax import struct

from dnerf_jax.ops import points
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.points import PointCloud
from dnerf_jax.worlds import meshes, orbits, views
from dnerf_jax.worlds.views import Pose, World


@struct.dataclass
class _Seen:
    """What `points.from_views` reads of views."""

    image: Any
    mask: Any
    depth_z: Any
    opacity: Any
    camera: Camera


def scan(
    world: World, z: np.ndarray, poses: Sequence[Pose], resolution: int, *, voxel_size: float, num_points: int | None
) -> PointCloud:
    """The cloud of the surface that views of a latent's scene show; see `points.from_views`.

    It has the sampling of the factory's cloud that was made of views from the same cameras at that resolution. Labels
    are those of the surface, exact.
    """
    seen = views.render(world, z, poses, resolution)
    camera = Camera(seen.cam2world, seen.intrinsics)
    visible = _Seen(seen.image, seen.mask, seen.depth_z, seen.alpha / 255, camera)
    return points.from_views(visible, label_map=world.LABELS, voxel_size=voxel_size, num_points=num_points)


def of_mesh(
    vertices: np.ndarray, faces: np.ndarray, poses: Sequence[Pose], resolution: int, *, voxel_size: float
) -> PointCloud:
    """The cloud of what views of a mesh show, a point in each voxel; grey, and labelled 255, unknown.

    vertices (V, 3) in the world frame and its unit, faces (F, 3).
    """
    scene, depth = meshes.structure(vertices, faces), []
    for cam2world, intrinsics in poses:
        directions = orbits.ray_directions(cam2world, intrinsics, resolution)
        origins = np.broadcast_to(cam2world[:3, 3], directions.shape).astype(np.float32)
        hit = scene.run(np.ascontiguousarray(origins), directions, output=True)
        depth.append(np.where(hit["primID"] >= 0, hit["tfar"], 0).reshape(resolution, resolution))
    depth_z = np.stack(depth).astype(np.float32)
    camera = Camera(*(np.stack(parts) for parts in zip(*poses, strict=True)))
    grey = np.full((*depth_z.shape, 3), 128, np.uint8)
    return points.from_views(_Seen(grey, None, depth_z, depth_z > 0, camera), voxel_size=voxel_size)
