"""From a latent to a head: its mesh in the world's frame, what its vertices carry, and the structure to trace it."""

import dataclasses

import numpy as np

from dnerf_jax.worlds import meshes
from dnerf_jax.worlds.heads import hair, surface, table
from dnerf_jax.worlds.heads.attributes import attributes, shape_coefficients
from dnerf_jax.worlds.latents import smoothstep
from dnerf_jax.worlds.orbits import FOCAL, RADIUS

BOX = 0.5  # half the side of the box that holds every head, world units
CLOTH_THICKNESS = 0.006  # metres


@dataclasses.dataclass(frozen=True)
class Head:
    """One identity's mesh in world units with its ray-tracing structure; reusable for any number of views.

    vertices: (N, 3) float32, faces: (F, 3) int32, face_group: (F,) uint8 (the groups of `table`).
    appearance: (N, 11) float32 per vertex: normal, albedo, canonical point, occlusion, mouth: what colours need.
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


def build(z: np.ndarray) -> Head:
    """Builds the head of a latent z (Z_DIM,) ~ N(0, I); the same latent gives the same bytes.

    Raises ValueError for a latent of another shape or a missing table, ImportError without embreex.
    """
    a = attributes(z)
    stored = table.load()
    lips = stored.jaw[stored.lip > 0.5]
    a["jaw_middle"] = float((lips.min() + lips.max()) / 2)
    tones = surface.tones(a)

    body = stored.vertices(shape_coefficients(a))
    normals = meshes.vertex_normals(body, stored.faces)
    strands, strand_faces, strand_coordinates = hair.shell(stored, body, a)
    clothed = smoothstep(surface.collar(stored.canonical, a["collar"]) - stored.canonical[:, 1], -0.002, 0.014)
    metres = np.concatenate([body + normals * (CLOTH_THICKNESS * clothed).astype(np.float32)[:, None], strands])

    # Aligned on the eye line, sized by the height from eyes to crown.
    size = 0.6 * body[stored.group == table.BODY, 1].max() + 0.6 * 0.062
    metres_per_unit = float(1.62 * size / (RADIUS * 0.5 / FOCAL))
    vertices = ((metres - np.float32([0.0, -0.012, -0.055])) / metres_per_unit).astype(np.float32)

    normals = np.concatenate([normals, meshes.vertex_normals(strands, strand_faces)])
    appearance, fields = _carried(stored, normals, strand_coordinates, a, tones)
    faces = np.concatenate([stored.faces, strand_faces + np.int32(len(body))])
    face_group = np.concatenate([stored.face_group, np.full(len(strand_faces), table.HAIR, np.uint8)])
    # Cut the bust at the box: drop triangles beyond one of its sides, pull the rest of a crossing triangle onto it.
    sides = ((vertices > BOX) @ np.uint8([1, 2, 4])) | ((vertices < -BOX) @ np.uint8([8, 16, 32]))
    inside = (sides[faces[:, 0]] & sides[faces[:, 1]] & sides[faces[:, 2]]) == 0
    faces, face_group = faces[inside], face_group[inside]
    vertices = np.clip(vertices, -BOX, BOX)

    return Head(
        vertices=vertices,
        faces=faces,
        face_group=face_group,
        appearance=appearance,
        fields=fields,
        eye_direction=stored.eye_direction,
        attributes=a,
        tones=tones,
        metres_per_unit=metres_per_unit,
        bvh=meshes.structure(vertices, faces),
    )


def _carried(stored, normals, strand_coordinates, a, tones):
    """The vertices' `appearance` (N, 11) and `fields` (N, 7), see `Head`: first the table's V, then the hair's."""
    count, tint = len(strand_coordinates), strand_coordinates[:, 3]
    none = np.zeros(count, np.float32)
    skin = np.broadcast_to(tones["skin"], (count, 3))
    albedo = np.concatenate([surface.vertex_albedo(stored, a, tones), skin])
    points = np.concatenate([stored.canonical, strand_coordinates[:, :3]])
    lip, ear, mouth, jaw, occlusion = (
        np.concatenate(pair)
        for pair in (
            (stored.lip, tint),
            (stored.ear, none),
            (stored.mouth, none),
            (stored.jaw, none),
            (stored.occlusion, none + 1),
        )
    )
    share = np.concatenate([stored.mouth, tint])  # of the mouth's inside, and of hair colour
    appearance = np.concatenate([normals, albedo, points, np.stack([occlusion, share], axis=1)], axis=1)
    fields = np.concatenate([points, np.stack([lip, ear, mouth, jaw], axis=1)], axis=1)
    return appearance.astype(np.float32), fields.astype(np.float32)
