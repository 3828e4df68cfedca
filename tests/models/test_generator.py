"""The generator's functions: truncation, conditioning, decoding, noise, half precision."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import generator
from dnerf_jax.models.generator import Generator, GeneratorConfig, RenderingConfig
from dnerf_jax.networks.superresolution import SuperresolutionConfig
from dnerf_jax.ops import triplane

map_latents = jax.jit(generator.map_latents, static_argnames="truncation_cutoff")


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def planes():
    return draw(3, 16, 16, 4)


def test_defaults_are_the_published_model():
    config = GeneratorConfig()
    assert (config.num_ws, config.image_resolution) == (14, 512)
    shapes = generator.abstract(config).variables["params"]
    assert shapes["synthesis"]["b256"]["torgb"]["weight"].shape == (1, 1, 128, 96)
    assert shapes["mapping"]["fc0"]["weight"].shape == (1024, 512)


@pytest.mark.slow
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
    made = generator.init(config, key)
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), made)
    assert shapes == jax.tree.map(lambda x: (x.shape, x.dtype), generator.abstract(config))
    variables = made.variables
    assert "embed" not in variables["params"]["mapping"]
    # Equalised learning rates: unit weights, but 1 / 0.01 in the mapping; styles start at 1.
    assert 0.9 < variables["params"]["synthesis"]["b4"]["conv1"]["weight"].std() < 1.1
    assert 80 < variables["params"]["mapping"]["fc0"]["weight"].std() < 120
    np.testing.assert_array_equal(variables["params"]["synthesis"]["b4"]["conv1"]["affine"]["bias"], 1)
    np.testing.assert_array_equal(variables["buffers"]["mapping"]["w_avg"], 0)


def test_truncation_goes_from_the_average_to_w(tiny_model):
    ws_of = partial(map_latents, tiny_model.generator, draw(2, 3, 8), draw(25, seed=1))
    full, half, none = (np.asarray(ws_of(truncation_psi=psi)) for psi in (1.0, 0.5, 0.0))
    average = tiny_model.generator.variables["buffers"]["mapping"]["w_avg"]
    assert full.shape == (2, 3, 6, 16)
    np.testing.assert_allclose(none, np.broadcast_to(average, none.shape), atol=1e-6)
    np.testing.assert_allclose(half, (full + none) / 2, atol=1e-6)
    assert np.abs(full - none).max() > 0.1
    cut = np.asarray(ws_of(truncation_psi=0.5, truncation_cutoff=2))
    np.testing.assert_allclose(cut[..., :2, :], half[..., :2, :], atol=1e-6)
    np.testing.assert_allclose(cut[..., 2:, :], full[..., 2:, :], atol=1e-6)


def test_conditioning_camera_is_scaled_or_replaced(tiny_model):
    z, c = draw(3, 8), draw(3, 25, seed=1)
    config = tiny_model.generator.config

    def ws_of(config, c):
        return map_latents(tiny_model.generator.replace(config=config), z, c)

    scaled = ws_of(dataclasses.replace(config, c_scale=0.5), 2 * c)
    np.testing.assert_allclose(scaled, ws_of(config, c), atol=1e-6)
    assert np.abs(ws_of(config, 2 * c) - ws_of(config, c)).max() > 1e-2
    zero = dataclasses.replace(config, c_gen_conditioning_zero=True)
    np.testing.assert_array_equal(ws_of(zero, c), ws_of(zero, -3 * c))
    np.testing.assert_allclose(ws_of(zero, c), ws_of(config, 0 * c), atol=1e-6)


def test_wrong_latents_and_cameras_are_refused(tiny_model):
    made = tiny_model.generator
    with pytest.raises(ValueError, match=r"conditioned on a camera: pass c"):
        generator.map_latents(made, draw(1, 8))
    with pytest.raises(ValueError, match=r"c must have 25 numbers.*\(1, 16\)"):
        generator.map_latents(made, draw(1, 8), draw(1, 16))
    with pytest.raises(ValueError, match=r"z must have 8 numbers.*\(1, 7\)"):
        generator.map_latents(made, draw(1, 7), draw(1, 25))
    with pytest.raises(ValueError, match=r"z must have 8 numbers.*\(\)"):
        generator.map_latents(made, np.float32(0), draw(1, 25))
    with pytest.raises(ValueError, match=r"z must have 8 numbers.*\(0, 8\)"):
        generator.map_latents(made, draw(0, 8), draw(25))
    with pytest.raises(ValueError, match=r"expected one key for every latent, \(2,\): split it"):
        generator.synthesize_blocks(made, draw(2, 6, 16), noise_mode="random", key=jax.random.PRNGKey(0))
    with pytest.raises(ValueError, match=r"ws must end in \(6, 16\).*; got shape \(2, 5, 16\)"):
        generator.synthesize_blocks(made, draw(2, 5, 16))


def test_decoder_averages_the_planes(tiny_model, planes):
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 3)).astype(np.float32)
    sigma, features = jax.jit(generator.decode)(tiny_model.generator, planes, points)
    layers = jax.tree.map(np.asarray, tiny_model.generator.variables["params"]["decoder"])
    x = np.asarray(jax.jit(triplane.sample)(planes, points)) / 3
    x = np.log1p(np.exp(x @ layers["fc0"]["weight"] / np.sqrt(4) + layers["fc0"]["bias"]))
    x = x @ layers["fc1"]["weight"] / np.sqrt(16) + layers["fc1"]["bias"]
    np.testing.assert_allclose(sigma, x[:, 0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(features, 1.002 / (1 + np.exp(-x[:, 1:])) - 0.001, atol=1e-5)


@pytest.mark.slow
def test_super_resolution_takes_the_last_latent(tiny_model):
    run = jax.jit(generator.super_resolve)
    features, ws = draw(2, 3, 8, 8, 8), draw(2, 3, 6, 16, seed=1)
    image = run(tiny_model.generator, features, ws)
    assert image.shape == (2, 3, 16, 16, 3)
    other = np.concatenate([0 * ws[..., :-1, :], ws[..., -1:, :]], axis=-2)
    np.testing.assert_array_equal(run(tiny_model.generator, features, other), image)
    one = run(tiny_model.generator, features[1, 2], ws[1, 2])
    np.testing.assert_allclose(one, image[1, 2], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_random_noise_is_each_samples_own(tiny_model, key):
    ws = jnp.broadcast_to(draw(6, 16), (3, 6, 16))
    keys = jax.random.split(key)[jnp.array([0, 1, 1])]
    run = jax.jit(generator.synthesize_blocks, static_argnames="noise_mode")
    last = run(tiny_model.generator, ws, noise_mode="random", key=keys).last
    assert last.shape == (3, 16, 16, 12)
    assert np.abs(last[0] - last[1]).max() > 1e-2
    np.testing.assert_allclose(last[1], last[2], atol=1e-4)


def test_what_is_kept_of_half_precision_takes_half_the_memory(tiny_model):
    half = tiny_model.generator.replace(config=dataclasses.replace(tiny_model.generator.config, dtype="bfloat16"))
    kept = jax.eval_shape(generator.synthesize_blocks, half, jax.ShapeDtypeStruct((6, 16), jnp.float32))
    assert {x.dtype for x in kept.hidden.values()} == {jnp.dtype(jnp.bfloat16)}
    assert {x.dtype for x in kept.skip.values()} == {jnp.dtype(jnp.float32)}


def test_a_generator_is_a_pytree_with_a_static_configuration(tiny_model):
    made = tiny_model.generator
    leaves, structure = jax.tree.flatten(made)
    assert len(leaves) == len(jax.tree.leaves(made.variables))
    assert isinstance(jax.tree.unflatten(structure, leaves), Generator)


@pytest.mark.parametrize("limits", [(3.0, 3.0), (4.0, 3.15), ("auto", 3.0), (1.0, "auto")])
def test_rays_begin_before_they_end(limits):
    with pytest.raises(ValueError, match="both must be 'auto', or both numbers, the smaller first"):
        RenderingConfig(ray_start=limits[0], ray_end=limits[1])


@pytest.mark.parametrize("size", [2, 100])
def test_planes_have_a_size_that_blocks_can_double_to(size):
    with pytest.raises(ValueError, match=f"plane_resolution is {size}, expected a power of two"):
        GeneratorConfig(plane_resolution=size)


def test_latents_that_are_none_are_refused(tiny_model):
    made, c = tiny_model.generator, jnp.zeros(25)
    with pytest.raises(ValueError, match=r"z is a random key: draw latents with it, jax.random.normal\(key, \(8,\)\)"):
        generator.map_latents(made, jax.random.key(0), c)
    with pytest.raises(ValueError, match=r"z of shape \(2, 8\) has numbers that are not finite"):
        generator.map_latents(made, np.full((2, 8), np.nan, np.float32), c)
