"""A body seen from a camera: image, mask, depth, alpha and canonical points by ray tracing; shading in linear light.

Light goes with the body: a surface point is lit by its normal in the canonical pose, and so has one colour in all
poses, as an articulated generator gives it (its colours are looked up at canonical points).
"""

import numpy as np

from dnerf_jax.worlds import pictures
from dnerf_jax.worlds.bodies import surface
from dnerf_jax.worlds.bodies.building import Body
from dnerf_jax.worlds.bodies.surface import Surface
from dnerf_jax.worlds.pictures import Hits, View


def render(body: Body, cam2world: np.ndarray, intrinsics: np.ndarray, resolution: int, *, samples: int = 2) -> View:
    """Renders a view of resolution x resolution pixels with samples x samples colour samples per pixel.

    cam2world: (4, 4) OpenCV camera-to-world, intrinsics: (3, 3) divided by the image size. Raises ValueError for other
    shapes and sizes.
    """

    def carried(hits: Hits) -> Surface:
        return Surface.of_columns(hits.interpolate(body.faces, body.columns))

    def shade(hits: Hits) -> np.ndarray:
        return _shade(body, carried(hits), hits.interpolate(body.faces, body.normals))

    def label(hits: Hits) -> np.ndarray:
        return surface.labels(carried(hits))

    def place(hits: Hits) -> np.ndarray:
        return hits.interpolate(body.faces, body.canonical)

    return pictures.render(body.bvh, cam2world, intrinsics, resolution, samples, shade, label, place)


def _shade(body: Body, points: Surface, normal: np.ndarray) -> np.ndarray:
    """Display colours (n, 3) in [0, 1]: of a wrapped diffuse key light, and an even sky with occlusion."""
    a = body.attributes
    normal = normal / (np.sqrt(np.einsum("nc,nc->n", normal, normal)) + 1e-9)[:, None]
    light = np.float32([a["light_side"], a["light_up"], 1.0])
    light /= np.linalg.norm(light)
    occlusion = points.occlusion**1.2
    diffuse = np.clip(np.einsum("nc,c->n", normal, light) * 0.7 + 0.3, 0, 1) ** 1.3 * (0.35 + 0.65 * occlusion)
    sky = (a["sky"] + 0.12 * normal[:, 1]) * occlusion
    light = (a["light_strength"] * diffuse)[:, None] * np.float32([0.90, 0.87, 0.83])
    color = surface.albedo(points, a) * (light + sky[:, None] * np.float32([0.95, 1.0, 1.05]))
    return np.clip(color, 0, 1).astype(np.float32) ** np.float32(1 / 2.2)
