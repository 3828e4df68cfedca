"""Segmentation networks: images of other sizes are resized and the labels back, and folders hold what they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.io import networks
from dnerf_jax.models import segmenters
from dnerf_jax.models.segmenters import SegmenterConfig
from dnerf_jax.networks.deeplab import DeepLabConfig
from dnerf_jax.networks.resnet import ResNetConfig
from dnerf_jax.ops.labels import LabelMap

LABELS = LabelMap(("background", "skin", "eye"), ((0, 0, 0), (200, 100, 0), (0, 0, 255)))
NETWORK = DeepLabConfig(ResNetConfig((1, 1, 1, 1), False, 4, 16), 3, width=6)


@pytest.fixture(scope="module")
def segmenter():
    return segmenters.init(SegmenterConfig(NETWORK, 32, LABELS), jax.random.key(0))


def test_images_of_other_sizes_are_seen_at_the_networks_own(segmenter):
    small = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)), jnp.float32)
    large = jnp.repeat(jnp.repeat(small, 2, 1), 2, 2)
    logits = jax.jit(segmenters.logits)
    found = logits(segmenter, large)
    assert found.shape == (2, 64, 64, 3)
    again = logits(segmenter, jax.image.resize(large, small.shape, "linear", antialias=True))
    np.testing.assert_allclose(
        found.reshape(2, 32, 2, 32, 2, 3).mean((2, 4))[:, 1:-1, 1:-1], again[:, 1:-1, 1:-1], atol=0.05
    )
    masks = segmenters.predict(segmenter, large)
    assert masks.dtype == jnp.uint8 and (np.asarray(masks) == np.argmax(found, -1)).all()
    with pytest.raises(ValueError, match="64 x 48 pixels, expected squares"):
        segmenters.logits(segmenter, large[:, :, :48])


def test_a_folder_holds_classes_and_averages(segmenter, tmp_path):
    networks.save(tmp_path / "net", segmenter, info={"license": "none"})
    loaded = networks.load(tmp_path / "net", "classifier", "segmenter")
    assert loaded.config == segmenter.config and loaded.config.label_map == LABELS
    jax.tree.map(np.testing.assert_array_equal, loaded.params, segmenter.params)
    assert set(loaded.params) == {"params", "batch_stats"}
