"""The generator's functions: truncation, conditioning, and that a pass along the rays says what it sampled."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import generator
from dnerf_jax.models.generator import GeneratorConfig, RenderingConfig
from dnerf_jax.networks.superresolution import SuperresolutionConfig
from dnerf_jax.ops import cameras, triplane, volume

map_latents = jax.jit(generator.map_latents, static_argnums=0, static_argnames="truncation_cutoff")
march = jax.jit(generator.march, static_argnums=0)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def ray_image():
    """Rays of a 5 x 5 image, slightly from the side."""
    return jax.tree.map(np.asarray, cameras.rays(cameras.orbit(0.3, 0.1), 5))


@pytest.fixture(scope="module")
def planes():
    return draw(3, 16, 16, 4)


@pytest.fixture(scope="module")
def samples(tiny_model, planes, ray_image):
    return jax.tree.map(np.asarray, march(tiny_model.config, tiny_model.variables, planes, ray_image))


def test_defaults_are_the_published_model():
    config = GeneratorConfig()
    assert (config.num_ws, config.image_resolution) == (14, 512)
    shapes = generator.abstract_variables(config)["params"]
    assert shapes["synthesis"]["b256"]["torgb"]["weight"].shape == (1, 1, 128, 96)
    assert shapes["mapping"]["fc0"]["weight"].shape == (1024, 512)


def test_init_makes_what_is_promised():
    key = jax.random.key(0, impl="rbg")  # compiles in no time
    config = GeneratorConfig(
        z_dim=4,
        c_dim=0,
        w_dim=8,
        plane_resolution=4,
        plane_channels=2,
        channel_base=32,
        channel_max=8,
        superresolution=SuperresolutionConfig(4, (4, 4), (False, False)),
    )
    variables = generator.init(config, key)
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), variables)
    assert shapes == jax.tree.map(lambda x: (x.shape, x.dtype), generator.abstract_variables(config))
    assert "embed" not in variables["params"]["mapping"]
    # Equalised learning rates: unit weights, but 1 / 0.01 in the mapping; styles start at 1.
    assert 0.9 < variables["params"]["synthesis"]["b4"]["conv1"]["weight"].std() < 1.1
    assert 80 < variables["params"]["mapping"]["fc0"]["weight"].std() < 120
    np.testing.assert_array_equal(variables["params"]["synthesis"]["b4"]["conv1"]["affine"]["bias"], 1)
    np.testing.assert_array_equal(variables["buffers"]["mapping"]["w_avg"], 0)


def test_truncation_goes_from_the_average_to_w(tiny_model):
    ws_of = partial(map_latents, tiny_model.config, tiny_model.variables, draw(2, 3, 8), draw(25, seed=1))
    full, half, none = (np.asarray(ws_of(truncation_psi=psi)) for psi in (1.0, 0.5, 0.0))
    average = tiny_model.variables["buffers"]["mapping"]["w_avg"]
    assert full.shape == (2, 3, 6, 16)
    np.testing.assert_allclose(none, np.broadcast_to(average, none.shape), atol=1e-6)
    np.testing.assert_allclose(half, (full + none) / 2, atol=1e-6)
    assert np.abs(full - none).max() > 0.1
    cut = np.asarray(ws_of(truncation_psi=0.5, truncation_cutoff=2))
    np.testing.assert_allclose(cut[..., :2, :], half[..., :2, :], atol=1e-6)
    np.testing.assert_allclose(cut[..., 2:, :], full[..., 2:, :], atol=1e-6)


def test_conditioning_camera_is_scaled_or_replaced(tiny_model):
    z, c = draw(3, 8), draw(3, 25, seed=1)
    ws_of = lambda config, c: map_latents(config, tiny_model.variables, z, c)  # noqa: E731
    config = tiny_model.config
    scaled = ws_of(dataclasses.replace(config, c_scale=0.5), 2 * c)
    np.testing.assert_allclose(scaled, ws_of(config, c), atol=1e-6)
    assert np.abs(ws_of(config, 2 * c) - ws_of(config, c)).max() > 1e-2
    zero = dataclasses.replace(config, c_gen_conditioning_zero=True)
    np.testing.assert_array_equal(ws_of(zero, c), ws_of(zero, -3 * c))
    np.testing.assert_allclose(ws_of(zero, c), ws_of(config, 0 * c), atol=1e-6)


def test_wrong_latents_and_cameras_are_refused(tiny_model):
    config, variables = tiny_model.config, tiny_model.variables
    with pytest.raises(ValueError, match=r"conditioned on a camera: pass c"):
        generator.map_latents(config, variables, draw(1, 8))
    with pytest.raises(ValueError, match=r"c must have 25 numbers.*\(1, 16\)"):
        generator.map_latents(config, variables, draw(1, 8), draw(1, 16))
    with pytest.raises(ValueError, match=r"z must have 8 numbers.*\(1, 7\)"):
        generator.map_latents(config, variables, draw(1, 7), draw(1, 25))
    with pytest.raises(ValueError, match=r"ws must end in \(6, 16\); got shape \(2, 5, 16\)"):
        generator.synthesize_planes(config, variables, draw(2, 5, 16))


def test_decoder_averages_the_planes(tiny_model, planes):
    config, variables = tiny_model.config, tiny_model.variables
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 3)).astype(np.float32)
    sigma, features = jax.jit(generator.decode, static_argnums=0)(config, variables, planes, points)
    layers = jax.tree.map(np.asarray, variables["params"]["decoder"])
    x = np.asarray(jax.jit(triplane.sample)(planes, points)) / 3
    x = np.log1p(np.exp(x @ layers["fc0"]["weight"] / np.sqrt(4) + layers["fc0"]["bias"]))
    x = x @ layers["fc1"]["weight"] / np.sqrt(16) + layers["fc1"]["bias"]
    np.testing.assert_allclose(sigma, x[:, 0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(features, 1.002 / (1 + np.exp(-x[:, 1:])) - 0.001, atol=1e-5)


def test_samples_say_where_they_are_and_what_they_weigh(tiny_model, samples, ray_image):
    assert samples.weights.shape == samples.depths.shape == (5, 5, 12)
    np.testing.assert_allclose(samples.weights.sum(-1), samples.opacity, atol=1e-6)
    assert samples.weights.min() >= 0 and samples.opacity.max() <= 1 + 1e-6
    assert samples.opacity.max() - samples.opacity.min() > 0.1
    assert (np.diff(samples.depths, axis=-1) >= 0).all()
    assert (samples.distance >= samples.depths.min()).all() and (samples.distance <= samples.depths.max()).all()
    # The order sorts the points along their rays, and there they have the depths.
    points = np.take_along_axis(samples.points, samples.order[..., None], axis=-2)
    expected = ray_image.origins[..., None, :] + samples.depths[..., None] * ray_image.directions[..., None, :]
    np.testing.assert_allclose(points, expected, atol=1e-5)


def test_weights_belong_to_their_points(tiny_model, planes, samples):
    """Decoding the points again, sorted, and compositing by the definition gives the same image and distance."""
    config, variables = tiny_model.config, tiny_model.variables
    points = np.take_along_axis(samples.points, samples.order[..., None], axis=-2)
    sigma, features = jax.jit(generator.decode, static_argnums=0)(config, variables, planes, points.reshape(-1, 3))
    weights = np.asarray(volume.weights_from_density(sigma.reshape(5, 5, 12), samples.depths))
    features = np.asarray(features).reshape(5, 5, 12, 8)
    means = (features[..., 1:, :] + features[..., :-1, :]) / 2
    image = np.sum(weights[..., None] * means, axis=-2) * 2 - 1
    np.testing.assert_allclose(generator.feature_image(config, samples), image, atol=1e-4)
    middle = (samples.depths[..., 1:] + samples.depths[..., :-1]) / 2
    solid = samples.opacity > 0.1
    distance = np.sum(weights * middle, -1)[solid] / weights.sum(-1)[solid]
    np.testing.assert_allclose(samples.distance[solid], distance, rtol=1e-4)


def test_given_draws_are_those_of_the_key_or_fixed(tiny_model, planes, samples, ray_image, key):
    run = partial(march, tiny_model.config, tiny_model.variables, planes, ray_image)
    keys = jax.random.split(key)
    uniforms = tuple(jax.random.uniform(k, (5, 5, 6)) for k in keys)
    drawn = run(key=key)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), run(uniforms=uniforms), drawn)
    assert np.abs(drawn.depths - samples.depths).max() > 0.01
    # Without a key nothing is random: the middle of every interval, and fixed quantiles of the importance.
    quantiles = np.broadcast_to(np.float32(np.arange(6) + 0.5) / 6, (5, 5, 6))
    fixed = run(uniforms=(np.full((5, 5, 6), 0.5, np.float32), quantiles))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), fixed, samples)


def test_importance_sampling_can_be_left_out(tiny_model, planes, ray_image):
    rendering = RenderingConfig(depth_resolution=9, depth_resolution_importance=0)
    config = dataclasses.replace(tiny_model.config, rendering=rendering)
    samples = march(config, tiny_model.variables, planes, ray_image)
    assert samples.points.shape == (5, 5, 9, 3)
    np.testing.assert_array_equal(samples.order, np.broadcast_to(np.arange(9), (5, 5, 9)))
    np.testing.assert_allclose(samples.weights.sum(-1), samples.opacity, atol=1e-6)


def test_missing_weight_is_white_or_black(tiny_model, samples):
    rendering = dataclasses.replace(tiny_model.config.rendering, white_back=True)
    white = generator.feature_image(dataclasses.replace(tiny_model.config, rendering=rendering), samples)
    black = generator.feature_image(tiny_model.config, samples)
    np.testing.assert_allclose(white - black, 2 * (1 - samples.opacity)[..., None] * np.ones(8), atol=1e-5)
    empty = samples.replace(weights=0 * samples.weights, opacity=0 * samples.opacity)
    np.testing.assert_array_equal(generator.feature_image(tiny_model.config, empty), -1)


def test_super_resolution_takes_the_last_latent(tiny_model):
    run = jax.jit(generator.super_resolve, static_argnums=0)
    features, ws = draw(2, 3, 8, 8, 8), draw(2, 3, 6, 16, seed=1)
    image = run(tiny_model.config, tiny_model.variables, features, ws)
    assert image.shape == (2, 3, 16, 16, 3)
    other = np.concatenate([0 * ws[..., :-1, :], ws[..., -1:, :]], axis=-2)
    np.testing.assert_array_equal(run(tiny_model.config, tiny_model.variables, features, other), image)
    one = run(tiny_model.config, tiny_model.variables, features[1, 2], ws[1, 2])
    np.testing.assert_allclose(one, image[1, 2], rtol=1e-4, atol=1e-5)


def test_random_noise_is_each_samples_own(tiny_model, key):
    ws = jnp.broadcast_to(draw(6, 16), (3, 6, 16))
    keys = jax.random.split(key)[jnp.array([0, 1, 1])]
    run = jax.jit(generator.synthesize_planes, static_argnums=0, static_argnames="noise_mode")
    last = run(tiny_model.config, tiny_model.variables, ws, noise_mode="random", key=keys).last
    assert last.shape == (3, 16, 16, 12)
    assert np.abs(last[0] - last[1]).max() > 1e-2
    np.testing.assert_allclose(last[1], last[2], atol=1e-4)
