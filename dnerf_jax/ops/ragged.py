"""Rows of which only some entries matter: marking them, listing them without gaps, and merging sorted rows.

Rows are (K, J): many of them, of a few dozen entries. So few are added up faster in a matrix product than one after the
other, and moved faster by a scatter than they are sorted. All shapes are static.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.ops.precision import einsum


def listed(need: jax.Array, *, capacity: int) -> tuple[jax.Array, jax.Array]:
    """Flat indices (capacity,) of the entries of (K, J) that are needed, row by row, and how many there are.

    Behind them the list is filled with K J, which is none. capacity: at least K J.
    """
    rank = running_sum(need).astype(jnp.int32)
    ends = jnp.cumsum(rank[:, -1])
    place = jnp.where(need, (ends - rank[:, -1])[:, None] + rank - 1, capacity).reshape(-1)
    every = jnp.arange(need.size, dtype=jnp.int32)
    indices = jnp.full(capacity + 1, need.size, jnp.int32).at[place].set(every, mode="promise_in_bounds")
    return indices[:-1], ends[-1]


def widened(flags: jax.Array) -> jax.Array:
    """Flags (K, J), and their neighbours."""
    size = flags.shape[-1]
    return _product(flags, np.eye(size, k=-1) + np.eye(size) + np.eye(size, k=1)) > 0


def running_sum(x: jax.Array) -> jax.Array:
    """Sums (K, J) of the entries of x (K, J) up to each, itself included; float32."""
    return _product(x, np.triu(np.ones((x.shape[-1],) * 2)))


def sum_before(x: jax.Array) -> jax.Array:
    """Sums (K, J) of the entries of x (K, J) before each; float32."""
    return _product(x, np.triu(np.ones((x.shape[-1],) * 2), k=1))


def computed(x: jax.Array) -> jax.Array:
    """x (K, J) itself. XLA would compute it anew in everything that uses it, were it not for the product."""
    return _product(x, np.eye(x.shape[-1]))


def _product(x: jax.Array, matrix: np.ndarray) -> jax.Array:
    return einsum("ki,ij->kj", x.astype(jnp.float32), matrix.astype(np.float32))


def interpolate(x: jax.Array, y: jax.Array, at: jax.Array) -> jax.Array:
    """The piecewise linear functions with values y (K, J) at increasing x (K, J), at (K, N); linear beyond the ends."""
    below: Any = sum((x[:, i, None] <= at).astype(jnp.int32) for i in range(1, x.shape[-1] - 1))
    x0, x1, y0, y1 = (jnp.take_along_axis(z, below + i, axis=-1) for z in (x, y) for i in (0, 1))
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)


def merged_places(a: jax.Array, b: jax.Array) -> jax.Array:
    """Where the sorted a (K, A) and b (K, B), side by side, lie when they are sorted together: (K, A + B)."""
    rank_a, rank_b = (jnp.broadcast_to(jnp.arange(x.shape[-1], dtype=jnp.int32), x.shape) for x in (a, b))
    rank_a = sum(((b[:, i, None] < a).astype(jnp.int32) for i in range(b.shape[-1])), rank_a)
    rank_b = sum(((a[:, i, None] <= b).astype(jnp.int32) for i in range(a.shape[-1])), rank_b)
    return jnp.concatenate([rank_a, rank_b], axis=-1)


def scatter(x: jax.Array, places: jax.Array) -> jax.Array:
    """x (K, J) with each of a row's entries moved to its own of places (K, J)."""
    flat = places + x.shape[-1] * jnp.arange(len(x), dtype=jnp.int32)[:, None]
    moved = jnp.zeros(x.size, x.dtype).at[flat.reshape(-1)]
    return moved.set(x.reshape(-1), mode="promise_in_bounds", unique_indices=True).reshape(x.shape)
