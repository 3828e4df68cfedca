"""Losses against sums written out, and what must not count for them."""

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.ops import losses


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_cross_entropy_is_the_mean_over_known_pixels():
    logits, labels = draw(2, 3, 4, 5), np.random.default_rng(1).integers(0, 5, (2, 3, 4)).astype(np.uint8)
    labels[0, 1, 2] = labels[1, 0] = 255
    total = count = 0
    for index in np.ndindex(2, 3, 4):
        if labels[index] != 255:
            total -= logits[index][labels[index]] - np.log(np.sum(np.exp(logits[index])))
            count += 1
    np.testing.assert_allclose(losses.cross_entropy(logits, labels), total / count, rtol=1e-5)
    gradient = jax.jit(jax.grad(losses.cross_entropy))(logits, labels)
    np.testing.assert_array_equal(gradient[labels == 255], 0)
    assert (np.abs(gradient[labels != 255]).max(-1) > 0).all()


def test_cross_entropy_of_no_known_pixel_is_zero():
    labels = np.full((2, 2), 255, np.uint8)
    value, gradient = jax.value_and_grad(losses.cross_entropy)(draw(2, 2, 3), labels)
    assert value == 0 and not np.asarray(gradient).any()


def test_class_weights_count_pixels_several_times():
    logits, labels = draw(3, 4), jnp.array([0, 2, 255])
    doubled = jnp.concatenate([logits, logits[1:2]]), jnp.concatenate([labels, labels[1:2]])
    weighted = losses.cross_entropy(logits, labels, class_weights=jnp.array([1.0, 5.0, 2.0, 1.0]))
    np.testing.assert_allclose(weighted, losses.cross_entropy(*doubled), rtol=1e-6)


def test_cross_entropy_can_ignore_another_id():
    logits, labels = draw(4, 3), np.array([0, 1, 2, 2])
    np.testing.assert_allclose(
        losses.cross_entropy(logits, labels, ignore=2), losses.cross_entropy(logits[:2], labels[:2]), rtol=1e-6
    )


def test_squared_differences():
    a, b = np.array([1.0, 2.0, 4.0]), np.array([1.0, 0.0, 5.0])
    np.testing.assert_allclose(losses.mean_squared_error(a, b), 5 / 3, rtol=1e-6)


def test_binary_cross_entropy_is_the_likelihood_of_stopped_and_passing_rays():
    opacity, alpha = np.array([0.2, 0.9, 0.5]), np.array([0.0, 1.0, 0.25])
    expected = -(np.log(0.8) + np.log(0.9) + 0.25 * np.log(0.5) + 0.75 * np.log(0.5)) / 3
    np.testing.assert_allclose(losses.binary_cross_entropy(opacity, alpha), expected, rtol=1e-6)
    assert np.isfinite(losses.binary_cross_entropy(np.array([0.0, 1.0]), np.array([1.0, 0.0])))


def test_binary_cross_entropy_pulls_at_rays_that_are_opaque_by_mistake():
    def error(depth):
        return losses.binary_cross_entropy(1 - jnp.exp(-depth), 0.0)

    np.testing.assert_allclose([jax.grad(error)(depth) for depth in (0.1, 1.0, 5.0)], 1, rtol=1e-3)


def test_gradient_difference_ignores_brightness_and_sees_blur():
    image = draw(2, 6, 7, 3)
    np.testing.assert_allclose(losses.gradient_difference(image + 3, image), 0, atol=1e-5)
    edge = np.zeros((1, 3, 4, 1), np.float32)
    edge[:, :, 2:] = 1
    # Against a flat image only one of three differences along the rows is 1, and none along the columns.
    np.testing.assert_allclose(losses.gradient_difference(edge, 0 * edge), 1 / 3, rtol=1e-6)


def test_depth_spread_measures_weight_away_from_the_surface_of_opaque_rays():
    depths = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], np.float32)
    weights = np.array([[0.5, 0.0, 0.5], [1.0, 0.0, 0.0]], np.float32)
    target = np.array([2.0, 3.0], np.float32)

    def spread(opaque):
        return losses.depth_spread(weights, depths, target, np.array(opaque, np.float32))

    np.testing.assert_allclose(spread([1, 0]), 1.0, rtol=1e-6)
    np.testing.assert_allclose(spread([1, 1]), 1.5, rtol=1e-6)
    assert spread([0, 0]) == 0
    gradient = jax.grad(lambda opaque: losses.depth_spread(weights, depths, target, opaque))(jnp.ones(2))
    assert np.isfinite(gradient).all()
