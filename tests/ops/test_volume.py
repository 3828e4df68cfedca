"""Volume rendering: analytic media, invariances, finite gradients, and where samples fall."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.ops import volume
from dnerf_jax.ops.cameras import Rays

# Compiled, since op by op they take longer.
weights_from_density = jax.jit(volume.weights_from_density)
box_limits = jax.jit(volume.box_limits)
importance_depths = jax.jit(volume.importance_depths)
in_the_box = jax.jit(lambda rays: volume.ray_limits(rays, "auto", "auto", 1.0))
stratified_depths = jax.jit(volume.stratified_depths, static_argnames="disparity")
expected_depth = jax.jit(volume.expected_depth)


def image_samples(shape=(2, 3, 4, 6), seed=0):
    """Random raw densities and increasing depths in [2, 3] along the rays of some images."""
    rng = np.random.default_rng(seed)
    depths = np.sort(rng.uniform(2, 3, shape), axis=-1)
    return rng.normal(2, 4, shape).astype(np.float32), depths.astype(np.float32)


def raw(density):
    """The raw density whose activation softplus(raw - 1) is `density`."""
    return np.log(np.expm1(density)) + 1


def test_weights_are_parts_of_a_whole():
    sigma, depths = image_samples()
    weights = weights_from_density(30 * sigma, depths)
    assert weights.shape == (2, 3, 4, 5)
    assert (weights >= 0).all()
    assert (jnp.sum(weights, -1) <= 1 + 1e-6).all()


def test_homogeneous_medium_absorbs_exponentially():
    _, depths = image_samples()
    density = 1.7
    weights = weights_from_density(np.full_like(depths, raw(density)), depths)
    before = np.exp(-density * (depths[..., :-1] - depths[..., :1]))
    after = np.exp(-density * (depths[..., 1:] - depths[..., :1]))
    np.testing.assert_allclose(weights, before - after, atol=1e-6)


def test_walls_and_voids():
    depths = np.linspace(1, 2, 6, dtype=np.float32)
    void = np.full(6, -200, np.float32)
    np.testing.assert_array_equal(weights_from_density(void, depths), 0)
    wall = void.copy()
    wall[2:4] = 1e4  # intervals 1, 2, 3 have an end in it: the first takes all
    np.testing.assert_allclose(weights_from_density(wall, depths), [0, 1, 0, 0, 0], atol=1e-6)


def test_an_interval_counts_half_to_each_end():
    sigma, depths = image_samples()
    values = np.random.default_rng(1).standard_normal((*sigma.shape, 3)).astype(np.float32)
    weights = weights_from_density(sigma, depths)
    shared = volume.sample_weights(weights)
    np.testing.assert_allclose(shared.sum(-1), weights.sum(-1), rtol=1e-6)
    means = (values[..., :-1, :] + values[..., 1:, :]) / 2  # EG3D's form
    expected = np.sum(np.asarray(weights)[..., None] * means, axis=-2)
    np.testing.assert_allclose(volume.composite(shared, values), expected, atol=1e-5)


def test_merged_depths_are_sorted_stably_and_the_permutation_can_be_undone():
    rng = np.random.default_rng(1)
    a, b = np.sort(rng.integers(0, 9, (2, 5, 7))), rng.integers(0, 9, (2, 5, 6))  # with ties
    depths, order = jax.jit(volume.merge_sorted)(a.astype(np.float32), b.astype(np.float32))
    both = np.concatenate([a, b], axis=-1)
    np.testing.assert_array_equal(order, np.argsort(both, axis=-1, kind="stable"))
    np.testing.assert_array_equal(depths, np.sort(both, axis=-1))
    np.testing.assert_array_equal(jax.jit(volume.invert_permutation)(order), np.argsort(order, axis=-1))


@pytest.mark.slow
def test_the_heaviest_samples_keep_the_opacity_and_their_values(key):
    weights = jax.random.uniform(key, (4, 5, 9)) / 9
    values = jnp.stack([weights, 2 * weights], axis=-1)
    kept, found = volume.heaviest(weights, values, 3)
    top = np.sort(weights, axis=-1)[..., -3:]
    np.testing.assert_allclose(np.sort(found[..., 0], axis=-1), top)
    np.testing.assert_array_equal(found[..., 1], 2 * found[..., 0])
    np.testing.assert_allclose(kept.sum(-1), weights.sum(-1), rtol=1e-6)

    def share(x):
        return np.sort(x, axis=-1) / np.sum(x, axis=-1, keepdims=True)

    np.testing.assert_allclose(share(kept), share(top), rtol=1e-5)
    assert volume.heaviest(weights, values, 9)[0] is weights
    np.testing.assert_array_equal(volume.heaviest(0 * weights, values, 3)[0], 0)


def test_compositing_does_not_depend_on_the_order_of_samples():
    sigma, depths = image_samples()
    values = np.random.default_rng(1).standard_normal((*sigma.shape, 3)).astype(np.float32)
    weights = np.asarray(volume.sample_weights(weights_from_density(sigma, depths)))
    order = np.random.default_rng(2).permutation(6)
    np.testing.assert_allclose(
        volume.composite(weights[..., order], values[..., order, :]), volume.composite(weights, values), atol=1e-6
    )


def test_compositing_takes_samples_in_parts():
    sigma, depths = image_samples()
    values = np.random.default_rng(1).standard_normal((*sigma.shape, 3)).astype(np.float32)
    weights = np.asarray(volume.sample_weights(weights_from_density(sigma, depths)))
    parts = (values[..., :2, :], values[..., 2:, :])
    np.testing.assert_allclose(volume.composite(weights, parts), volume.composite(weights, values), atol=1e-6)
    with pytest.raises(ValueError, match="6 weights for 2 samples"):
        volume.composite(weights, parts[:1])


def test_weights_of_intervals_are_refused_where_samples_are_composited():
    sigma, depths = image_samples()
    with pytest.raises(ValueError, match="5 weights for 6 samples: .*sample_weights"):
        volume.composite(weights_from_density(sigma, depths), depths[..., None])


def test_gradients_are_finite_even_where_nothing_or_everything_stops_the_ray():
    levels = np.array([-200, -30, 0, 30, 1e4], np.float32)
    _, depths = image_samples((5, 3, 4, 6))

    def loss(sigma, depths):
        weights = volume.weights_from_density(sigma, depths)
        distance, opacity = volume.expected_depth(weights, depths)
        return jnp.sum(distance) + jnp.sum(opacity**2) + jnp.sum(weights**2)

    sigma = np.broadcast_to(levels[:, None, None, None], depths.shape)
    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(sigma, depths)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_gradient_of_the_opacity_is_the_analytic_one():
    depths = np.linspace(2, 3, 6, dtype=np.float32)
    sigma = np.random.default_rng(0).normal(1, 1, 6).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda s: jnp.sum(volume.weights_from_density(s, depths))))(sigma)
    # opacity = 1 - exp(-sum softplus(mean - 1) dt); each sample is half of the mean on either side.
    middle = (sigma[1:] + sigma[:-1]) / 2 - 1
    passed = np.exp(-np.sum(np.log1p(np.exp(middle)) * 0.2))
    interval = passed * 0.2 / (1 + np.exp(-middle)) / 2
    np.testing.assert_allclose(gradient, np.pad(interval, (1, 0)) + np.pad(interval, (0, 1)), rtol=1e-4)


@pytest.mark.parametrize("disparity", [False, True])
def test_stratified_depths_stay_in_their_intervals(key, disparity):
    start, end = np.array([2.25, 1.0], np.float32), np.array([3.3, 4.0], np.float32)
    low = np.array(stratified_depths(start, end, np.zeros((2, 9)), disparity=disparity))
    high = np.array(stratified_depths(start, end, np.ones((2, 9)), disparity=disparity))
    drawn = np.array(stratified_depths(start, end, jax.random.uniform(key, (2, 9)), disparity=disparity))
    assert ((low <= drawn) & (drawn <= high + 1e-5)).all() and (drawn != low).any()
    np.testing.assert_allclose(low[:, 0], start, rtol=1e-6)
    np.testing.assert_allclose(low[:, -1], end, rtol=1e-6)
    np.testing.assert_allclose(high[:, :-1], low[:, 1:], rtol=1e-5)
    # Even in t, or even in 1 / t.
    spacing = np.diff(1 / low if disparity else low, axis=-1)
    np.testing.assert_allclose(spacing, spacing[:, :1] * np.ones(8), rtol=1e-3)


@pytest.mark.parametrize("disparity", [False, True])
def test_a_single_stratified_depth_lies_between_the_limits(disparity):
    start, end = np.full(3, 2.0, np.float32), np.full(3, 3.0, np.float32)
    uniforms = np.array([[0.0], [0.5], [0.999]], np.float32)
    depths = np.array(stratified_depths(start, end, uniforms, disparity=disparity))
    assert depths.shape == (3, 1) and depths[0] == 2 and 2 < depths[1] < depths[2] < 3


def test_importance_depths_follow_the_peak(key):
    depths = np.broadcast_to(np.linspace(2, 3, 21, dtype=np.float32), (2, 21))
    weights = np.zeros((2, 20), np.float32)
    weights[0, 5], weights[1, 14] = 1.0, 1.0  # between 2.25 and 2.30, and between 2.70 and 2.75
    uniforms = jax.random.uniform(key, (2, 400))
    drawn = np.array(importance_depths(depths, weights, uniforms))
    assert (drawn >= 2).all() and (drawn <= 3).all()
    near = np.abs(drawn - np.array([[2.275], [2.725]])) < 0.125
    assert (near.mean(-1) > 0.85).all()  # smoothing adds 0.01 everywhere and widens the peak by an interval
    assert near.mean(-1).max() < 1
    uniform = np.array(importance_depths(depths, np.zeros((2, 20), np.float32), uniforms))
    assert np.abs(np.quantile(uniform, [0.25, 0.5, 0.75]) - [2.25, 2.475, 2.7]).max() < 0.05


@pytest.mark.parametrize("draw", [0.0, 0.3, 1 - 2**-24])
def test_importance_depths_lie_between_the_coarse_samples(draw):
    sigma, depths = image_samples((5, 6), seed=3)
    weights = weights_from_density(sigma, depths)
    drawn = importance_depths(depths, weights, np.full((5, 1), draw, np.float32))
    assert (drawn >= depths[:, :1]).all() and (drawn <= depths[:, -1:]).all()


def test_importance_depths_pass_no_gradient():
    sigma, depths = image_samples((5, 6))
    draws = np.random.default_rng(0).uniform(size=(5, 4)).astype(np.float32)

    def total(sigma):
        weights = volume.weights_from_density(sigma, depths)
        return jnp.sum(volume.importance_depths(depths, weights, draws))

    np.testing.assert_array_equal(jax.jit(jax.grad(total))(sigma), 0)


def test_expected_depth_of_a_wall_is_where_it_stands():
    depths = np.broadcast_to(np.linspace(1, 2, 101, dtype=np.float32), (2, 2, 101))
    sigma = np.where(depths > 1.6, 1e5, -200).astype(np.float32)
    distance, opacity = expected_depth(weights_from_density(sigma, depths), depths)
    np.testing.assert_allclose(distance, 1.6, atol=0.02)
    np.testing.assert_allclose(opacity, 1, atol=1e-6)


def test_empty_rays_get_their_largest_depth_whatever_is_beside_them():
    depths = np.stack([np.linspace(1, 2, 5), np.linspace(1.5, 4, 5)]).astype(np.float32)
    distance, opacity = expected_depth(np.zeros((2, 4), np.float32), depths)
    np.testing.assert_array_equal(distance, [2, 4])
    np.testing.assert_array_equal(opacity, 0)
    beside = np.array([[0, 0, 0, 0], [0, 0.5, 0, 0]], np.float32)
    distance, _ = expected_depth(beside, depths)
    np.testing.assert_allclose(distance, [2, 2.4375])


def test_box_limits_are_those_of_geometry():
    origins = np.array([[0, 0, 2], [0, 0, 2], [0.1, 0, 0], [3, 0.2, 0], [0, 2, 2]], np.float32)
    directions = np.array([[0, 0, -1], [0.6, 0, -0.8], [0, 0, 1], [-1, 0, 0], [0, 0, -1]], np.float32)
    enter, leave, hit = box_limits(Rays(origins, directions), 1.0)
    # The second ray reaches z = 0.5 at x = 1.1, beside the box; the last passes above it.
    np.testing.assert_array_equal(hit, [True, False, True, True, False])
    np.testing.assert_allclose(enter[hit], [1.5, -0.5, 2.5], atol=1e-6)
    np.testing.assert_allclose(leave[hit], [2.5, 0.5, 3.5], atol=1e-6)


def test_box_limits_are_points_on_the_box():
    rng = np.random.default_rng(0)
    origins = rng.normal(size=(200, 3))
    origins = (2 * origins / np.linalg.norm(origins, axis=-1, keepdims=True)).astype(np.float32)
    directions = rng.uniform(-0.6, 0.6, (200, 3)) - origins
    directions = (directions / np.linalg.norm(directions, axis=-1, keepdims=True)).astype(np.float32)
    enter, leave, hit = (np.array(x) for x in box_limits(Rays(origins, directions), 0.8))
    for distance in (enter, leave):
        largest = np.abs(origins + distance[:, None] * directions).max(-1)
        np.testing.assert_allclose(largest[hit], 0.4, atol=1e-5)
    assert 20 < hit.sum() < 200 and (leave > enter)[hit].all()
    steps = np.linspace(0, 5, 2000)[:, None, None]
    inside = (np.abs(origins + steps * directions) < 0.4 - 2e-3).all(-1).any(0)
    assert hit[inside].all() and not inside[~hit].any()


def test_fixed_ray_limits_are_for_all_rays():
    rays = Rays(np.zeros((2, 4, 4, 3), np.float32), np.ones((2, 4, 4, 3), np.float32))
    start, end = volume.ray_limits(rays, 2.25, 3.3, 1.0)
    np.testing.assert_array_equal(start, np.full((2, 4, 4), np.float32(2.25)))
    np.testing.assert_array_equal(end, np.full((2, 4, 4), np.float32(3.3)))


def test_limits_are_both_numbers_or_both_auto():
    rays = Rays(np.zeros((4, 3), np.float32), np.ones((4, 3), np.float32))
    with pytest.raises(ValueError, match="ray_start is 'auto', ray_end 3.3: both must be"):
        volume.ray_limits(rays, "auto", 3.3, 1.0)


def test_auto_limits_are_the_box_and_missing_rays_borrow_from_their_image():
    origins = np.zeros((2, 1, 4, 3), np.float32)  # two images of one row
    origins[0] += [0, 0, 2]
    origins[1] += [0, 0, 5]
    targets = np.array([[0.0, 0, 0], [0.1, 0.2, 0], [0.3, 0, 0], [3, 0, 0]], np.float32)  # the last misses
    directions = targets - origins
    directions = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    start, end = (np.array(x)[:, 0] for x in jax.vmap(in_the_box)(Rays(origins, directions)))
    enter, leave, hit = (np.array(x)[:, 0] for x in box_limits(Rays(origins, directions), 1.0))
    np.testing.assert_array_equal(hit, [[True, True, True, False]] * 2)
    np.testing.assert_allclose(start[:, :3], enter[:, :3], rtol=1e-6)
    np.testing.assert_allclose(end[:, :3], leave[:, :3], rtol=1e-6)
    # As EG3D: the smallest and the largest entry; but of this image, not of the batch.
    np.testing.assert_allclose(start[:, 3], enter[:, :3].min(-1), rtol=1e-6)
    np.testing.assert_allclose(end[:, 3], enter[:, :3].max(-1), rtol=1e-6)


def test_auto_limits_of_an_image_that_misses_the_box_are_finite():
    origins = np.full((3, 3, 3), 2, np.float32)
    directions = np.broadcast_to(np.float32([0, 1, 0]), (3, 3, 3))
    start, end = in_the_box(Rays(origins, directions))
    assert np.isfinite(start).all() and (start > 0).all() and (end > start).all()


def test_auto_limits_have_finite_gradients_along_an_axis():
    # The middle pixel of a frontal camera with an odd resolution looks along -z exactly.
    origins = np.zeros((1, 1, 3), np.float32) + np.float32([0.0, 0.0, 2.0])
    directions = np.broadcast_to(np.float32([0, 0, -1]), (1, 1, 3))

    def total(origins, directions):
        start, end = in_the_box(Rays(origins, directions))
        return jnp.sum(start + 2 * end)

    gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(origins, directions)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
