"""Networks of losses: the feature maps' published sizes, Caffe's way of pooling, what is filled up with zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.networks import face_descriptor, squeezenet, vgg
from dnerf_jax.networks.arcface import ArcFace, ArcFaceConfig
from dnerf_jax.networks.face_descriptor import FaceDescriptor, FaceDescriptorConfig
from dnerf_jax.networks.squeezenet import SqueezeNet, SqueezeNetConfig
from dnerf_jax.networks.vgg import VGG, VGGConfig


def shapes(module, size):
    """What the module makes of one image of this size, without computing."""
    image = jnp.zeros((1, size, size, 3))
    variables = jax.eval_shape(module.init, jax.random.key(0), image)
    return jax.tree.map(lambda leaf: leaf.shape[1:], jax.eval_shape(module.apply, variables, image))


def test_feature_maps_have_their_published_sizes():
    found = shapes(SqueezeNet(), 227)
    assert [shape[0] for shape in found] == [113, 56, 28, 14, 14, 14, 14]  # 13 without the pool's last, cut-off place
    assert [shape[-1] for shape in found] == list(SqueezeNetConfig().widths) == [64, 128, 256, 384, 384, 512, 512]
    found = shapes(VGG(), 224)
    assert [(shape[0], shape[-1]) for shape in found] == [(224, 64), (112, 128), (56, 256), (28, 512), (14, 512)]
    assert shapes(FaceDescriptor(), 150) == (128,) and shapes(ArcFace(), 112) == (512,)


@pytest.mark.parametrize("module", [squeezenet, vgg])
def test_the_smallest_image_leaves_one_place(module):
    network = SqueezeNet() if module is squeezenet else VGG()
    assert shapes(network, module.SMALLEST)[-1][:2] == (1, 1)
    with pytest.raises(ValueError, match="pixels, expected at least"):
        shapes(network, module.SMALLEST - 1)


@pytest.mark.parametrize(("size", "places"), [(5, 2), (6, 3), (7, 3)])
def test_pools_look_over_the_edge(size, places):
    x = -jnp.arange(1.0, size + 1)[None, :, None, None] * jnp.ones((1, size, size, 1))
    pooled = squeezenet.pool(x)
    assert pooled.shape == (1, places, places, 1)
    np.testing.assert_array_equal(pooled[0, :, 0, 0], -1.0 - 2 * jnp.arange(places))  # never a zero from outside


def test_what_is_smaller_is_filled_up_behind():
    block = face_descriptor.Block(3, halves=True)
    x = jnp.ones((1, 8, 8, 2))
    variables = jax.tree.map(jnp.zeros_like, block.init(jax.random.key(0), x))
    y = block.apply(variables, x)  # the convolutions' zeros, 3 x 3, and the mean of 2 x 2, which is 1: 4 x 4
    assert y.shape == (1, 4, 4, 3)
    assert (y[..., :2] == 1).all() and not y[..., 2].any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: SqueezeNetConfig(fires=(1, 2)),
        lambda: VGGConfig(widths=(1, 2)),
        lambda: FaceDescriptorConfig(depths=(1,)),
        lambda: ArcFaceConfig(depths=(1,)),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()
