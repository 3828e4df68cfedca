"""The nearest of many triangles, however it is searched for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.ops import triangles

# Compiled as a whole: operation by operation takes many times as long.
nearest = jax.jit(triangles.nearest)


@pytest.fixture
def corners(generator):
    """Small faces all over a box, some of them twice, one without a size: (F, 3, 3)."""
    made = generator.uniform(-1, 1, (101, 1, 3)) + generator.normal(0, 0.1, (101, 3, 3))
    made[-4:] = made[:4]
    made[50] = made[50, :1]
    return jnp.asarray(made, jnp.float32)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (40, 17)])
def test_boxes_leave_out_no_face_that_matters(corners, generator, shape):
    points = generator.uniform(-1.5, 1.5, (*shape, 3)).astype(np.float32)
    if shape:
        points[..., :1, :] = [0, 0, 50]  # far from all others, as the samples of a ray that misses
    squared, face = jax.jit(triangles._among_near)(points, corners)
    expected, number = jax.jit(triangles._among_all)(points, corners)
    assert squared.shape == face.shape == shape
    np.testing.assert_array_equal(face, number)
    np.testing.assert_allclose(squared, expected, rtol=1e-6)
    np.testing.assert_array_equal(nearest(points, corners)[1], number)


def test_distances_are_those_to_the_closest_of_many_points_of_the_face(corners, generator):
    shares = generator.dirichlet((0.5, 0.5, 0.5), 4000)
    places = np.einsum("sk,fki->fsi", shares, corners)
    points = generator.uniform(-1.2, 1.2, (30, 3)).astype(np.float32)
    expected = np.linalg.norm(places - points[:, None, None], axis=-1).min(axis=-1)
    squared, face = nearest(points, corners)
    np.testing.assert_allclose(np.sqrt(squared), expected.min(axis=-1), atol=5e-3)
    np.testing.assert_allclose(expected[np.arange(30), face], expected.min(axis=-1), atol=5e-3)


def test_the_nearest_is_found_for_batches_and_beside_gradients(corners, generator):
    points = jnp.asarray(generator.uniform(-1, 1, (2, 9, 3)), jnp.float32)
    moved = np.stack([corners, corners + np.float32(0.3)])
    both = jax.jit(jax.vmap(triangles.nearest))(points, moved)
    for i in range(2):
        alone = nearest(points[i], moved[i])
        jax.tree.map(np.testing.assert_array_equal, jax.tree.map(lambda x, i=i: x[i], both), alone)

    @jax.checkpoint
    def loss(points):
        return jnp.sum(triangles.nearest(points, corners)[0] + points[:, 0])

    np.testing.assert_array_equal(jax.jit(jax.grad(loss))(points[0]), np.eye(3)[[0] * 9])
