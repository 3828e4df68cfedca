"""Where a scene is empty: a coarse look at its density, once, so that its views need not look there again."""

import jax
import jax.numpy as jnp
from flax import struct

from dnerf_jax.models.generator import Generator, decode
from dnerf_jax.ops.batched import Batched


@struct.dataclass(repr=False)
class Bounds(Batched):
    """Which cells of the tri-planes' box may hold anything: occupied (..., G, G, G), indexed by x, y, z."""

    occupied: jax.Array

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading dimensions: those of the scenes."""
        return self.occupied.shape[:-3]


def bounds(generator: Generator, planes: jax.Array, *, resolution: int = 48, empty: float = -6.0) -> Bounds:
    """The bounds of one scene's planes (P, H, W, C).

    Args:
      resolution: cells along each side of the box.
      empty: a raw density that counts as nothing.
    """
    side = generator.config.rendering.box_warp
    corners = (jnp.arange(resolution + 1, dtype=jnp.float32) / resolution - 0.5) * side
    points = jnp.stack(jnp.meshgrid(corners, corners, corners, indexing="ij"), axis=-1)
    density, _ = decode(generator, planes, points.reshape(-1, 3))
    highest = density.reshape(points.shape[:-1])
    for axis in range(3):
        first, last = (jax.lax.slice_in_dim(highest, i, i + resolution, axis=axis) for i in (0, 1))
        highest = jnp.maximum(first, last)
    return Bounds(highest > empty)
