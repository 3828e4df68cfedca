"""PointNet for parts (Qi et al. 2017, figure 9): every point's class, from itself and from the whole cloud.

    input transform 3 x 3 -> 64 -> 128 -> 128 -> feature transform 128 x 128 -> 512 -> 2048 -> maximum over points
    [the five of each point, the maximum] -> 256 -> 256 -> 128 -> classes

Every number is the width of a dense layer on each point alone, followed by batch norm and a ReLU. A transform is a
small PointNet of its own, whose output, added to the identity, multiplies the points.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from dnerf_jax.networks.resnet import batch_norm
from dnerf_jax.ops.precision import einsum
from dnerf_jax.ops.ranges import Classes, Count, Fraction


@dataclasses.dataclass(frozen=True)
class PointNetConfig:
    """Sizes, the paper's unless a test wants fewer.

    Attributes:
      num_classes: logits of a point.
      widths: of the five layers before the maximum; the feature transform is behind the third.
      head: of the three layers behind it.
      transform: of both transforms, three layers before their maximum and two behind it.
      dropout: share of the channels between the head's layers that a training step leaves out.
    """

    num_classes: Classes = 0
    widths: tuple[Count, Count, Count, Count, Count] = (64, 128, 128, 512, 2048)
    head: tuple[Count, Count, Count] = (256, 256, 128)
    transform: tuple[Count, Count, Count, Count, Count] = (64, 128, 1024, 512, 256)
    dropout: Fraction = 0.3


@struct.dataclass
class PointLogits:
    """Logits (N, P, num_classes) of points, and the feature transforms A (N, C, C) for `losses.orthogonality`."""

    logits: jax.Array
    transform: jax.Array


class PointNet(nn.Module):
    """From points (N, P, 3 + F) to their logits: x, y, z, then F further numbers, colours say, that nothing turns.

    The order of the points does not matter. train: see `deeplab.DeepLab`.
    """

    config: PointNetConfig

    @nn.compact
    def __call__(self, points: jax.Array, *, train: bool = False) -> PointLogits:
        config = self.config

        def dense(x: jax.Array, width: int, name: str) -> jax.Array:
            x = nn.Dense(width, use_bias=False, name=f"{name}_dense")(x)
            return nn.relu(batch_norm(train=train, name=f"{name}_bn")(x))

        turned = multiplied(
            points[..., :3], Transform(3, config.transform, name="input_transform")(points, train=train)
        )
        x = jnp.concatenate([turned, points[..., 3:]], axis=-1)
        local = []
        for number, width in enumerate(config.widths):
            x = dense(x, width, f"point{number}")
            local.append(x)
            if number == 2:
                matrix = Transform(width, config.transform, name="feature_transform")(x, train=train)
                x = multiplied(x, matrix)
        whole = largest(x)
        x = jnp.concatenate([*local, jnp.broadcast_to(whole, x.shape)], axis=-1)
        for number, width in enumerate(config.head):
            x = dense(x, width, f"head{number}")
            if number < len(config.head) - 1:
                x = nn.Dropout(config.dropout, deterministic=not train)(x)
        return PointLogits(nn.Dense(config.num_classes, name="classifier")(x), matrix)


class Transform(nn.Module):
    """From points (N, P, C) to a matrix (N, size, size) for each cloud, the identity before any training."""

    size: int
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for number, width in enumerate(self.widths):
            if number == 3:
                x = largest(x)[:, 0]
            x = nn.Dense(width, use_bias=False, name=f"dense{number}")(x)
            x = nn.relu(batch_norm(train=train, name=f"bn{number}")(x))
        flat = nn.Dense(self.size**2, kernel_init=nn.initializers.zeros, name="out")(x)
        return flat.reshape((-1, self.size, self.size)) + jnp.eye(self.size)


def multiplied(points: jax.Array, matrix: jax.Array) -> jax.Array:
    """Points (N, P, C) as rows times matrices (N, C, C), in full precision: they are places."""
    return einsum("npc,ncd->npd", points, matrix)


def largest(x: jax.Array) -> jax.Array:
    """The maximum of x (N, P, C) over its points, (N, 1, C), whose gradient goes to one point of each.

    That of `jnp.max` compares x, which may be computed anew and then differ in its last digit, with the maximum, and
    divides by the number of points that are equal: where none was, it was NaN.
    """
    place = jnp.argmax(jax.lax.stop_gradient(x), axis=1, keepdims=True)
    return jnp.take_along_axis(x, place, axis=1)
