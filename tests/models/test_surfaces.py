"""Surfaces: normals out of a body, and no void bleeding in where they are upsampled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import marching, scenes, surfaces
from dnerf_jax.models.surfaces import Surface
from dnerf_jax.ops import cameras


@pytest.mark.slow
def test_normals_of_a_ball_point_away_from_its_centre(tiny_model, monkeypatch):
    def ball(made, planes, points):
        return 400 * (0.3 - jnp.linalg.norm(points, axis=-1)), jnp.zeros((*points.shape[:-1], 8))

    monkeypatch.setattr(marching, "decode", ball)
    monkeypatch.setattr(surfaces, "decode", ball)
    camera = scenes.default_camera(tiny_model.generator.config, 0.3, 0.2)

    @jax.jit
    def look(made, planes, rays):
        samples = marching.march(made, planes, rays)
        return samples, surfaces.normals(made, planes, samples)

    rays = cameras.rays(camera, 24)
    found = look(tiny_model.generator, np.zeros((3, 4, 4, 4), np.float32), rays)
    samples, normal = jax.tree.map(np.asarray, found)
    solid = samples.opacity > 0.5
    assert 0.2 < solid.mean() < 0.8
    points = (rays.origins + samples.distance[..., None] * rays.directions)[solid]
    outwards = points / np.linalg.norm(points, axis=-1, keepdims=True)
    assert np.quantile(np.sum(outwards * normal[solid], axis=-1), 0.05) > 0.97
    assert (np.sum(normal * np.asarray(rays.directions), axis=-1)[solid] < 0).all()  # towards the camera


def test_the_edge_of_things_is_not_drawn_towards_the_void():
    """Upsampled distances and normals are means of what is there; those of empty rays do not count."""
    distance = np.array([[2.0, 2.0, 3.3, 3.3]] * 4, np.float32)
    opacity = np.array([[1.0, 1.0, 0.0, 0.0]] * 4, np.float32)
    normal = np.where(opacity[..., None] > 0, np.float32([0, 0, 1]), np.float32([1, 0, 0]))
    upsampled = surfaces.upsample(Surface(distance, opacity, normal), 8)
    solid = np.isfinite(upsampled.distance)
    np.testing.assert_array_equal(solid, np.array([[True] * 4 + [False] * 4] * 8))
    np.testing.assert_allclose(upsampled.distance[solid], 2.0, rtol=1e-6)
    np.testing.assert_allclose(upsampled.normal[solid], np.broadcast_to([0, 0, 1], (32, 3)), atol=1e-6)
    np.testing.assert_array_equal(upsampled.normal[~solid], 0)
    assert upsampled.opacity.shape == (8, 8)


@pytest.mark.slow
def test_normals_have_finite_gradients(tiny_model):
    """A loss on normals differentiates the density twice."""
    planes = np.random.default_rng(0).standard_normal((3, 16, 16, 4)).astype(np.float32)
    rays = cameras.rays(cameras.orbit(0.3, 0.1), 3)

    def total(planes):
        samples = marching.march(tiny_model.generator, planes, rays)
        return jnp.sum(surfaces.normals(tiny_model.generator, planes, samples) * jnp.arange(3.0))

    gradient = np.asarray(jax.jit(jax.grad(total))(planes))
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-6
