"""Bones carry each other, and what is bound to them."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from dnerf_jax.ops import skinning


def test_a_rotation_is_about_its_axis_by_its_length():
    vectors = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    vectors[0, 0] = 0, 0, np.pi
    expected = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(2, 5, 3, 3)
    np.testing.assert_allclose(skinning.rotation(vectors), expected, atol=2e-6)
    np.testing.assert_array_equal(skinning.rotation(jnp.zeros(3)), np.eye(3))
    # Where nothing is turned, what a small turn would do is known.
    slope = jax.jacfwd(skinning.rotation)(jnp.zeros(3))
    np.testing.assert_allclose(slope[:, :, 2], [[0, -1, 0], [1, 0, 0], [0, 0, 0]], atol=1e-6)


def test_bones_carry_what_is_bound_to_them():
    """An arm of two bones: the upper one's turn carries the lower, whose own turn is about its own joint."""
    skeleton = skinning.Skeleton(jnp.float32([[0, 0, 0], [1, 0, 0]]), (-1, 0))
    quarter = jnp.float32([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    still = jnp.eye(3)
    vertices, weights = jnp.float32([[1, 0, 0], [2, 0, 0]]), jnp.float32([[1, 0], [0, 1]])
    for rotations, expected in (
        ((still, still), [[1, 0, 0], [2, 0, 0]]),
        ((quarter, still), [[0, 1, 0], [0, 2, 0]]),
        ((still, quarter), [[1, 0, 0], [1, 1, 0]]),
        ((quarter, quarter), [[0, 1, 0], [-1, 1, 0]]),
    ):
        moved = skinning.transforms(skeleton, jnp.stack(rotations))
        posed, turned = skinning.skin(vertices, weights, moved)
        np.testing.assert_allclose(posed, expected, atol=1e-6)
        np.testing.assert_allclose(turned[0], rotations[0], atol=1e-6)
        np.testing.assert_allclose(turned[1], rotations[0] @ rotations[1], atol=1e-6)


def test_a_vertex_between_bones_goes_half_of_the_way():
    skeleton = skinning.Skeleton(jnp.float32([[0, 0, 0], [1, 0, 0]]), (-1, 0))
    half = jnp.float32([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    moved = skinning.transforms(skeleton, jnp.stack([jnp.eye(3), half]))
    posed, turned = skinning.skin(jnp.float32([[2, 0, 0]]), jnp.float32([[0.5, 0.5]]), moved)
    np.testing.assert_allclose(posed, [[1.5, 0.5, 0]], atol=1e-6)
    np.testing.assert_allclose(turned[0], (jnp.eye(3) + half) / 2, atol=1e-6)
