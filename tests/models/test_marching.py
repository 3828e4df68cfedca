"""A pass along rays says what it sampled, whatever the rays' shape."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest

from dnerf_jax.models import generator, marching
from dnerf_jax.models.generator import RenderingConfig
from dnerf_jax.ops import cameras, volume

march = jax.jit(marching.march)


@pytest.fixture(scope="module")
def ray_image():
    """Rays of a 5 x 5 image, slightly from the side."""
    return jax.tree.map(np.asarray, cameras.rays(cameras.orbit(0.3, 0.1), 5))


@pytest.fixture(scope="module")
def planes():
    return np.random.default_rng(0).standard_normal((3, 16, 16, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def samples(tiny_model, planes, ray_image):
    return jax.tree.map(np.asarray, march(tiny_model.generator, planes, ray_image))


@pytest.mark.slow
def test_samples_say_where_they_are_and_what_they_weigh(tiny_model, samples, ray_image):
    assert samples.weights.shape == samples.depths.shape == (5, 5, 12)
    np.testing.assert_allclose(samples.weights.sum(-1), samples.opacity, atol=1e-6)
    assert samples.weights.min() >= 0 and samples.opacity.max() <= 1 + 1e-6
    assert samples.opacity.max() - samples.opacity.min() > 0.1
    assert (np.diff(np.take_along_axis(samples.depths, samples.order, axis=-1), axis=-1) >= 0).all()
    assert (samples.distance >= samples.depths.min()).all() and (samples.distance <= samples.depths.max()).all()
    expected = ray_image.origins[..., None, :] + samples.depths[..., None] * ray_image.directions[..., None, :]
    np.testing.assert_allclose(samples.points, expected, atol=1e-5)
    # All of one order: weights and depths composite to the distance.
    distance = volume.composite(samples.weights, samples.depths[..., None])[..., 0] / samples.opacity
    solid = samples.opacity > 0.1
    np.testing.assert_allclose(distance[solid], samples.distance[solid], rtol=1e-5)


@pytest.mark.slow
def test_along_the_ray_depths_increase_and_what_is_composited_is_the_same(tiny_model, samples):
    along = samples.along_ray()
    assert (np.diff(along.depths, axis=-1) >= 0).all()
    np.testing.assert_array_equal(along.depths, np.sort(samples.depths, axis=-1))
    config = tiny_model.generator.config
    image, expected = (marching.feature_image(config, found) for found in (along, samples))
    np.testing.assert_allclose(image, expected, atol=1e-5)
    np.testing.assert_array_equal(along.along_ray().points, along.points)


@pytest.mark.slow
def test_weights_belong_to_their_points(tiny_model, planes, samples):
    """Decoding the points again, sorted, and compositing by the definition gives the same image and distance."""
    points = np.take_along_axis(samples.points, samples.order[..., None], axis=-2)
    sigma, features = jax.jit(generator.decode)(tiny_model.generator, planes, points.reshape(-1, 3))
    depths = np.take_along_axis(samples.depths, samples.order, axis=-1)
    weights = np.asarray(volume.weights_from_density(sigma.reshape(5, 5, 12), depths))
    features = np.asarray(features).reshape(5, 5, 12, 8)
    means = (features[..., 1:, :] + features[..., :-1, :]) / 2
    image = np.sum(weights[..., None] * means, axis=-2) * 2 - 1
    np.testing.assert_allclose(marching.feature_image(tiny_model.generator.config, samples), image, atol=1e-4)
    middle = (depths[..., 1:] + depths[..., :-1]) / 2
    solid = samples.opacity > 0.1
    distance = np.sum(weights * middle, -1)[solid] / weights.sum(-1)[solid]
    np.testing.assert_allclose(samples.distance[solid], distance, rtol=1e-4)


@pytest.mark.slow
def test_given_draws_are_those_of_the_key_or_fixed(tiny_model, planes, samples, ray_image):
    run = partial(march, tiny_model.generator, planes, ray_image)
    keys = jax.random.split(jax.random.key(0))
    uniforms = tuple(jax.random.uniform(k, (5, 5, 6)) for k in keys)
    drawn = run(key=jax.random.key(0))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), run(uniforms=uniforms), drawn)
    assert np.abs(drawn.depths - samples.depths).max() > 0.01
    # Without a key nothing is random: the middle of every interval, and fixed quantiles of the importance.
    quantiles = np.broadcast_to(np.float32(np.arange(6) + 0.5) / 6, (5, 5, 6))
    fixed = run(uniforms=(np.full((5, 5, 6), 0.5, np.float32), quantiles))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), fixed, samples)


def test_importance_sampling_can_be_left_out(tiny_model, planes, ray_image):
    rendering = RenderingConfig(depth_resolution=9, depth_resolution_importance=0)
    config = dataclasses.replace(tiny_model.generator.config, rendering=rendering)
    samples = march(tiny_model.generator.replace(config=config), planes, ray_image)
    assert samples.points.shape == (5, 5, 9, 3)
    np.testing.assert_array_equal(samples.order, np.broadcast_to(np.arange(9), (5, 5, 9)))
    np.testing.assert_allclose(samples.weights.sum(-1), samples.opacity, atol=1e-6)


def test_missing_weight_is_white_or_black(tiny_model, samples):
    rendering = dataclasses.replace(tiny_model.generator.config.rendering, white_back=True)
    white = marching.feature_image(dataclasses.replace(tiny_model.generator.config, rendering=rendering), samples)
    black = marching.feature_image(tiny_model.generator.config, samples)
    np.testing.assert_allclose(white - black, 2 * (1 - samples.opacity)[..., None] * np.ones(8), atol=1e-5)
    empty = samples.replace(weights=0 * samples.weights, opacity=0 * samples.opacity)
    np.testing.assert_array_equal(marching.feature_image(tiny_model.generator.config, empty), -1)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(25,), (1, 25), (5, 1, 5)], ids=str)
def test_rays_have_any_leading_shape(shape, tiny_model, planes, samples, ray_image):
    rays = jax.tree.map(lambda x: x.reshape(*shape, 3), ray_image)
    found = march(tiny_model.generator, planes, rays)
    assert found.opacity.shape == shape and found.points.shape == (*shape, 12, 3)
    np.testing.assert_allclose(found.distance.reshape(5, 5), samples.distance, rtol=1e-5)
    image = marching.feature_image(tiny_model.generator.config, found)
    expected = marching.feature_image(tiny_model.generator.config, samples)
    np.testing.assert_allclose(image.reshape(expected.shape), expected, atol=1e-5)


def test_one_ray_is_the_same_as_among_others(tiny_model, planes, samples, ray_image):
    found = march(tiny_model.generator, planes, ray_image[2, 3])
    assert found.opacity.shape == ()
    np.testing.assert_allclose(found.weights, samples.weights[2, 3], atol=1e-5)


@pytest.mark.slow
def test_further_depths_are_sampled_too(tiny_model, planes, samples, ray_image):
    further = np.array([2.9, 2.5], np.float32) * np.ones((5, 5, 1), np.float32)
    found = march(tiny_model.generator, planes, ray_image, further_depths=further)
    assert found.weights.shape == (5, 5, 14)
    np.testing.assert_allclose(found.depths[..., :12], samples.depths, rtol=1e-6)
    np.testing.assert_array_equal(found.depths[..., 12:], further)
    assert (np.diff(np.take_along_axis(found.depths, found.order, axis=-1), axis=-1) >= 0).all()
    assert found.weights[..., 12:].max() > 0.01
