"""Super-resolution: the published variants' sizes, which images are resized, and what a resize does."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.networks.superresolution import PRESETS, Superresolution, SuperresolutionConfig
from dnerf_jax.ops.resizing import add_resized, resize

SIZES = {
    "SuperresolutionHybrid8XDC": (128, 256, 512),
    "SuperresolutionHybrid8X": (128, 256, 512),
    "SuperresolutionHybrid4X": (128, 128, 256),
    "SuperresolutionHybrid2X": (64, 64, 128),
    "SuperresolutionHybridDeepfp32": (128, 128, 256),
}
SMALL = SuperresolutionConfig(input_resolution=8, widths=(4, 4), upsample=(False, True))


def shapes(config, size):
    """Shapes of the image and of the variables for a feature image of this size, without computing."""
    module = Superresolution(config)
    features, w = jnp.zeros((2, size, size, 32)), jnp.zeros((2, 16))
    variables = jax.eval_shape(module.init, jax.random.key(0), features, w)
    return jax.eval_shape(module.apply, variables, features, w).shape, variables


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("factor", [0.5, 1])
def test_presets_have_their_published_sizes(name, factor):
    config = PRESETS[name]
    first, middle, final = SIZES[name]
    assert (config.input_resolution, *config.resolutions) == (first, middle, final)
    shape, variables = shapes(config, int(factor * first))
    assert shape == (2, final, final, 3)
    widths = (256, 128) if name.endswith("8XDC") else (128, 64)
    blocks = variables["params"]
    assert [blocks[f"block{i}"]["conv1"]["weight"].shape[-1] for i in range(2)] == list(widths)
    assert blocks["block0"]["conv0"]["weight"].shape == (3, 3, 32, widths[0])
    assert variables["buffers"]["block1"]["conv0"]["noise_const"].shape == (final, final)


def test_every_published_variant_is_there():
    assert set(PRESETS) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_larger_images_are_resized_where_the_variant_does_and_refused_elsewhere(name):
    first, _, final = SIZES[name]
    if name in ("SuperresolutionHybrid4X", "SuperresolutionHybridDeepfp32"):
        with pytest.raises(ValueError, match="at most 128 pixels; got 256. Render at a lower resolution"):
            shapes(PRESETS[name], 2 * first)
    else:
        shape, _ = shapes(PRESETS[name], 2 * first)
        assert shape == (2, final, final, 3)


@pytest.mark.slow
def test_resize_of_the_module_is_resize_before_it(random_arrays):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((1, 6)).astype(np.float32)
    small, large = (rng.standard_normal((1, size, size, 5)).astype(np.float32) for size in (5, 16))
    module = Superresolution(SMALL)
    variables = random_arrays(jax.eval_shape(module.init, jax.random.key(0), small, w), 0)
    apply = jax.jit(module.apply)
    for features in (small, large):
        resized = resize(features, 8, antialias=True)
        np.testing.assert_allclose(apply(variables, features, w), apply(variables, resized, w), atol=1e-5)
    plain = Superresolution(dataclasses.replace(SMALL, antialias=False))
    difference = jax.jit(plain.apply)(variables, large, w) - apply(variables, large, w)
    assert np.abs(difference).max() > 0.1


def test_the_first_channels_are_the_starting_image(random_arrays):
    rng = np.random.default_rng(0)
    w, features = rng.standard_normal((1, 6)).astype(np.float32), np.zeros((1, 8, 8, 5), np.float32)
    module = Superresolution(SMALL)
    variables = random_arrays(jax.eval_shape(module.init, jax.random.key(0), features, w), 0)
    # With its first convolution silenced the network adds the upsampled image to what does not depend on it.
    first = variables["params"]["block0"]["conv0"]
    first["weight"] = jnp.zeros_like(first["weight"])
    image = features.copy()
    image[..., :3] = [0.5, -1, 2]
    apply = jax.jit(module.apply)
    added = apply(variables, image, w) - apply(variables, features, w)
    np.testing.assert_allclose(added[0, 4:-4, 4:-4], np.broadcast_to([0.5, -1, 2], (8, 8, 3)), atol=1e-5)


def test_resize_is_bilinear_between_pixel_centres():
    ramp = np.arange(4, dtype=np.float32)[None, None, :, None] * np.ones((1, 4, 1, 1), np.float32)
    up = np.array(resize(ramp, 8, antialias=True))[0, 3, :, 0]
    np.testing.assert_allclose(up, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)  # edges repeated
    stripes = np.tile(np.float32([0, 1]), 8)[None, None, :, None] * np.ones((1, 16, 1, 1), np.float32)
    # Shrinking four times: two neighbours at a time without, the whole neighbourhood's mean with antialiasing.
    np.testing.assert_allclose(resize(stripes, 4, antialias=True)[0, :, 1:3], 0.5, atol=0.02)
    thin = np.zeros((1, 16, 16, 1), np.float32)
    thin[:, :, 4] = 1  # between the samples of the plain filter
    assert np.max(resize(thin, 4, antialias=False)) == 0 < np.max(resize(thin, 4, antialias=True))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(4, 8, 16, 16), (4, 8), (16,), (32, 16)])
def test_the_sum_of_resized_images_is_the_sum_of_their_resizes(sizes):
    rng = np.random.default_rng(0)
    images = [rng.standard_normal((3, size, size, 5)).astype(np.float32) for size in sizes]
    total = sum(resize(image, 16, antialias=False) for image in images)
    np.testing.assert_allclose(add_resized(images, 16), total, atol=1e-5)


@pytest.mark.slow
def test_unpublished_noise_modes_reach_the_blocks(random_arrays):
    module = Superresolution(dataclasses.replace(SMALL, noise_mode="const"))
    rng = np.random.default_rng(0)
    w, features = rng.standard_normal((1, 6)).astype(np.float32), rng.standard_normal((1, 8, 8, 5)).astype(np.float32)
    variables = random_arrays(jax.eval_shape(module.init, jax.random.key(0), features, w), 0)
    noisy = jax.jit(module.apply)(variables, features, w)
    silent = jax.jit(Superresolution(SMALL).apply)(variables, features, w)
    assert np.abs(noisy - silent).max() > 1e-2
    for block in variables["params"].values():
        for conv in ("conv0", "conv1"):
            block[conv]["noise_strength"] = jnp.float32(0)
    np.testing.assert_allclose(jax.jit(module.apply)(variables, features, w), silent, atol=1e-5)
