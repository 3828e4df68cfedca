"""Where a scene is empty: a coarse look at its density, once, so that its views need not look there again.

The tri-planes' box is cut into G cells along each side, with one more around it, which stands for all that lies
outside: there planes are zero. The density is looked up at the cells' corners; tri-planes make that cheap, because a
plane has only so many different corners. Between them it is interpolated: a cell is of PARTS^3 parts, and a part may
hold something if a corner of it does.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dnerf_jax.models.generator import Generator
from dnerf_jax.networks.decoders import softplus
from dnerf_jax.networks.stylegan2 import FullyConnected
from dnerf_jax.ops import broadcasting, triplane
from dnerf_jax.ops.batched import Batched

EMPTY = -6.0  # a raw density that counts as nothing: through a whole box it stops a thousandth of the light
PARTS = 2


@struct.dataclass(repr=False)
class Bounds(Batched):
    """Which parts of cells may hold something: occupied (..., N, N, N) with N = PARTS (G + 2), by x, y, z."""

    occupied: jax.Array

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading dimensions: those of the scenes."""
        return self.occupied.shape[:-3]


def bounds(generator: Generator, planes: jax.Array) -> Bounds:
    """The bounds of scenes' planes (..., P, H, W, C), one scene after the other.

    A cell is as wide as three pixels of the planes at most; small planes have one for each.
    """
    batch = planes.shape[:-4]
    one = functools.partial(_of_one, generator)
    found: Bounds = broadcasting.over_batch(one, batch, (batch,), planes, one_by_one=True)
    return found


def _of_one(generator: Generator, planes: jax.Array) -> Bounds:
    size = planes.shape[-2]
    raw = corner_density(generator, planes, cells=min(size, max(48, -(-size * 3 // 8))))
    for axis in range(3):
        first, last = _neighbours(raw, axis)
        inner = jnp.stack([first + (last - first) * (i / PARTS) for i in range(PARTS)], axis=axis + 1)
        inner = inner.reshape((*first.shape[:axis], -1, *first.shape[axis + 1 :]))
        raw = jnp.concatenate([inner, jax.lax.slice_in_dim(raw, raw.shape[axis] - 1, None, axis=axis)], axis=axis)
    occupied = raw > EMPTY
    for axis in range(3):
        first, last = _neighbours(occupied, axis)
        occupied = first | last
    return Bounds(occupied)


def corner_density(generator: Generator, planes: jax.Array, *, cells: int) -> jax.Array:
    """Raw densities (G + 3, G + 3, G + 3) at the corners of cells, by x, y, z, of one scene's planes (P, H, W, C).

    The decoder's first layer is linear, and so applied to what every plane has, before planes are added up.
    """
    config = generator.config
    decoder = generator.variables["params"]["decoder"]
    first = FullyConnected(config.decoder_hidden, config.decoder_lr_mul)
    last = FullyConnected(1, config.decoder_lr_mul)
    box = config.rendering.box_warp
    corners = ((jnp.arange(cells + 3, dtype=jnp.float32) - 1) / cells - 0.5) * box

    def project(features: jax.Array) -> jax.Array:
        projected: jax.Array = first.apply({"params": decoder["fc0"]}, features)  # type: ignore[assignment]
        return projected

    bias = project(jnp.zeros(planes.shape[-1:], jnp.float32))
    parts = []
    for plane, axes in zip(planes, config.plane_axes, strict=True):
        # A plane's features depend on two of the axes, and are looked up once for all corners along the third.
        used = np.any(np.linalg.inv(np.asarray(axes, np.float64))[:, :2] != 0, axis=-1)
        grid = jnp.meshgrid(*(corners if along else corners[:1] for along in used), indexing="ij")
        points = jnp.stack(grid, axis=-1)
        features = triplane.sample(plane[None], points.reshape(-1, 3), plane_axes=(axes,), box_warp=box)
        parts.append((project(features / len(planes)) - bias).reshape((*points.shape[:-1], -1)))

    def slab(x: jax.Array) -> jax.Array:
        hidden = softplus(sum((part[x if len(part) > 1 else 0] for part in parts), bias))
        density = {name: array[..., :1] for name, array in decoder["fc1"].items()}
        raw: jax.Array = last.apply({"params": density}, hidden)  # type: ignore[assignment]
        return raw[..., 0]

    return jax.lax.map(slab, jnp.arange(cells + 3))


def look_up(found: Bounds, points: jax.Array, *, box_warp: float) -> jax.Array:
    """Whether there may be something (...) at points (..., 3), by one scene's bounds."""
    size = found.occupied.shape[-1]
    part = jnp.floor((points / box_warp + 0.5) * (size - 2 * PARTS)) + PARTS
    part = jnp.clip(part, 0, size - 1).astype(jnp.int32)
    return found.occupied.reshape(-1)[(part[..., 0] * size + part[..., 1]) * size + part[..., 2]]


def _neighbours(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """All but the last along an axis, and all but the first."""
    return jax.lax.slice_in_dim(x, 0, x.shape[axis] - 1, axis=axis), jax.lax.slice_in_dim(x, 1, None, axis=axis)
