"""A head seen from a camera: image, mask, depth and alpha by ray tracing; shading in linear light."""

import numpy as np

from dnerf_jax.worlds import pictures
from dnerf_jax.worlds.heads import surface, table
from dnerf_jax.worlds.heads.building import Head
from dnerf_jax.worlds.latents import smoothstep
from dnerf_jax.worlds.pictures import Hits, View

LAMP_SIZE = 0.08  # half the side of the square of four lamps that is the key light, at distance 1
SHADOW_OFFSET = 0.004  # world units

# Columns of Head.appearance.
_NORMAL, _ALBEDO, _POINT, _OCCLUSION, _SHARE = slice(0, 3), slice(3, 6), slice(6, 9), 9, 10


def render(head: Head, cam2world: np.ndarray, intrinsics: np.ndarray, resolution: int, *, samples: int = 2) -> View:
    """Renders a view of resolution x resolution pixels with samples x samples colour samples per pixel.

    cam2world: (4, 4) OpenCV camera-to-world, intrinsics: (3, 3) divided by the image size. Raises ValueError for other
    shapes and sizes.
    """

    def shade(hits: Hits) -> np.ndarray:
        # Each of four neighbouring samples has a lamp of its own.
        fine = resolution * samples
        return _shade(head, hits, (hits.ray // fine % 2) * 2 + hits.ray % 2)

    def label(hits: Hits) -> np.ndarray:
        fields = hits.interpolate(head.faces, head.fields)
        return surface.labels(fields[:, :3], fields[:, 3:], head.face_group[hits.triangle], head.attributes)

    return pictures.render(head.bvh, cam2world, intrinsics, resolution, samples, shade, label)


def _shade(head, hits, lamp):
    """Display colours (n, 3) in [0, 1] of hits.

    Of a wrapped diffuse key light with shadows, an even sky with occlusion, and a highlight on the eyes.

    lamp: (n,) which of the key light's four lamps throws the shadow.
    """
    a, directions, group = head.attributes, hits.directions, head.face_group[hits.triangle]
    carried = hits.interpolate(head.faces, head.appearance)
    normal, albedo, point = carried[:, _NORMAL], carried[:, _ALBEDO], carried[:, _POINT]
    normal = normal / (np.sqrt(np.einsum("nc,nc->n", normal, normal)) + 1e-9)[:, None]
    body, eye, hair = (np.flatnonzero(group == g) for g in (table.BODY, table.EYE, table.HAIR))
    albedo[body] = surface.sharpen(albedo[body], point[body], carried[body, _SHARE], a, head.tones)
    albedo[eye] = surface.eye_albedo(hits.interpolate(head.faces, head.eye_direction, eye), head.tones)
    share = smoothstep(carried[hair, _SHARE], 0.25, 0.75)[:, None]
    albedo[hair] += (head.tones["hair"] - albedo[hair]) * share
    albedo[hair] *= 1 + (surface.hair_shade(point[hair]) - 1) * share
    facing = np.einsum("nc,nc->n", normal[hair], directions[hair])
    # The curtain is seen from both sides.
    normal[hair] *= np.where(facing > 0, -1, 1).astype(np.float32)[:, None]

    light = np.float32([a["light_side"], a["light_up"], 1.0])
    light /= np.linalg.norm(light)
    occlusion = carried[:, _OCCLUSION] ** 1.2
    incidence = np.einsum("nc,c->n", normal, light)
    diffuse = (
        np.clip(incidence * 0.75 + 0.25, 0, 1) ** 1.3
        * (0.35 + 0.65 * occlusion)
        * (1 - 0.7 * _shadow(head, hits.points, normal, light, lamp) * smoothstep(incidence, 0.0, 0.3))
        * a["light_strength"]
    )
    sky = (0.30 + 0.10 * normal[:, 1]) * occlusion
    color = albedo * (diffuse[:, None] * np.float32([0.90, 0.87, 0.83]) + sky[:, None] * np.float32([0.95, 1.0, 1.05]))

    towards = light - directions[eye] / np.linalg.norm(directions[eye], axis=1, keepdims=True)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    color[eye] += 0.8 * np.clip(np.einsum("nc,nc->n", normal[eye], towards), 0, 1)[:, None] ** 220
    return np.clip(color, 0, 1, dtype=np.float32) ** np.float32(1 / 2.2)


def _shadow(head, points, normal, light, lamp):
    """1 where the head hides its lamp from a point (n,), 0 elsewhere. The lamps stand around the light."""
    side = np.cross(light, [0, 1, 0])
    side /= np.linalg.norm(side)
    around = np.stack([side, np.cross(side, light)], axis=0)
    lamps = light + LAMP_SIZE * (np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]]) @ around)
    lamps = (lamps / np.linalg.norm(lamps, axis=1, keepdims=True)).astype(np.float32)
    # Off the surface, so that a point is not in its own triangle's shadow.
    return head.bvh.run(points + SHADOW_OFFSET * normal, lamps[lamp]) >= 0
