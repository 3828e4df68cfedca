"""A scene whose views are known exactly: a ball around the origin."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dnerf_jax.ops import cameras
from dnerf_jax.ops.batched import Batched
from dnerf_jax.ops.labels import LabelMap

LABELS = LabelMap(("background", "left", "right"), ((255, 255, 255), (200, 60, 60), (60, 60, 200)))


@struct.dataclass(repr=False)
class Views(Batched):
    """What the renderer's views have too: image (V, R, R, 3) in [-1, 1], the rest (V, R, R) or its points, cameras (V).

    distance and depth_z are infinite where empty.
    """

    image: np.ndarray
    mask: np.ndarray
    depth_z: np.ndarray
    distance: np.ndarray
    opacity: np.ndarray
    points: np.ndarray
    camera: cameras.Camera

    @property
    def batch_shape(self):
        return self.opacity.shape[:-2]


def ball(yaws, radius=0.3, resolution=64):
    """Exact views of a ball around the origin whose left and right halves have different labels."""
    camera = cameras.orbit(jnp.radians(jnp.array(yaws)), 0.0)
    rays = cameras.rays(camera, resolution)
    middle = -jnp.sum(rays.origins * rays.directions, axis=-1)
    inside = middle**2 - jnp.sum(rays.origins**2, axis=-1) + radius**2
    distance = jnp.where(inside > 0, middle - jnp.sqrt(jnp.maximum(inside, 0)), jnp.inf)
    points = rays.origins + jnp.where(inside > 0, distance, 0)[..., None] * rays.directions
    views = Views(
        image=jnp.where(inside[..., None] > 0, points / radius, 1.0),
        mask=jnp.where(inside > 0, 1 + (points[..., 0] > 0), 0).astype(jnp.uint8),
        depth_z=distance * cameras.z_per_distance(camera, resolution),
        distance=distance,
        opacity=(inside > 0).astype(jnp.float32),
        points=points,
        camera=camera,
    )
    return jax.tree.map(np.asarray, views)
