"""A scene whose views are known exactly: a ball around the origin."""

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.models import scenes
from dnerf_jax.ops import cameras
from dnerf_jax.ops.labels import LabelMap

LABELS = LabelMap(("background", "left", "right"), ((255, 255, 255), (200, 60, 60), (60, 60, 200)))


def ball(yaws, radius=0.3, resolution=64):
    """Exact views of a ball around the origin whose left and right halves have different labels."""
    camera = cameras.orbit(jnp.radians(jnp.array(yaws)), 0.0)
    rays = cameras.rays(camera, resolution)
    middle = -jnp.sum(rays.origins * rays.directions, axis=-1)
    inside = middle**2 - jnp.sum(rays.origins**2, axis=-1) + radius**2
    distance = jnp.where(inside > 0, middle - jnp.sqrt(jnp.maximum(inside, 0)), jnp.inf)
    points = rays.origins + jnp.where(inside > 0, distance, 0)[..., None] * rays.directions
    mask = jnp.where(inside > 0, 1 + (points[..., 0] > 0), 0).astype(jnp.uint8)
    image = jnp.where(inside[..., None] > 0, points / radius, 1.0)
    views = scenes.View(
        image=image,
        image_raw=image,
        logits=None,
        mask=mask,
        depth_z=distance * cameras.z_per_distance(camera, resolution),
        distance=distance,
        opacity=(inside > 0).astype(jnp.float32),
        points=points,
        camera=camera,
    )
    return jax.tree.map(np.asarray, views)
