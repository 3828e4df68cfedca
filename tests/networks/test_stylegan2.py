"""StyleGAN2's layers against their definitions: explicit filters, per-sample weights, noise and clamps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.networks import stylegan2
from dnerf_jax.ops import convolutions

TAPS = np.array([1, 3, 3, 1], np.float32) / 8


def reference_upfirdn(x, gain):
    """Zero-pads x (N, H, W, C) with one row at the beginning and filters it with [1, 3, 3, 1], in NumPy."""
    kernel = gain * np.outer(TAPS, TAPS)
    height, width = x.shape[1] - 3, x.shape[2] - 3
    return sum(kernel[i, j] * x[:, i : i + height, j : j + width, :] for i in range(4) for j in range(4))


def reference_upsampling(x, weight):
    """Zero-insertion, correlation with the flipped kernel, then the filter: the transposed convolution spelt out."""
    n, height, width, inputs = x.shape
    inserted = jnp.zeros((n, 2 * height - 1, 2 * width - 1, inputs)).at[:, ::2, ::2].set(x)
    # A transposed convolution spreads every input over w, so each output gathers w backwards, 2 beyond the edges.
    padded = jnp.pad(inserted, ((0, 0), (2, 2), (2, 2), (0, 0)))
    size = (2 * height + 1, 2 * width + 1)
    spread = sum(padded[:, i : i + size[0], j : j + size[1]] @ weight[2 - i, 2 - j] for i in range(3) for j in range(3))
    return reference_upfirdn(jnp.pad(spread, ((0, 0), (1, 1), (1, 1), (0, 0))), gain=4)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(5, 4), (1, 3)])
def test_upsampling_convolution_is_transposed_convolution_and_filter(size):
    x, weight, cotangent = random(2, *size, 3), random(3, 3, 3, 4, seed=1), random(2, 2 * size[0], 2 * size[1], 4)
    ours, ours_vjp = jax.vjp(jax.jit(convolutions.convolve_upsampling), x, weight)
    reference, reference_vjp = jax.vjp(jax.jit(reference_upsampling), x, weight)
    assert ours.shape == cotangent.shape
    np.testing.assert_allclose(ours, reference, atol=2e-5)
    for gradient, expected in zip(ours_vjp(cotangent), reference_vjp(cotangent), strict=True):
        np.testing.assert_allclose(gradient, expected, atol=1e-4)


def test_upsampled_image_is_zero_insertion_and_filter():
    image = random(2, 3, 5, 2)
    inserted = np.zeros((2, 6 + 3, 10 + 3, 2), np.float32)
    inserted[:, 2:-1:2, 2:-1:2] = image  # upfirdn2d's padding: 2 before, 1 after
    np.testing.assert_allclose(jax.jit(convolutions.upsample)(image), reference_upfirdn(inserted, 4), atol=1e-6)


def test_upsampling_keeps_a_constant_image_inside():
    image = np.full((1, 4, 4, 1), 2.0, np.float32)
    upsampled = jax.jit(convolutions.upsample)(image)
    np.testing.assert_allclose(upsampled[:, 1:-1, 1:-1], 2.0, rtol=1e-6)
    np.testing.assert_allclose(upsampled[0, 0, 3], 1.5, rtol=1e-6)  # zeros beyond the edge


def test_fully_connected_multiplies_by_its_gain():
    x, weight, bias = random(4, 9), random(9, 5, seed=1), random(5, seed=2)
    layer = stylegan2.FullyConnected(5, lr_multiplier=0.1)
    out = layer.apply({"params": {"weight": weight, "bias": bias}}, x)
    np.testing.assert_allclose(out, x @ weight * (0.1 / 3) + 0.1 * bias, rtol=1e-5, atol=1e-6)


def test_leaky_relu_has_slope_gain_and_clamp():
    x = jnp.array([-10.0, -1.0, 0.0, 1.0, 10.0])
    root = np.sqrt(2)
    np.testing.assert_allclose(stylegan2.leaky_relu(x), [-2 * root, -0.2 * root, 0, root, 10 * root], rtol=1e-6)
    np.testing.assert_allclose(stylegan2.leaky_relu(x, 2.0), [-2, -0.2 * root, 0, root, 2], rtol=1e-6)


def test_mapping_is_invariant_to_the_scale_of_z(random_arrays):
    mapping = stylegan2.Mapping(z_dim=6, c_dim=3, w_dim=5, num_layers=2)
    z, c = random(4, 6), random(4, 3, seed=1)
    variables = random_arrays(jax.eval_shape(mapping.init, jax.random.key(0), z, c), 0)
    apply = jax.jit(mapping.apply)
    w = apply(variables, z, c)
    np.testing.assert_allclose(apply(variables, 3 * z, c), w, rtol=1e-4, atol=1e-6)
    assert np.abs(apply(variables, z, c[::-1]) - w).max() > 1e-3 * np.abs(w).max()
    np.testing.assert_allclose(apply(variables, z[1:2], c[1:2]), w[1:2], rtol=1e-5, atol=1e-6)


def conv_variables(inputs, outputs, resolution, w_dim=6):
    params = {
        "weight": random(3, 3, inputs, outputs, seed=1),
        "bias": random(outputs, seed=2),
        "noise_strength": np.float32(0.3),
        "affine": {"weight": random(w_dim, inputs, seed=3), "bias": 1 + random(inputs, seed=4)},
    }
    return {"params": params, "buffers": {"noise_const": random(resolution, resolution, seed=5)}}


def styled(params, w):
    return w @ params["affine"]["weight"] / np.sqrt(w.shape[-1]) + params["affine"]["bias"]


@pytest.mark.slow
@pytest.mark.parametrize("up", [False, True], ids=["same", "up"])
def test_modulation_is_that_of_the_weights(up):
    resolution = 8 if up else 4
    x, w = random(3, 4, 4, 5), random(3, 6, seed=6)
    variables = conv_variables(5, 7, resolution)
    layer = stylegan2.ModulatedConv(7, resolution, up=up)
    out = jax.jit(layer.apply, static_argnums=3)(variables, x, w, "none")
    params = variables["params"]
    convolve = jax.jit(reference_upsampling if up else convolutions.convolve)
    for sample in range(3):
        # StyleGAN2's form: every sample has weights of its own, modulated and brought back to unit length.
        weight = params["weight"] * styled(params, w)[sample][:, None]
        weight = weight / np.sqrt(np.sum(weight**2, axis=(0, 1, 2)) + 1e-8)
        expected = stylegan2.leaky_relu(convolve(x[sample : sample + 1], weight) + params["bias"])
        np.testing.assert_allclose(out[sample : sample + 1], expected, atol=3e-5)


def test_plain_convolution_is_a_correlation():
    x, weight = random(1, 4, 5, 2), random(3, 3, 2, 3, seed=1)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = sum(padded[:, i : i + 4, j : j + 5] @ weight[i, j] for i in range(3) for j in range(3))
    np.testing.assert_allclose(convolutions.convolve(x, weight), expected, atol=1e-5)


def test_noise_is_constant_random_or_none():
    x, w = random(3, 4, 4, 5), random(3, 6, seed=6)
    variables = conv_variables(5, 7, 4)
    apply = jax.jit(stylegan2.ModulatedConv(7, 4).apply, static_argnums=3)

    def invert(out):  # before the activation
        return np.where(out > 0, out, out / 0.2) / np.sqrt(2)

    none = invert(apply(variables, x, w, "none"))
    const = invert(apply(variables, x, w, "const")) - none
    expected = 0.3 * variables["buffers"]["noise_const"][..., None]
    np.testing.assert_allclose(const, np.broadcast_to(expected, const.shape), atol=1e-5)

    def keys():
        return jax.random.split(jax.random.key(0), 3)

    drawn = invert(apply(variables, x, w, "random", keys())) - none
    np.testing.assert_allclose(drawn, drawn[..., :1] * np.ones(7), atol=1e-5)  # one noise for all channels
    assert 0.1 < drawn.std() < 0.6 and np.abs(drawn[0] - drawn[1]).max() > 0.1
    again = invert(apply(variables, x[1:2], w[1:2], "random", keys()[1:2])) - none[1:2]
    np.testing.assert_allclose(again, drawn[1:2], atol=1e-5)  # a sample's noise is its key's


def test_clamp_bounds_activations_and_images():
    x, w = 100 * random(2, 4, 4, 5), random(2, 6, seed=6)
    variables = conv_variables(5, 7, 4)
    out = jax.jit(stylegan2.ModulatedConv(7, 4, clamp=2.0).apply)(variables, x, w)
    assert np.max(out) == 2.0 and np.min(out) == -2.0
    params = {**variables["params"], "weight": random(1, 1, 5, 7)}
    params.pop("noise_strength")
    free = jax.jit(stylegan2.ToRGB(7).apply)({"params": params}, x, w)
    # toRGB: styles over the square root of the channels, no demodulation, no activation.
    expected = np.einsum("nhwi,ni,io->nhwo", x, styled(params, w) / np.sqrt(5), params["weight"][0, 0])
    np.testing.assert_allclose(free, expected + params["bias"], rtol=1e-4, atol=1e-3)
    bound = jax.jit(stylegan2.ToRGB(7, clamp=2.0).apply)({"params": params}, x, w)
    np.testing.assert_allclose(bound, np.clip(free, -2, 2), rtol=1e-5)
    assert np.abs(free).max() > 4


def test_synthesis_shares_latents_as_stylegan2(tiny_config, random_arrays):
    """Each block's toRGB takes the latent of the next block's first convolution; 2 latents a block in all."""
    synthesis = stylegan2.Synthesis(8, 6, 32, 8)
    assert stylegan2.num_ws(8) == 4 and stylegan2.num_ws(256) == 14 and tiny_config.num_ws == 6
    ws = random(1, 4, 5)
    variables = random_arrays(jax.eval_shape(synthesis.init, jax.random.key(0), ws), 0)
    apply = jax.jit(synthesis.apply)
    before = apply(variables, ws)
    assert set(before.hidden) == set(before.skip) == {"b4", "b8"}
    assert before.hidden["b8"].shape == (1, 8, 8, 4) and before.last.shape == (1, 8, 8, 6)

    def reached(index):
        after = apply(variables, np.where(np.arange(4)[:, None] == index, ws + 1, ws))
        touched = jax.tree.map(lambda a, b: bool(np.abs(a - b).max() > 1e-6), before, after)
        return [touched.hidden["b4"], touched.skip["b4"], touched.hidden["b8"], touched.skip["b8"]]

    assert reached(0) == [True, True, True, True]  # b4's convolution
    assert reached(1) == [False, True, True, True]  # b4's toRGB and b8's first convolution
    assert reached(2) == [False, False, True, True]  # b8's second convolution
    assert reached(3) == [False, False, False, True]  # b8's toRGB


def test_synthesis_refuses_unknown_noise():
    synthesis = stylegan2.Synthesis(4, 6, 32, 8)
    for mode, message in [("constant", "'const', 'random', 'none'.*'constant'"), ("random", "needs a key")]:
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(lambda mode=mode: synthesis.init(jax.random.key(0), jnp.zeros((1, 2, 5)), mode))


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3])
def test_the_gradients_of_a_convolution_are_xlas_own_to_second_order(key, size):
    keys = jax.random.split(key, 3)
    x, weight = jax.random.normal(keys[0], (2, 5, 6, 4)), jax.random.normal(keys[1], (size, size, 4, 3))
    direction = jax.random.normal(keys[2], (2, 5, 6, 3))

    def plain(x, weight):
        return jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def gradients(convolve):
        first = jax.grad(lambda x, weight: jnp.sum(jnp.sin(convolve(x, weight)) * direction), (0, 1))
        second = jax.grad(lambda x, weight: sum(jnp.sum(jnp.cos(part)) for part in first(x, weight)), (0, 1))
        return jax.jit(first)(x, weight), jax.jit(second)(x, weight)

    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, gradients(convolutions.convolve), gradients(plain))
