"""Gauss-Newton with Levenberg and Marquardt's damping: where few numbers explain many pixels.

A latent and a pose are some dozens of numbers that first-order methods separate badly: a head that is turned down
looks much like one with a lower brow. With the derivatives of all pixels in all of these numbers at hand, a handful of
iterations goes where hundreds of steps of Adam do not. An iteration costs a gradient for each number, so this is for z
and not for the generator's weights.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.flatten_util import ravel_pytree

Residuals = Callable[[Any, Any, Any, jax.Array], jax.Array]
AT_ONCE = 9  # derivatives that are computed together
TRIES = 6  # dampings that are tried in an iteration, each six times the one before


@struct.dataclass
class Refined:
    """The parameters after the last iteration, and the sum of squares before each, NumPy (iterations,)."""

    params: Any
    losses: np.ndarray


def refine(
    model: Any,
    target: Any,
    start: Any,
    *,
    residuals: Residuals,
    iterations: int,
    key: jax.Array | None = None,
    damping: float = 1e-2,
    tell: Callable[[int, float], None] | None = None,
) -> Refined:
    """Minimises the sum of squares of `residuals(model, target, params, key)`, an array, over params.

    Args:
      start: a pytree of float32 arrays, all of which are free.
      residuals: differentiable in reverse mode twice. One program is compiled for each such object: keep it.
      iterations: at most; it ends before where no damping makes the sum smaller, or none by a thousandth twice.
      key: iteration i gives the residuals `fold_in(key, i)`, the same for all of its trials; None is key(0).
      damping: of the first iteration, as a share of the diagonal.
      tell: called with the number of iterations done, and the sum of squares.
    """
    key = jax.random.key(0) if key is None else key
    params, idle, losses = start, 0, []
    for i in range(iterations):
        own = jax.random.fold_in(key, i)
        before, square, slope = _linearized(residuals, model, target, params, own)
        losses.append(float(before))
        for _ in range(TRIES):
            trial, after = _trial(residuals, model, target, params, own, square, slope, damping)
            if float(after) < losses[-1]:
                params, damping = trial, max(damping / 4, 1e-6)
                break
            damping *= 6
        else:
            break
        if tell:
            tell(i + 1, float(after))
        idle = idle + 1 if float(after) > 0.999 * losses[-1] else 0
        if idle == 2:
            break
    return Refined(params, np.asarray(losses, np.float32))


@functools.partial(jax.jit, static_argnums=0)
def _linearized(
    residuals: Residuals, model: Any, target: Any, params: Any, key: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The sum of squares, J J^T (P, P) and J r (P,), where J (P, N) are derivatives of all N residuals r."""
    flat, unravel = ravel_pytree(params)
    r, pull = jax.vjp(lambda x: residuals(model, target, unravel(x), key).reshape(-1), flat)
    # What is linear in a cotangent is differentiated in it: derivatives forwards, of what has none written for it.
    _, push = jax.vjp(lambda cotangent: pull(cotangent)[0], r)
    j = jax.lax.map(lambda direction: push(direction)[0], jnp.eye(len(flat)), batch_size=AT_ONCE)
    highest = jax.lax.Precision.HIGHEST
    return jnp.sum(jnp.square(r)), jnp.matmul(j, j.T, precision=highest), jnp.matmul(j, r, precision=highest)


@functools.partial(jax.jit, static_argnums=0)
def _trial(
    residuals: Residuals,
    model: Any,
    target: Any,
    params: Any,
    key: jax.Array,
    square: jax.Array,
    slope: jax.Array,
    damping: jax.Array,
) -> tuple[Any, jax.Array]:
    """The parameters after a damped step, and their sum of squares."""
    flat, unravel = ravel_pytree(params)
    diagonal = jnp.diag(square)
    # Directions in which nothing changes (the length of z, where the mapping normalises it) stay as they are.
    step = jnp.linalg.solve(square + jnp.diag(damping * diagonal + 1e-6 * jnp.max(diagonal) + 1e-12), -slope)
    moved = unravel(flat + step)
    return moved, jnp.sum(jnp.square(residuals(model, target, moved, key)))
