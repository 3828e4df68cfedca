"""Networks that were trained to name objects: backbones with a classifier, whose features others start from."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from dnerf_jax.networks.backbones import Backbone, backbone
from dnerf_jax.ops.ranges import Natural, Positive

# Of red, green and blue in [-1, 1], what torchvision's networks were trained with on ImageNet.
MEAN = (2 * 0.485 - 1, 2 * 0.456 - 1, 2 * 0.406 - 1)
DEVIATION = (2 * 0.229, 2 * 0.224, 2 * 0.225)


@dataclasses.dataclass(frozen=True)
class ClassifierConfig:
    """The network, and how it wants its images.

    Attributes:
      network: its ResNet, EfficientNet or ViT.
      num_classes: of its classifier; 0 is a backbone alone.
      mean, deviation: of red, green and blue in [-1, 1]: the network sees (x - mean) / deviation.
    """

    network: Backbone
    num_classes: Natural = 1000
    mean: tuple[float, float, float] = MEAN
    deviation: tuple[Positive, Positive, Positive] = DEVIATION


@struct.dataclass
class Classifier:
    """A classifier: its configuration, static under `jit`, and what it learned.

    params: the Linen module's collections, "params" and "batch_stats".
    """

    config: ClassifierConfig = struct.field(pytree_node=False)
    params: Mapping[str, Any]


class _Module(nn.Module):
    """A backbone, the mean over places, and a dense layer, if there are classes."""

    config: ClassifierConfig

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        features = backbone(self.config.network)(images)
        seen = jnp.mean(features, axis=(1, 2))
        return nn.Dense(self.config.num_classes, name="fc")(seen) if self.config.num_classes else seen


@functools.partial(jax.jit, static_argnums=0)
def init(config: ClassifierConfig, key: jax.Array) -> Classifier:
    """A classifier with random parameters."""
    return Classifier(config, _Module(config).init(key, jnp.zeros((1, 32, 32, 3))))


def abstract(config: ClassifierConfig) -> Classifier:
    """A classifier of shapes and dtypes instead of arrays."""
    return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def logits(classifier: Classifier, images: jax.Array) -> jax.Array:
    """Logits (N, num_classes) of images (N, H, W, 3) in [-1, 1]; the features' means (N, channels) without classes."""
    config = classifier.config
    scaled = (images - jnp.array(config.mean)) / jnp.array(config.deviation)
    made: Any = _Module(config).apply(classifier.params, scaled)
    return made
