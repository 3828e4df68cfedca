"""EfficientNet: its convolutions of single channels against XLA's, output strides, and what a training changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.networks.deeplab import LAST, DeepLab, DeepLabConfig
from dnerf_jax.networks.efficientnet import EfficientNet, EfficientNetConfig, depthwise

NARROW = {"repeats": (1, 1, 1, 1, 1, 2, 1), "widths": (2, 2, 4, 4, 4, 6, 6), "stem": 2, "head": 8, "expansion": 2}


@pytest.mark.parametrize(("size", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 2, 1), (5, 1, 2), (3, 1, 4)])
def test_a_depthwise_convolution_and_its_gradients_are_xlas(size, stride, dilation):
    draws = np.random.default_rng(0)
    x, kernel, weight = (
        jnp.asarray(draws.standard_normal(shape), jnp.float32)
        for shape in ((2, 9, 8, 3), (size, size, 1, 3), (2, -(-9 // stride), -(-8 // stride), 3))
    )

    def xlas(x, kernel):
        dimensions = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (stride,) * 2, "SAME", None, (dilation,) * 2, dimensions, feature_group_count=3
        )

    @jax.jit
    def both(x, kernel):
        found, back = jax.vjp(lambda x, kernel: depthwise(x, kernel, stride, dilation), x, kernel)
        expected, xlas_back = jax.vjp(xlas, x, kernel)
        return (found, *back(weight)), (expected, *xlas_back(weight))

    for found, expected in zip(*both(x, kernel), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5 * float(jnp.abs(expected).max()))


@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_features_have_the_output_stride_and_the_same_weights(output_stride):
    image = jnp.zeros((1, 64, 100, 3))
    network = EfficientNet(EfficientNetConfig(**NARROW, output_stride=output_stride))
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    found = jax.eval_shape(network.apply, variables, image)
    assert found.shape == (1, 64 // output_stride, -(-100 // output_stride), 8)
    plain = jax.eval_shape(EfficientNet(EfficientNetConfig(**NARROW)).init, jax.random.key(0), image)
    assert jax.tree.map(jnp.shape, plain) == jax.tree.map(jnp.shape, variables)


def test_without_a_head_classes_are_linear_in_the_features():
    config = DeepLabConfig(EfficientNetConfig(**NARROW, output_stride=8), 3, width=0)
    image = jnp.zeros((1, 32, 32, 3))
    params = jax.eval_shape(DeepLab(config).init, jax.random.key(0), image)["params"]
    assert set(params) == {"backbone", LAST} and params[LAST]["kernel"].shape == (1, 1, 8, 3)
