"""DINOv2's ViTs: features as its own code has them, the file's names and shapes, and what is refused."""

import numpy as np
import pytest
from flax import traverse_util

from converters import dinov2 as converter
from dnerf_jax.io import networks
from dnerf_jax.models import classifiers
from dnerf_jax.models.classifiers import ClassifierConfig
from dnerf_jax.networks.vit import ViT, ViTConfig
from tests.converters import recorded_dinov2


@pytest.fixture(scope="module")
def network():
    return converter.convert(recorded_dinov2.state())


@pytest.mark.parametrize("name", ["square", "wide"])
def test_features_are_those_of_dinov2(name, network):
    expected = np.load(recorded_dinov2.RECORDED)[name]
    variables = {"params": network.params["params"]["backbone"]}
    (found,) = ViT(network.config.network).apply(variables, recorded_dinov2.images()[name], levels=True)
    assert found.shape == expected.shape and expected.std() > 0.5
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_the_published_network_has_its_published_names():
    made = classifiers.abstract(ClassifierConfig(ViTConfig(), num_classes=0))
    shapes = {
        converter.torch_name(path): leaf.shape
        for path, leaf in traverse_util.flatten_dict(made.params, sep="/").items()
    }
    assert shapes["pos_embed"] == (1, 1370, 384) and shapes["blocks.11.attn.qkv.weight"] == (384, 1152)
    assert len(shapes) == 4 + 2 + 12 * 14 and sum(map(np.prod, shapes.values())) == 22_056_576 - 384  # no mask_token


def test_a_folder_gives_it_back(network, tmp_path):
    networks.save(tmp_path / "vit", network, info={})
    again = networks.load(tmp_path / "vit", "classifier")
    assert again.config == network.config and again.config.num_classes == 0
    images = np.random.default_rng(0).uniform(-1, 1, (1, 20, 30, 3)).astype(np.float32)  # 2 x 3 patches of resized ones
    means = classifiers.logits(again, images)
    assert means.shape == (1, recorded_dinov2.WIDTH)
    np.testing.assert_array_equal(means, classifiers.logits(network, images))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"register_tokens": np.zeros((1, 4, 128), np.float32)}, "it has registers, .*ViT-S, B or L without"),
        ({"blocks.0.mlp.w12.weight": np.zeros((2, 2), np.float32)}, "it has a SwiGLU layer"),
        ({"cls_token": None}, "no backbone of DINOv2: expected cls_token"),
        ({"pos_embed": np.zeros((1, 28, 128), np.float32)}, "no backbone of DINOv2"),
        ({"norm.weight": None}, "missing: norm.weight"),
        ({"blocks.0.ls1.gamma": np.zeros(3, np.float32)}, "wrong shape: blocks.0.ls1.gamma"),
        ({"head.weight": np.zeros((2, 2), np.float32)}, "unexpected: .head.weight"),
    ],
)
def test_other_networks_are_refused(change, message):
    state = recorded_dinov2.state() | change
    with pytest.raises(ValueError, match=message):
        converter.convert({name: tensor for name, tensor in state.items() if tensor is not None})
