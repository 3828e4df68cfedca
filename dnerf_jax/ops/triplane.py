"""Tri-planes: three feature planes that together hold a feature for every point of a box.

Planes are (..., P, H, W, C) with P planes (three in EG3D); points (..., N, 3) are world positions; leading batch
dimensions agree. The box is [-box_warp / 2, box_warp / 2]^3 in world units, of which its side says what they are.
`plane_axes` (P, 3, 3) gives each plane's frame: a point's plane coordinates are the first two components of
`point @ inverse(axes)`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from dnerf_jax.ops.precision import einsum

Axes = tuple[tuple[tuple[float, ...], ...], ...]  # of all planes: (P, 3, 3) as nested tuples, hashable

# The planes of EG3D's published models: XY, XZ and ZX (sic: not YZ).
EG3D_AXES: Axes = (
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)),
    ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
)
# The planes that EG3D meant: XY, XZ and ZY.
ORTHOGONAL_AXES: Axes = (*EG3D_AXES[:2], ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)))

SAMPLES_AT_ONCE = 2048  # their corners stay in a processor's cache


def split_channels(features: jax.Array, num_planes: int = 3) -> jax.Array:
    """Plane-major channels (..., H, W, P * C) as planes (..., P, H, W, C)."""
    return rearrange(features, "... h w (p c) -> ... p h w c", p=num_planes)


def plane_coordinates(points: jax.Array, plane_axes: Axes, box_warp: float) -> jax.Array:
    """Plane coordinates (..., N, P, 2) of points; [-1, 1] is the box.

    The first coordinate runs along a plane's width, the second along its height.
    """
    to_plane = np.linalg.inv(np.asarray(plane_axes, np.float64))[..., :2].astype(np.float32)
    return einsum("...ni,pij->...npj", points * (2 / box_warp), to_plane)


def sample(planes: jax.Array, points: jax.Array, *, plane_axes: Axes = EG3D_AXES, box_warp: float = 1.0) -> jax.Array:
    """Features of points, summed over the planes: (..., N, C), bilinear between pixel centres, zero outside.

    Differentiable in reverse mode: its gradients are written out below. Planes may be in half precision, which their
    gradients are in too; features are in the points'.

    Args:
      planes: (..., P, H, W, C).
      points: (..., N, 3) in the world frame.
      box_warp: side of the box, world units.

    Raises ValueError: there are not as many planes as axes, or leading dimensions differ.
    """
    planes, points = jnp.asarray(planes), jnp.asarray(points)
    if planes.shape[-4:-3] != (len(plane_axes),) or points.shape != (*planes.shape[:-4], *points.shape[-2:-1], 3):
        raise ValueError(
            f"planes and points have shapes {planes.shape} and {points.shape}, expected (..., {len(plane_axes)}, H, W, "
            "C) and (..., N, 3) with equal leading dimensions"
        )
    one: Callable = _look_up
    for _ in points.shape[:-2]:
        one = jax.vmap(one)
    return one(planes, plane_coordinates(points, plane_axes, box_warp))


@jax.custom_vjp
def _look_up(planes: jax.Array, uv: jax.Array) -> jax.Array:
    """The sum (N, C) over planes (P, H, W, C) of their values at uv (N, P, 2) in [-1, 1].

    Pixel centres are `(2 i + 1) / size - 1`. Outside lies zero: a sample beyond the outermost centres fades to zero
    over one pixel (PyTorch's `grid_sample` with zero padding and `align_corners=False`).
    """
    return _interpolate(_pad(planes), uv, planes.shape)


def _look_up_forward(planes: jax.Array, uv: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _look_up(planes, uv), (planes, uv)


def _look_up_backward(known: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    planes, uv = known
    table = _pad(planes)
    # A sample adds to a window of 2 x 2 pixels. All windows together would be larger than the planes by far.
    scatter = jax.lax.ScatterDimensionNumbers(
        update_window_dims=(1, 2, 3), inserted_window_dims=(), scatter_dims_to_operand_dims=(0, 1)
    )

    def add(total: jax.Array, uv: jax.Array, gradient: jax.Array) -> tuple[jax.Array, None]:
        for row, column, y, x in _windows(planes.shape, uv):
            y, x = jnp.stack([1 - y, y], axis=-1)[:, :, None, None], jnp.stack([1 - x, x], axis=-1)[:, None, :, None]
            corners, windows = jnp.stack([row, column], axis=-1), y * x * gradient[:, None, None]
            total = jax.lax.scatter_add(total, corners, windows, scatter, mode="promise_in_bounds")
        return total, None

    def pull_back(_: None, uv: jax.Array, gradient: jax.Array) -> tuple[None, jax.Array]:
        return None, jax.vjp(lambda uv: _interpolate(table, uv, planes.shape), uv)[1](gradient)[0]

    # What many samples add up to is summed in the precision of the samples; planes may be in half of it.
    zeros = jnp.zeros(table.shape, jnp.result_type(uv, gradient))
    in_table, _ = _in_parts(add, zeros, uv, gradient)
    in_planes = in_table.astype(planes.dtype).reshape((len(planes), -1, *table.shape[1:]))[:, 1:-1, 1:-1]
    return in_planes, _in_parts(pull_back, None, uv, gradient)[1]


_look_up.defvjp(_look_up_forward, _look_up_backward)


def _in_parts(function: Callable, carry: Any, *arrays: jax.Array) -> tuple[Any, Any]:
    """carry, outputs = function(carry, *arrays) for SAMPLES_AT_ONCE rows of the arrays after each other."""
    count = len(arrays[0])
    if count <= SAMPLES_AT_ONCE:
        return function(carry, *arrays)
    whole = count - count % SAMPLES_AT_ONCE
    parts = [x[:whole].reshape((-1, SAMPLES_AT_ONCE, *x.shape[1:])) for x in arrays]
    carry, outputs = jax.lax.scan(lambda carry, part: function(carry, *part), carry, parts)
    carry, rest = function(carry, *(x[whole:] for x in arrays))

    def join(stacked: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.concatenate([stacked.reshape((whole, *x.shape[1:])), x])

    return carry, jax.tree.map(join, outputs, rest)


def _pad(planes: jax.Array) -> jax.Array:
    """Planes (P, H, W, C), each in a border of zeros, below each other: (P * (H + 2), W + 2, C)."""
    padded = jnp.pad(planes, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return padded.reshape((-1, *padded.shape[2:]))


def _interpolate(table: jax.Array, uv: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Values (N, C) of padded planes of `shape` at uv (N, P, 2), summed over the planes."""
    flat, width = table.reshape(-1, table.shape[-1]), table.shape[1]
    total: Any = 0.0
    for row, column, y, x in _windows(shape, uv):
        index, y, x = row * width + column, y[:, None], x[:, None]
        upper = flat[index] * (1 - x) + flat[index + 1] * x
        lower = flat[index + width] * (1 - x) + flat[index + width + 1] * x
        total = total + upper * (1 - y) + lower * y
    return total


def _windows(shape: tuple[int, ...], uv: jax.Array) -> Iterator[tuple[jax.Array, jax.Array, jax.Array, jax.Array]]:
    """For each padded plane the 2 x 2 pixels about samples uv (N, P, 2): first row and column, and fractions (N,)."""
    count, height, width, _ = shape
    for plane in range(count):
        x, left = _cell(uv[:, plane, 0], width)
        y, top = _cell(uv[:, plane, 1], height)
        yield plane * (height + 2) + top + 1, left + 1, y, x


def _cell(u: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """The cell of [-1, 1] coordinates between pixel centres: fraction in [0, 1] and index in [-1, size - 1]."""
    position = jnp.clip(((u + 1) * size - 1) / 2, -1, size)
    index = jnp.minimum(jnp.floor(position), size - 1)
    return position - index, index.astype(jnp.int32)
