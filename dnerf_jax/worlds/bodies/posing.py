"""Skinning in NumPy: what a pose does to a body's vertices.

The conventions are those of `dnerf_jax.ops.skinning`, repeated here so that a world needs neither JAX nor Flax.
"""

from collections.abc import Sequence

import numpy as np


def rotation(axis: Sequence[float], degrees: float) -> np.ndarray:
    """The rotation (3, 3) about an axis (3,), which need not be of length 1."""
    x, y, z = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def transforms(joints: np.ndarray, parents: Sequence[int], rotations: np.ndarray) -> np.ndarray:
    """What each bone does to what is bound to it: (B, 3, 4), from the bind pose to the posed world.

    joints: (B, 3) in the bind pose. rotations: (B, 3, 3) of each bone about its joint, against its parent, in the axes
    of the bind pose's world.
    """
    moved = np.zeros((len(parents), 3, 4))
    for bone, parent in enumerate(parents):
        own = np.concatenate([rotations[bone], (joints[bone] - rotations[bone] @ joints[bone])[:, None]], axis=1)
        if parent >= 0:
            turned = moved[parent, :, :3] @ own
            turned[:, 3] += moved[parent, :, 3]
            own = turned
        moved[bone] = own
    return moved


def skin(
    vertices: np.ndarray, bone_index: np.ndarray, bone_weight: np.ndarray, moved: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Linear blend skinning: posed vertices (V, 3), and what their surroundings were turned by (V, 3, 3), blended.

    vertices: (V, 3) in the bind pose. bone_index, bone_weight: (V, K), the bones that move each, weights of sum 1.
    """
    # A sum over bones, not BLAS: the same bytes whatever the number of threads.
    blended = np.zeros((len(vertices), 3, 4))
    for k in range(bone_index.shape[1]):
        blended += bone_weight[:, k, None, None] * moved[bone_index[:, k]]
    posed = np.einsum("vij,vj->vi", blended[:, :, :3], vertices) + blended[:, :, 3]
    return posed, blended[:, :, :3]
