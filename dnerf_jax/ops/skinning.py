"""A skeleton moves a mesh: bones turn about their joints, and each vertex goes with a blend of them.

B bones, V vertices. The bind pose is the one in which vertices and joints are given. Lengths are world units, numbers
float32; functions are of one pose, more of them are `vmap`'s business, and differentiable in all of their arrays.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dnerf_jax.ops.precision import einsum


@struct.dataclass
class Skeleton:
    """Bones with the names of their parents, as numbers: joints (B, 3) where they turn, in the bind pose.

    parents: of every bone the number of its parent, which comes before it; -1 for the root. Static under `jit`.
    """

    joints: jax.Array
    parents: tuple[int, ...] = struct.field(pytree_node=False)


def rotation(vectors: jax.Array) -> jax.Array:
    """Rotations (..., 3, 3) about axes by angles in radians, their products (..., 3); differentiable at 0 too."""
    angle = jnp.sqrt(jnp.sum(vectors * vectors, axis=-1) + 1e-14)[..., None, None]
    x, y, z = (vectors[..., i] for i in range(3))
    none = jnp.zeros_like(x)
    cross = jnp.stack([none, -z, y, z, none, -x, -y, x, none], axis=-1).reshape(*vectors.shape, 3)
    straight, bent = jnp.sinc(angle / jnp.pi), 0.5 * jnp.sinc(0.5 * angle / jnp.pi) ** 2
    return jnp.eye(3) + straight * cross + bent * einsum("...ij,...jk->...ik", cross, cross)


def transforms(skeleton: Skeleton, rotations: jax.Array) -> jax.Array:
    """What each bone does to what is bound to it: (B, 4, 4), from the bind pose to the posed world.

    rotations: (B, 3, 3) of each bone about its joint, against its parent, in the axes of the bind pose's world.
    """
    joints = skeleton.joints
    own = jnp.tile(jnp.eye(4), (len(joints), 1, 1)).at[:, :3, :3].set(rotations)
    own = own.at[:, :3, 3].set(joints - einsum("bij,bj->bi", rotations, joints))
    # Bones that are as far from the root are carried at once.
    generation = [[0]]
    made = [own[:1]]
    while later := [bone for bone, parent in enumerate(skeleton.parents) if parent in generation[-1]]:
        before = np.array([generation[-1].index(skeleton.parents[bone]) for bone in later])
        made.append(einsum("bij,bjk->bik", made[-1][before], own[np.array(later)]))
        generation.append(later)
    return jnp.concatenate(made)[np.argsort(np.concatenate(generation))]


def skin(vertices: jax.Array, weights: jax.Array, moved: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Linear blend skinning: posed vertices (V, 3), and what their surroundings were turned by (V, 3, 3), blended.

    vertices: (V, 3) in the bind pose. weights: (V, B), of sum 1. moved: (B, 4, 4), see `transforms`.
    """
    blended = einsum("vb,bij->vij", weights, moved)
    return einsum("vij,vj->vi", blended[:, :3, :3], vertices) + blended[:, :3, 3], blended[:, :3, :3]
