"""How different two images look: distances between the features of a network that was trained to name objects.

Notation: x is an image in [-1, 1], RGB; F_l(x) (h_l, w_l, c_l) its features of layer l, each place divided by its
length over the channels; u_l (c_l,) weights of the channels, at least 0.

    d(a, b) = sum over layers l of the mean over places of  sum over channels of  u_l (F_l(a) - F_l(b))^2

This is LPIPS (Zhang et al. 2018). With u learned from what people judged alike it is LPIPS proper; with u = 1 it is
the same paper's uncalibrated distance, between 0 and 4 per layer. `io.loss_networks` reads networks, and says which
published loss each of them stands in for.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from dnerf_jax.networks.squeezenet import SqueezeNet, SqueezeNetConfig
from dnerf_jax.networks.vgg import VGG, VGGConfig
from dnerf_jax.ops.precision import einsum
from dnerf_jax.ops.ranges import Positive

_LENGTH = 1e-10  # added to the lengths that features are divided by


@dataclasses.dataclass(frozen=True)
class PerceptionConfig:
    """The network, and how it wants its images.

    Attributes:
      network: which, and its sizes.
      mean, deviation: of red, green and blue in [-1, 1]: the network sees (x - mean) / deviation.
      calibrated: whether there are learned weights of the channels, in the parameters "linear".
    """

    network: SqueezeNetConfig | VGGConfig
    mean: tuple[float, float, float]
    deviation: tuple[Positive, Positive, Positive]
    calibrated: bool = False


@struct.dataclass
class Perception:
    """A perceptual network: its configuration, static under `jit`, and its parameters.

    params: "network", the Linen module's; "linear", weights (c_l,) by the layer's number ("0"), where it is calibrated.
    """

    config: PerceptionConfig = struct.field(pytree_node=False)
    params: Mapping[str, Any]


@functools.partial(jax.jit, static_argnums=0)
def init(config: PerceptionConfig, key: jax.Array) -> Perception:
    """A network with random parameters, and with weights 1 where it is calibrated."""
    params: dict[str, Any] = {"network": _module(config).init(key, jnp.zeros((1, 32, 32, 3)))["params"]}
    if config.calibrated:
        params["linear"] = {str(layer): jnp.ones(width) for layer, width in enumerate(config.network.widths)}
    return Perception(config, params)


def abstract(config: PerceptionConfig) -> Perception:
    """A network of shapes and dtypes instead of arrays."""
    return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def features(network: Perception, images: jax.Array) -> list[jax.Array]:
    """Features (..., h_l, w_l, c_l) of images (..., H, W, 3) in [-1, 1], fine to coarse, of unit length per place.

    Raises ValueError: images have another shape, or too few pixels for the network (17 along a side; VGG16 16).
    """
    if images.ndim < 3 or images.shape[-1] != 3:
        raise ValueError(f"images have shape {images.shape}, expected (..., H, W, 3): RGB in [-1, 1]")
    flat = images.reshape((-1, *images.shape[-3:])).astype(jnp.float32)
    scaled = (flat - jnp.array(network.config.mean)) / jnp.array(network.config.deviation)
    made: Any = _module(network.config).apply({"params": network.params["network"]}, scaled)
    return [_unit(x).reshape(images.shape[:-3] + x.shape[1:]) for x in made]


def distance(network: Perception, a: jax.Array, b: jax.Array, *, weights: jax.Array | None = None) -> jax.Array:
    """Distances d (...) between images a and b (..., H, W, 3) in [-1, 1], whose leading dimensions broadcast.

    weights: (..., H, W), at least 0: what counts, in the mean over places; reduced to each layer's size by averaging
      over areas. Where they are 0 all over, the distance is 0. A place's features depend on the pixels around it, so
      that gradients reach beyond what counts.

    Raises ValueError: images are of different sizes or not as `features` wants them, weights not of their size.
    """
    if a.shape[-3:] != b.shape[-3:]:
        raise ValueError(f"images have shapes {a.shape} and {b.shape}, expected the same size: resize one before")
    if weights is not None and weights.shape[-2:] != a.shape[-3:-1]:
        raise ValueError(f"weights have shape {weights.shape}, expected (..., H, W) of the images {a.shape}")
    return compare(network, features(network, a), features(network, b), weights=weights)


def compare(
    network: Perception, a: list[jax.Array], b: list[jax.Array], *, weights: jax.Array | None = None
) -> jax.Array:
    """The distance of images whose `features` are known: of a target, say, that stays the same in all steps."""
    total = jnp.zeros(())
    for layer, (one, other) in enumerate(zip(a, b, strict=True)):
        squared = jnp.square(one - other)
        linear = network.params["linear"][str(layer)] if network.config.calibrated else jnp.ones(squared.shape[-1])
        total = total + _mean(einsum("...c,c->...", squared, linear), weights)
    return total


def _module(config: PerceptionConfig) -> nn.Module:
    return SqueezeNet(config.network) if isinstance(config.network, SqueezeNetConfig) else VGG(config.network)


def _unit(x: jax.Array) -> jax.Array:
    """Divided by the length over the channels; without the root's infinite slope where all of them are 0."""
    squares = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    length = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
    return x / (length + _LENGTH)


def _mean(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The mean of values (..., h, w), weighed by (..., H, W) where there are weights."""
    if weights is None:
        return jnp.mean(values, axis=(-2, -1))
    shape = (*weights.shape[:-2], *values.shape[-2:])
    reduced = jax.image.resize(
        weights.astype(jnp.float32), shape, "linear", antialias=True, precision=jax.lax.Precision.HIGHEST
    )
    total = jnp.sum(reduced, axis=(-2, -1))
    return jnp.sum(values * reduced, axis=(-2, -1)) / jnp.where(total > 0, total, 1.0)
