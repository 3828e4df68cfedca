"""DatasetGAN's ensemble: networks that label a pixel by its features, by vote, and say how far they disagree."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dnerf_jax.models import image_generators
from dnerf_jax.models.image_generators import ImageGenerator
from dnerf_jax.networks.pixel_classifier import FIRST, PixelClassifier
from dnerf_jax.networks.stylegan2 import BlockOutputs
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.ranges import Count
from dnerf_jax.ops.resizing import add_resized


@dataclasses.dataclass(frozen=True)
class PixelLabellerConfig:
    """The networks, and what their classes are.

    Attributes:
      features: of a pixel.
      widths: of the hidden layers of each network.
      members: how many networks there are.
      label_map: of the classes.
    """

    features: Count
    widths: tuple[Count, ...]
    members: Count
    label_map: LabelMap

    @property
    def module(self) -> PixelClassifier:
        """The Linen module of one network."""
        return PixelClassifier(self.label_map.num_classes, self.widths)


@struct.dataclass
class PixelLabeller:
    """An ensemble: its configuration, static under `jit`, and what its networks learned.

    params: the Linen module's collections, "params" and "batch_stats", every array with an axis of the networks first.
    """

    config: PixelLabellerConfig = struct.field(pytree_node=False)
    params: Mapping[str, Any]


@struct.dataclass
class Labels:
    """What an ensemble says of images: mask (N, R, R) uint8, and uncertainty (N, R, R) in nats, see `divergence`."""

    mask: jax.Array
    uncertainty: jax.Array


@functools.partial(jax.jit, static_argnums=0)
def init(config: PixelLabellerConfig, key: jax.Array) -> PixelLabeller:
    """An ensemble with random parameters, of each network its own."""
    nothing = jnp.zeros((1, config.features), jnp.float32)
    keys = jax.random.split(key, config.members)
    return PixelLabeller(config, jax.vmap(lambda one: config.module.init(one, nothing))(keys))


def abstract(config: PixelLabellerConfig) -> PixelLabeller:
    """An ensemble of shapes and dtypes instead of arrays."""
    return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def project(labeller: PixelLabeller, outputs: BlockOutputs, resolution: int) -> jax.Array:
    """The first layers' outputs (N, resolution, resolution, members, width) of block outputs.

    They are those of `image_generators.pixel_features`, but the layers, which are linear, come before blocks are
    enlarged and added, so that the features of all pixels are never there at once.
    """
    first = labeller.params["params"][FIRST]
    members, _, width = first["kernel"].shape
    features = image_generators.block_features(outputs)
    ends = np.cumsum([x.shape[-1] for x in features])[:-1]
    kernels = jnp.split(jnp.moveaxis(first["kernel"], 1, 0).reshape(-1, members * width), ends)
    added = add_resized([x @ kernel for x, kernel in zip(features, kernels, strict=True)], resolution)
    return added.reshape((*added.shape[:-1], members, width)) + first["bias"]


def vote(logits: jax.Array) -> jax.Array:
    """The class ids (P,), uint8, that most networks of logits (members, P, C) choose; of equals the first."""
    chosen = jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=jnp.int32)
    return jnp.argmax(jnp.sum(chosen, axis=0), axis=-1).astype(jnp.uint8)


def divergence(logits: jax.Array) -> jax.Array:
    """Jensen-Shannon divergence (P,) in nats of the distributions of logits (members, P, C): DatasetGAN's uncertainty.

    It is the entropy of their mean less the mean of their entropies: 0 where all networks say the same, however unsure
    they are, and at most the logarithm of the number of networks.
    """
    logs = jax.nn.log_softmax(logits, axis=-1)
    mean = jax.nn.logsumexp(logs, axis=0) - jnp.log(len(logits))
    of_each = jnp.mean(jnp.sum(-jnp.exp(logs) * logs, axis=-1), axis=0)
    return jnp.maximum(jnp.sum(-jnp.exp(mean) * mean, axis=-1) - of_each, 0.0)


@functools.partial(jax.jit, static_argnames="resolution")
def label(
    generator: ImageGenerator, labeller: PixelLabeller, z: jax.Array, c: jax.Array, *, resolution: int
) -> tuple[jax.Array, Labels]:
    """Images (N, R, R, 3), at the generator's own size, and the labels of latents z (N, z_dim) and cameras c (N, 25).

    resolution: of the labels, whose features are enlarged to it.
    """
    outputs = image_generators.synthesize(generator, z, c)
    hidden = project(labeller, outputs, resolution)

    def of_row(row: jax.Array) -> Labels:
        rest: Any = jax.vmap(lambda params, x: labeller.config.module.apply(params, x, projected=True), (0, 1))
        made = rest(labeller.params, row)
        return Labels(vote(made), divergence(made))

    # Row by row: the further layers of all networks at all pixels would fill the memory.
    found = jax.lax.map(of_row, hidden.reshape(-1, *hidden.shape[-3:]))
    return outputs.last, jax.tree.map(lambda x: x.reshape(hidden.shape[:3]), found)
