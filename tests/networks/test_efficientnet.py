"""EfficientNet: its convolutions of single channels against XLA's, output strides, and what a training changes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.networks.deeplab import LAST, DeepLab, DeepLabConfig
from dnerf_jax.networks.efficientnet import EfficientNet, EfficientNetConfig, centred, depthwise

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


@pytest.mark.slow
def test_dilation_sees_what_stride_would_see():
    """At places of the coarse grid, whose cells TensorFlow's padding centres on their last pixels but one."""
    image = jnp.asarray(np.random.default_rng(0).standard_normal((1, 640, 640, 3)), jnp.float32)
    strided, dilated = (EfficientNet(EfficientNetConfig(**NARROW, output_stride=stride)) for stride in (32, 8))
    variables = jax.jit(strided.init)(jax.random.key(0), image[:, :64, :64])
    coarse, fine = jax.jit(strided.apply)(variables, image), jax.jit(dilated.apply)(variables, image)
    assert coarse.shape[1:3] == (20, 20) and fine.shape[1:3] == (80, 80)
    np.testing.assert_allclose(fine[:, 3::4, 3::4][:, 9:11, 9:11], coarse[:, 9:11, 9:11], atol=1e-5)
    assert float(jnp.abs(coarse).max()) > 0.01


def test_levels_are_the_last_of_every_size():
    image = jnp.zeros((1, 64, 100, 3))
    network = EfficientNet(EfficientNetConfig(**NARROW))
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    found = jax.eval_shape(functools.partial(network.apply, levels=True), variables, image)
    widths = NARROW["widths"]
    assert [x.shape[1:] for x in found] == [(16, 25, widths[1]), (8, 13, widths[2]), (4, 7, widths[4]), (2, 4, 8)]
    dilated = EfficientNet(EfficientNetConfig(**NARROW, output_stride=8))
    found = jax.eval_shape(functools.partial(dilated.apply, levels=True), variables, image)
    assert [x.shape[1:] for x in found] == [(16, 25, widths[1]), (8, 13, 8)]


@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_a_feature_of_a_moved_image_is_in_the_middle_of_its_pixels(output_stride):
    """Of a network whose strides weigh what they step over evenly, and whose other kernels look at one place alone."""
    network = EfficientNet(EfficientNetConfig(**NARROW, output_stride=output_stride))
    image = jnp.zeros((1, 192, 192, 3))
    strides = {"stem_conv": 0, "block1": 0, "block2": 1, "block3": 0, "block5": 1}  # the first place stepped over

    def even(path, leaf):
        names = [entry.key for entry in path]
        if leaf.ndim < 4:  # batch norm that leaves what comes
            return np.full(leaf.shape, float(names[-1] in ("scale", "var")), np.float32)
        kernel, size = np.zeros(leaf.shape, np.float32), len(leaf)
        first = next((strides[name] for name in names if name in strides), None)
        span = slice(size // 2, size // 2 + 1) if first is None or size == 1 else slice(first, first + 2)
        kernel[span, span] = 1 / leaf.shape[2] / (span.stop - span.start) ** 2
        return kernel

    variables = jax.tree_util.tree_map_with_path(even, jax.eval_shape(network.init, jax.random.key(0), image))
    apply = jax.jit(lambda image: network.apply(variables, centred(image, output_stride), levels=True))
    across = jnp.broadcast_to(jnp.arange(192)[:, None] / 1000, image.shape)  # small: nothing is cut off at 6
    levels = list(zip(apply(across), apply(jnp.ones_like(image) / 1000), strict=True))
    # With all strides every level's features are in the middle of theirs.
    for moved, whole in levels if output_stride == 32 else levels[-1:]:
        stride = 192 // moved.shape[1]
        middle = slice(32 // stride, -64 // stride)  # away from the edges
        found = (moved / whole)[0, middle, middle, 0]
        cells = (np.arange(192 // stride) + 0.5) * stride - 0.5
        np.testing.assert_allclose(found, np.broadcast_to(cells[middle], found.shape), atol=0.01)


def test_without_a_head_classes_are_linear_in_the_features():
    config = DeepLabConfig(EfficientNetConfig(**NARROW, output_stride=8), 3, width=0)
    image = jnp.zeros((1, 32, 32, 3))
    params = jax.eval_shape(DeepLab(config).init, jax.random.key(0), image)["params"]
    assert set(params) == {"backbone", LAST} and params[LAST]["kernel"].shape == (1, 1, 8, 3)
