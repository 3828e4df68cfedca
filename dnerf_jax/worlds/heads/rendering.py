"""A head seen from a camera: image, mask, depth and alpha by ray tracing; shading in linear light."""

import dataclasses

import numpy as np

from dnerf_jax.worlds.heads import surface, table
from dnerf_jax.worlds.heads.attributes import smoothstep
from dnerf_jax.worlds.heads.building import Head
from dnerf_jax.worlds.orbits import ray_directions

LAMP_SIZE = 0.08  # half the side of the square of four lamps that is the key light, at distance 1
SHADOW_OFFSET = 0.004  # world units

# Columns of Head.appearance.
_NORMAL, _ALBEDO, _POINT, _OCCLUSION, _SHARE = slice(0, 3), slice(3, 6), slice(6, 9), 9, 10


@dataclasses.dataclass(frozen=True)
class HeadView:
    """A rendered view; mask and depths are exact at the pixel centres, image and alpha average over the pixel.

    image: (H, W, 3) uint8 on white, alpha: (H, W) float32 in [0, 1], mask: (H, W) uint8 ids of LABELS.
    depth_z, distance: (H, W) float32 world units along the optical axis and along the ray, 0 where empty.
    """

    image: np.ndarray
    mask: np.ndarray
    depth_z: np.ndarray
    distance: np.ndarray
    alpha: np.ndarray


def render(head: Head, cam2world: np.ndarray, intrinsics: np.ndarray, resolution: int, *, samples: int = 2) -> HeadView:
    """Renders a view of resolution x resolution pixels with samples x samples colour samples per pixel.

    cam2world: (4, 4) OpenCV camera-to-world, intrinsics: (3, 3) divided by the image size. The centre of pixel (i, j)
    is ((j + 0.5) / resolution, (i + 0.5) / resolution). Raises ValueError for other shapes and sizes.
    """
    cam2world = _checked(cam2world, (4, 4), "cam2world")
    intrinsics = _checked(intrinsics, (3, 3), "intrinsics")
    if resolution < 1 or samples < 1:
        raise ValueError(f"resolution and samples must be at least 1, got {resolution} and {samples}.")
    fine = resolution * samples
    directions = np.concatenate(
        [ray_directions(cam2world, intrinsics, fine), ray_directions(cam2world, intrinsics, resolution)]
    )
    origins = np.broadcast_to(cam2world[:3, 3].astype(np.float32), directions.shape)
    hit = head.bvh.run(np.ascontiguousarray(origins), directions, output=True)
    at = np.flatnonzero(hit["primID"] >= 0)
    u, v = hit["u"][at], hit["v"][at]
    triangle = hit["primID"][at]
    weights = np.stack([1 - u - v, u, v], axis=1)
    split = np.searchsorted(at, fine * fine)  # before: colour samples; after: pixel centres

    rgba = np.ones((fine * fine, 4), np.float32)
    rgba[:, 3] = 0
    points = origins[at[:split]] + hit["tfar"][at[:split], None] * directions[at[:split]]
    lamp = (at[:split] // fine % 2) * 2 + at[:split] % 2  # each of four neighbouring samples has its own
    rgba[at[:split], :3] = _shade(head, triangle[:split], weights[:split], directions[at[:split]], points, lamp)
    rgba[at[:split], 3] = 1
    rgba = rgba.reshape(fine, fine, 4)
    rgba = sum(rgba[i::samples, j::samples] for i in range(samples) for j in range(samples))
    rgba = rgba / np.float32(samples**2)

    triangle, weights, at = triangle[split:], weights[split:], at[split:]
    fields = _interpolate(head.fields, head.faces[triangle], weights)
    mask = np.zeros(resolution**2, np.uint8)
    mask[at - fine * fine] = surface.labels(fields[:, :3], fields[:, 3:], head.face_group[triangle], head.attributes)
    depth_z = np.zeros(resolution**2, np.float32)
    depth_z[at - fine * fine] = hit["tfar"][at]  # directions reach 1 along the optical axis
    distance = depth_z * np.linalg.norm(directions[fine * fine :], axis=1)
    square = (resolution, resolution)
    return HeadView(
        image=(rgba[..., :3] * 255 + 0.5).astype(np.uint8),
        mask=mask.reshape(square),
        depth_z=depth_z.reshape(square),
        distance=distance.reshape(square),
        alpha=rgba[..., 3],
    )


def _shade(head, triangle, weights, directions, points, lamp):
    """Display colours (n, 3) in [0, 1] of hits.

    Of a wrapped diffuse key light with shadows, an even sky with occlusion, and a highlight on the eyes.

    points: (n, 3) world positions. lamp: (n,) which of the key light's four lamps throws the shadow.
    """
    a, corners, group = head.attributes, head.faces[triangle], head.face_group[triangle]
    carried = _interpolate(head.appearance, corners, weights)
    normal, albedo, point = carried[:, _NORMAL], carried[:, _ALBEDO], carried[:, _POINT]
    normal = normal / (np.sqrt(np.einsum("nc,nc->n", normal, normal)) + 1e-9)[:, None]
    body, eye, hair = (np.flatnonzero(group == g) for g in (table.BODY, table.EYE, table.HAIR))
    albedo[body] = surface.sharpen(albedo[body], point[body], carried[body, _SHARE], a, head.tones)
    albedo[eye] = surface.eye_albedo(_interpolate(head.eye_direction, corners[eye], weights[eye]), head.tones)
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
        * (1 - 0.7 * _shadow(head, points, normal, light, lamp) * smoothstep(incidence, 0.0, 0.3))
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


def _interpolate(values, corners, weights):
    """Values (N, C) at points within triangles: corners (n, 3) vertex ids, weights (n, 3) barycentric."""
    first, second, third = (values[corners[:, k]] * weights[:, k : k + 1] for k in range(3))
    return first + second + third


def _checked(matrix, shape, name):
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != shape or not np.isfinite(matrix).all():
        raise ValueError(
            f"{name}: expected finite numbers of shape {shape}, got shape {matrix.shape}. Render one view at a time."
        )
    return matrix
