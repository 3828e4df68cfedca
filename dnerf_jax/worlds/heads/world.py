"""The heads world: latent -> posed image of a head with exact labels, depth and alpha; numpy and embree only.

    head = build(z)                                            # z (Z_DIM,), any number of views from one head
    view = render(head, *sample_camera(generator), resolution=128)

World frame: x the subject's left, y up, z from the subject to the frontal camera; OpenCV camera-to-world
matrices; intrinsics divided by the image size. The camera circles the origin at radius 2.7 with focal length
4.2647. Every head is aligned on its eye line and scaled by its height; all of it is in [-0.5, 0.5]^3.

    python -m dnerf_jax.worlds.heads --out DIR --num N --views V --seed S --resolution R
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dnerf_jax.worlds.heads import hair as head_hair
from dnerf_jax.worlds.heads import surface as head_surface
from dnerf_jax.worlds.heads import table as head_table
from dnerf_jax.worlds.heads.attributes import Z_DIM, attributes, shape_coefficients, smoothstep
from dnerf_jax.worlds.orbits import FOCAL, RADIUS, orbit, ray_directions, sample_camera
from dnerf_jax.worlds.heads.surface import LABELS

__all__ = ["LABELS", "Z_DIM", "Head", "HeadView", "build", "orbit", "render", "sample_camera"]

BOX = 0.5  # half the side of the box that holds every head, world units
CLOTH_THICKNESS = 0.006  # metres
LAMP_SIZE = 0.08  # half the side of the square of four lamps that is the key light, at distance 1
SHADOW_OFFSET = 0.004  # world units

# Columns of Head.appearance.
_NORMAL, _ALBEDO, _POINT, _OCCLUSION, _SHARE = slice(0, 3), slice(3, 6), slice(6, 9), 9, 10


@dataclasses.dataclass(frozen=True)
class Head:
    """One identity's mesh in world units with its ray-tracing structure; reusable for any number of views.

    vertices: (N, 3) float32, faces: (F, 3) int32, face_group: (F,) uint8 (head_table's groups).
    appearance: (N, 11) float32 per vertex: normal, albedo, canonical point, occlusion, mouth: what colours
        need.
    fields: (N, 7) float32 per vertex: canonical point, lip, ear, mouth, jaw: what labels need.
    eye_direction: (V, 3). attributes: name -> value. tones: name -> albedo (3,).
    metres_per_unit: this head's metric scale. bvh: embree scene.
    """

    vertices: np.ndarray
    faces: np.ndarray
    face_group: np.ndarray
    appearance: np.ndarray
    fields: np.ndarray
    eye_direction: np.ndarray
    attributes: dict[str, float]
    tones: dict[str, np.ndarray]
    metres_per_unit: float
    bvh: object


@dataclasses.dataclass(frozen=True)
class HeadView:
    """A rendered view; mask and depths are exact at the pixel centres, image and alpha average over the
    pixel.

    image: (H, W, 3) uint8 on white, alpha: (H, W) float32 in [0, 1], mask: (H, W) uint8 ids of LABELS.
    depth_z, distance: (H, W) float32 world units along the optical axis and along the ray, 0 where empty.
    """

    image: np.ndarray
    mask: np.ndarray
    depth_z: np.ndarray
    distance: np.ndarray
    alpha: np.ndarray


def build(z: np.ndarray) -> Head:
    """Builds the head of a latent z (Z_DIM,) ~ N(0, I); the same latent gives the same bytes.

    Raises ValueError for a latent of another shape or a missing table, ImportError without embreex.
    """
    rtcore_scene, TriangleMesh = _embree()
    a = attributes(z)
    table = head_table.load()
    lips = table.jaw[table.lip > 0.5]
    a["jaw_middle"] = float((lips.min() + lips.max()) / 2)
    tone = head_surface.tones(a)

    body = table.vertices(shape_coefficients(a))
    normals = head_table.vertex_normals(body, table.faces)
    hair, hair_faces, hair_coordinates = head_hair.shell(table, body, a)
    clothed = smoothstep(
        head_surface.collar(table.canonical, a["collar"]) - table.canonical[:, 1], -0.002, 0.014
    )
    metres = np.concatenate([body + normals * (CLOTH_THICKNESS * clothed).astype(np.float32)[:, None], hair])

    # Aligned on the eye line, sized by the height from eyes to crown.
    size = 0.6 * body[table.group == head_table.BODY, 1].max() + 0.6 * 0.062
    metres_per_unit = float(1.62 * size / (RADIUS * 0.5 / FOCAL))
    vertices = ((metres - np.float32([0.0, -0.012, -0.055])) / metres_per_unit).astype(np.float32)

    tint = hair_coordinates[:, 3:]
    albedo = np.concatenate(
        [head_surface.vertex_albedo(table, a, tone), np.broadcast_to(tone["skin"], (len(hair), 3))]
    )
    points = np.concatenate([table.canonical, hair_coordinates[:, :3]])
    none = np.zeros(len(hair), np.float32)
    lip, ear, mouth, jaw, occlusion = (
        np.concatenate(pair)
        for pair in (
            (table.lip, tint[:, 0]),
            (table.ear, none),
            (table.mouth, none),
            (table.jaw, none),
            (table.occlusion, none + 1),
        )
    )
    normals = np.concatenate([normals, head_table.vertex_normals(hair, hair_faces)])
    share = np.concatenate([table.mouth, tint[:, 0]])  # of the mouth's inside, and of hair colour
    appearance = np.concatenate([normals, albedo, points, np.stack([occlusion, share], axis=1)], axis=1)
    fields = np.concatenate([points, np.stack([lip, ear, mouth, jaw], axis=1)], axis=1)

    faces = np.concatenate([table.faces, hair_faces + np.int32(len(body))])
    face_group = np.concatenate([table.face_group, np.full(len(hair_faces), head_table.HAIR, np.uint8)])
    # Cut the bust at the box: drop triangles beyond one of its sides, pull the rest of a crossing triangle
    # onto it.
    sides = ((vertices > BOX) @ np.uint8([1, 2, 4])) | ((vertices < -BOX) @ np.uint8([8, 16, 32]))
    inside = (sides[faces[:, 0]] & sides[faces[:, 1]] & sides[faces[:, 2]]) == 0
    faces, face_group = faces[inside], face_group[inside]
    vertices = np.clip(vertices, -BOX, BOX)

    bvh = rtcore_scene.EmbreeScene()
    TriangleMesh(bvh, vertices, faces)
    return Head(
        vertices,
        faces,
        face_group,
        appearance.astype(np.float32),
        fields.astype(np.float32),
        table.eye_direction,
        a,
        tone,
        metres_per_unit,
        bvh,
    )


def render(
    head: Head, cam2world: np.ndarray, intrinsics: np.ndarray, resolution: int, *, samples: int = 2
) -> HeadView:
    """Renders a view of resolution x resolution pixels with samples x samples colour samples per pixel.

    cam2world: (4, 4) OpenCV camera-to-world, intrinsics: (3, 3) divided by the image size. The centre of
    pixel (i, j) is ((j + 0.5) / resolution, (i + 0.5) / resolution). Raises ValueError for other shapes and
    sizes.
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
    rgba = sum(rgba[i::samples, j::samples] for i in range(samples) for j in range(samples)) / np.float32(
        samples**2
    )

    triangle, weights, at = triangle[split:], weights[split:], at[split:]
    fields = _interpolate(head.fields, head.faces[triangle], weights)
    mask = np.zeros(resolution**2, np.uint8)
    mask[at - fine * fine] = head_surface.labels(
        fields[:, :3], fields[:, 3:], head.face_group[triangle], head.attributes
    )
    depth_z = np.zeros(resolution**2, np.float32)
    depth_z[at - fine * fine] = hit["tfar"][at]  # directions reach 1 along the optical axis
    distance = depth_z * np.linalg.norm(directions[fine * fine :], axis=1)
    square = (resolution, resolution)
    return HeadView(
        (rgba[..., :3] * 255 + 0.5).astype(np.uint8),
        mask.reshape(square),
        depth_z.reshape(square),
        distance.reshape(square),
        rgba[..., 3],
    )


def _shade(head, triangle, weights, directions, points, lamp):
    """Display colours (n, 3) in [0, 1] of hits: wrapped diffuse key light with shadows, sky, occlusion, a
    highlight on the eyes.

    points: (n, 3) world positions. lamp: (n,) which of the key light's four lamps throws the shadow.
    """
    a, corners, group = head.attributes, head.faces[triangle], head.face_group[triangle]
    surface = _interpolate(head.appearance, corners, weights)
    normal, albedo, point = surface[:, _NORMAL], surface[:, _ALBEDO], surface[:, _POINT]
    normal = normal / (np.sqrt(np.einsum("nc,nc->n", normal, normal)) + 1e-9)[:, None]
    body, eye, hair = (np.flatnonzero(group == g) for g in (head_table.BODY, head_table.EYE, head_table.HAIR))
    albedo[body] = head_surface.sharpen(albedo[body], point[body], surface[body, _SHARE], a, head.tones)
    albedo[eye] = head_surface.eye_albedo(
        _interpolate(head.eye_direction, corners[eye], weights[eye]), head.tones
    )
    share = smoothstep(surface[hair, _SHARE], 0.25, 0.75)[:, None]
    albedo[hair] += (head.tones["hair"] - albedo[hair]) * share
    albedo[hair] *= 1 + (head_surface.hair_shade(point[hair]) - 1) * share
    facing = np.einsum("nc,nc->n", normal[hair], directions[hair])
    normal[hair] *= np.where(facing > 0, -1, 1).astype(np.float32)[
        :, None
    ]  # the curtain is seen from both sides

    light = np.float32([a["light_side"], a["light_up"], 1.0])
    light /= np.linalg.norm(light)
    occlusion = surface[:, _OCCLUSION] ** 1.2
    incidence = np.einsum("nc,c->n", normal, light)
    diffuse = (
        np.clip(incidence * 0.75 + 0.25, 0, 1) ** 1.3
        * (0.35 + 0.65 * occlusion)
        * (1 - 0.7 * _shadow(head, points, normal, light, lamp) * smoothstep(incidence, 0.0, 0.3))
        * a["light_strength"]
    )
    sky = (0.30 + 0.10 * normal[:, 1]) * occlusion
    color = albedo * (
        diffuse[:, None] * np.float32([0.90, 0.87, 0.83]) + sky[:, None] * np.float32([0.95, 1.0, 1.05])
    )

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
    return (
        values[corners[:, 0]] * weights[:, :1]
        + values[corners[:, 1]] * weights[:, 1:2]
        + values[corners[:, 2]] * weights[:, 2:]
    )


def _checked(matrix, shape, name):
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != shape or not np.isfinite(matrix).all():
        raise ValueError(
            f"{name}: expected finite numbers of shape {shape}, got shape {matrix.shape}."
            " Render one view at a time."
        )
    return matrix


def _embree():
    try:
        from embreex import rtcore_scene
        from embreex.mesh_construction import TriangleMesh
    except ImportError as error:
        raise ImportError(
            f"the heads world needs embreex ({error}): pip install dnerf_jax[worlds]"
        ) from error
    return rtcore_scene, TriangleMesh
