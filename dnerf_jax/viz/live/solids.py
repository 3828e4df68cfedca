"""Clouds and meshes in the scene of a page."""

from typing import Any

import numpy as np

from dnerf_jax.ops.clouds import PointCloud
from dnerf_jax.ops.meshes import Mesh


def colors_of(solid: PointCloud | Mesh, by_class: bool) -> np.ndarray:
    """Colours, uint8 (N, 3), of a cloud's points or a mesh's vertices: their own, or those of their classes."""
    if by_class and solid.label_map is not None and solid.labels is not None:
        return solid.label_map.colorize(solid.labels)
    count = len(solid.points if isinstance(solid, PointCloud) else solid.vertices)
    return np.full((count, 3), 160, np.uint8) if solid.colors is None else solid.colors


def add(server: Any, name: str, solid: PointCloud | Mesh, by_class: bool) -> Any:
    """Puts a cloud or a mesh into the scene of a viser server's page, and returns its handle."""
    colors = colors_of(solid, by_class)
    if isinstance(solid, PointCloud):
        # Points of a surface touch each other, many or few.
        size = 0.6 * float(np.ptp(solid.points, axis=0).max()) / np.sqrt(len(solid.points))
        return server.scene.add_point_cloud(
            name,
            solid.points,
            colors,
            point_size=size,
            point_shape="circle",
            precision="float32",
            point_shading="flat",
        )
    import trimesh

    made = trimesh.Trimesh(solid.vertices, solid.faces, vertex_colors=colors, process=False)
    return server.scene.add_mesh_trimesh(name, made, cast_shadow=False, receive_shadow=False)
