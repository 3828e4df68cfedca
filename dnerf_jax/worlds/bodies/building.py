"""From a latent and a pose to a body: its mesh in the world's frame, what its vertices carry, what traces it."""

import dataclasses
from typing import Any

import numpy as np

from dnerf_jax.worlds import meshes
from dnerf_jax.worlds.bodies import surface, table
from dnerf_jax.worlds.bodies.attributes import attributes, corners
from dnerf_jax.worlds.bodies.table import BONES

METRES_PER_UNIT = 2.0  # of every body: they differ in height


@dataclasses.dataclass(frozen=True)
class Pose:
    """A body's pose: rotations (38, 3, 3) of the bones, see `posing.transforms`, and translation (3,), world units."""

    rotations: np.ndarray
    translation: np.ndarray


@dataclasses.dataclass(frozen=True)
class Body:
    """One identity in one pose, in world units, with its ray-tracing structure; reusable for any number of views.

    vertices: (V, 3) float32, faces: (F, 3) int32. normals: (V, 3) in the canonical pose, by which it is lit.
    canonical: (V, 3) where the mean body has them, in the canonical pose. columns: (V, 25), see `Surface`.
    attributes: name -> value. latent_shape: (S,) what the latent says of the table's shapes, whether it was asked for
        or not. pose: what was asked for.
    metres_per_unit: 2. bvh: Embree's scene.
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    canonical: np.ndarray
    columns: np.ndarray
    attributes: dict[str, float]
    latent_shape: np.ndarray
    pose: Pose
    metres_per_unit: float
    bvh: Any


def shape(z: np.ndarray) -> np.ndarray:
    """The shape coefficients (S,) float32 of a latent (Z_DIM,): those of the template's shapes as well."""
    return _shape(attributes(z))


def _shape(a: dict[str, float]) -> np.ndarray:
    return (corners(a) @ table.load().corners).astype(np.float32)


def canonical_pose() -> Pose:
    """The pose whose space a generator's planes are of."""
    return Pose(table.load().canonical, np.zeros(3, np.float32))


def centred(rotations: np.ndarray) -> Pose:
    """The pose of rotations (38, 3, 3) that puts the middle of the mean template's box at the origin.

    Raises ValueError for another number of bones, and for what is no rotation.
    """
    rotations = np.asarray(rotations, np.float64)
    if rotations.shape != (len(BONES), 3, 3) or not np.isfinite(rotations).all():
        raise ValueError(
            f"rotations: expected finite numbers of shape ({len(BONES)}, 3, 3), a rotation per bone, got the shape"
            f" {rotations.shape}"
        )
    off = np.abs(np.swapaxes(rotations, -1, -2) @ rotations - np.eye(3)).max(axis=(-1, -2))
    if (off > 1e-3).any() or (np.linalg.det(rotations) < 0).any():
        raise ValueError(
            f"rotations: that of {BONES[int(off.argmax())]} is none; expected orthonormal, of determinant 1"
        )
    posed = table.load().posed_template(rotations)
    middle = (posed.min(0) + posed.max(0)) / 2
    return Pose(rotations.astype(np.float32), (-middle / METRES_PER_UNIT).astype(np.float32))


def build(z: np.ndarray, pose: Pose | None = None, *, shaped: bool = True) -> Body:
    """Builds the body of a latent z (Z_DIM,) ~ N(0, I) in a pose; the same latent and pose give the same bytes.

    Args:
      pose: None for the canonical one.
      shaped: whether it has its own shape; the mean one has the same garments, hair and colours.

    Raises ValueError for a latent of another shape or a missing table, ImportError without embreex.
    """
    a, stored, carried = attributes(z), table.load(), surface.load()
    own = _shape(a)
    rest, joints = stored.rest(own if shaped else np.zeros_like(own))
    normals = meshes.vertex_normals(rest, stored.faces)
    rest = rest + normals * surface.lifted(carried, normals, a)[:, None]
    canonical, _ = stored.posed(rest, joints, stored.canonical)
    posed = canonical if pose is None else stored.posed(rest, joints, pose.rotations)[0]
    pose = pose or canonical_pose()
    vertices = (posed / METRES_PER_UNIT + pose.translation).astype(np.float32)
    return Body(
        vertices=vertices,
        faces=stored.faces,
        normals=meshes.vertex_normals(canonical, stored.faces),
        canonical=stored.canonical_mean / np.float32(METRES_PER_UNIT),
        columns=carried.columns,
        attributes=a,
        latent_shape=own,
        pose=pose,
        metres_per_unit=METRES_PER_UNIT,
        bvh=meshes.structure(vertices, stored.faces),
    )
