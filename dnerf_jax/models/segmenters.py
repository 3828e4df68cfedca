"""Networks that label the pixels of any image, with no scene behind it: what datasets are made for."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from dnerf_jax.models.classifiers import DEVIATION, MEAN
from dnerf_jax.networks.deeplab import DeepLab, DeepLabConfig
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.ranges import Count, Positive
from dnerf_jax.ops.resizing import resize


@dataclasses.dataclass(frozen=True)
class SegmenterConfig:
    """The network, how it wants its images, and what its classes are.

    Attributes:
      network: its DeepLabV3.
      resolution: side in pixels of the images that it learned from, which others are resized to; None is any.
      label_map: of its classes; None is unknown.
      mean, deviation: of red, green and blue in [-1, 1]: the network sees (x - mean) / deviation.
    """

    network: DeepLabConfig
    resolution: Count | None = None
    label_map: LabelMap | None = None
    mean: tuple[float, float, float] = MEAN
    deviation: tuple[Positive, Positive, Positive] = DEVIATION


@struct.dataclass
class Segmenter:
    """A segmentation network: its configuration, static under `jit`, and what it learned.

    params: the Linen module's collections, "params" and "batch_stats".
    """

    config: SegmenterConfig = struct.field(pytree_node=False)
    params: Mapping[str, Any]


@functools.partial(jax.jit, static_argnums=0)
def init(config: SegmenterConfig, key: jax.Array) -> Segmenter:
    """A network with random parameters."""
    return Segmenter(config, DeepLab(config.network).init(key, jnp.zeros((1, 32, 32, 3), jnp.float32)))


def abstract(config: SegmenterConfig) -> Segmenter:
    """A network of shapes and dtypes instead of arrays."""
    return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def normalized(config: SegmenterConfig, images: jax.Array) -> jax.Array:
    """Images (..., 3) in [-1, 1] as the network wants them."""
    return (images - jnp.array(config.mean)) / jnp.array(config.deviation)


def logits(segmenter: Segmenter, images: jax.Array) -> jax.Array:
    """Logits (N, H, H, C) of images (N, H, H, 3) in [-1, 1], of any size where the network's own is known."""
    config, (_, height, width, _) = segmenter.config, images.shape
    if config.resolution is not None and (height, width) != (config.resolution,) * 2:
        if height != width:
            raise ValueError(f"images have {height} x {width} pixels, expected squares: this network learned from such")
        small = logits(segmenter, resize(images, config.resolution, antialias=True))
        return resize(small, height, antialias=False)
    made: Any = DeepLab(config.network).apply(segmenter.params, normalized(config, images))
    return made


@jax.jit
def predict(segmenter: Segmenter, images: jax.Array) -> jax.Array:
    """Masks (N, H, W) of class ids, uint8, of images (N, H, W, 3) in [-1, 1]; see `logits`."""
    return jnp.argmax(logits(segmenter, images), axis=-1).astype(jnp.uint8)
