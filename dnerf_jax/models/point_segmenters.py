"""Networks that label the points of any cloud, with no scene behind it: what the factory's clouds are made for."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from scipy import spatial

from dnerf_jax.networks.pointnet import PointNet, PointNetConfig
from dnerf_jax.ops import thinning
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.ranges import Count


@dataclasses.dataclass(frozen=True)
class PointSegmenterConfig:
    """The network, how many points it sees of a cloud, and what its classes are.

    Attributes:
      network: its PointNet.
      points: of each cloud, as many as it learned from.
      label_map: of its classes; None is unknown.
    """

    network: PointNetConfig
    points: Count
    label_map: LabelMap | None = None


@struct.dataclass
class PointSegmenter:
    """A network for points: its configuration, static under `jit`, and what it learned.

    params: the Linen module's collections, "params" and "batch_stats".
    """

    config: PointSegmenterConfig = struct.field(pytree_node=False)
    params: Mapping[str, Any]


@functools.partial(jax.jit, static_argnums=0)
def init(config: PointSegmenterConfig, key: jax.Array) -> PointSegmenter:
    """A network with random parameters."""
    return PointSegmenter(config, PointNet(config.network).init(key, jnp.zeros((1, 2, 3), jnp.float32)))


def abstract(config: PointSegmenterConfig) -> PointSegmenter:
    """A network of shapes and dtypes instead of arrays."""
    return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def chosen(points: np.ndarray, count: int) -> np.ndarray:
    """The indices (count,) of points (N, 3) that lie far apart; of fewer than `count`, from the first on again.

    Raises ValueError: there are none.
    """
    if not len(points):
        raise ValueError("the cloud has no points: expected at least one")
    return np.resize(thinning.farthest(points, count), count)


def normalized(points: jax.Array) -> jax.Array:
    """Clouds (..., P, 3) moved and scaled to the mean 0 and the largest length 1, as PointNet's authors have it."""
    centred = points - jnp.mean(points, axis=-2, keepdims=True)
    largest = jnp.sqrt(jnp.max(jnp.sum(jnp.square(centred), axis=-1), axis=-1))
    return centred / jnp.maximum(largest, 1e-8)[..., None, None]


@jax.jit
def predict(segmenter: PointSegmenter, points: jax.Array) -> jax.Array:
    """Class ids (N, P), uint8, of clouds (N, P, 3) in any unit, y up, seen from where z is large."""
    made: Any = PointNet(segmenter.config.network).apply(segmenter.params, normalized(points))
    return jnp.argmax(made.logits, axis=-1).astype(jnp.uint8)


def label(segmenter: PointSegmenter, points: np.ndarray) -> np.ndarray:
    """Class ids (N,) of all points (N, 3) of one cloud: those that the network sees, and for others the nearest's."""
    seen = points[chosen(points, segmenter.config.points)]
    ids = np.asarray(predict(segmenter, jnp.asarray(seen[None], jnp.float32))[0])
    return ids[spatial.cKDTree(seen).query(points)[1]]
