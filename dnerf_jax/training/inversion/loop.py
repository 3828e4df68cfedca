"""Optimisation without a round trip to the host at every step: what inversion, editing and tuning have in common.

    found = invert(model, target, start, loss=loss, optimizer=optax.adam(1e-2), steps=200)

`start` is any pytree of arrays, and `loss(model, target, params, key)` a scalar: the parametrisation is the loss's own
affair (a latent z, ws, a camera's numbers, the generator's weights), and the model any that it can render with. Steps
are scanned in chunks, so that the host waits once for some dozens of them; where it looks, it saves, tells, and stops.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from dnerf_jax.training import logs, runs
from dnerf_jax.training.runs import Checkpoints

Loss = Callable[[Any, Any, Any, jax.Array], jax.Array]


@struct.dataclass
class State:
    """Where the search is: parameters, what the optimiser remembers, steps done, and all losses (steps,)."""

    params: Any
    optimizer: optax.OptState
    step: jax.Array
    losses: jax.Array


@struct.dataclass
class Found:
    """The parameters after the last step, and the loss before every step, NumPy (steps done,)."""

    params: Any
    losses: np.ndarray


def invert(
    model: Any,
    target: Any,
    start: Any,
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    steps: int,
    key: jax.Array | None = None,
    steps_at_once: int = 20,
    patience: int | None = None,
    saved: Checkpoints | None = None,
    tell: Callable[[int, float], None] | None = None,
) -> Found:
    """Optimises `start` by `steps` steps on `loss`.

    Args:
      model, target: pytrees, given to the loss as they are.
      start: the parameters before the first step; the caller's arrays stay as they are.
      loss, optimizer: one program is compiled for each pair of these objects: keep them, do not make them anew.
      key: step i gives the loss `fold_in(key, i)`; None is key(0).
      steps_at_once: steps between two looks of the host.
      patience: stop early where the mean loss of the last so many steps is no more than 0.5 % below the mean of those
        before; None never does.
      saved: where the state is saved as it goes, and continued from.
      tell: called with the number of steps done, and the last chunk's mean loss.

    Raises FloatingPointError: the loss or what became of the parameters is not finite; what was saved before stays.
    """
    key = jax.random.key(0) if key is None else key
    copied = jax.tree.map(lambda x: jnp.array(x, copy=True), start)
    state = State(copied, optimizer.init(copied), jnp.zeros((), jnp.int32), jnp.zeros(steps, jnp.float32))
    state = runs.placed(state)
    done, state = (saved.restore_latest(state) if saved else None) or (0, state)
    while done < steps and not _stalled(np.asarray(state.losses)[:done], patience):
        count = min(steps_at_once, steps - done)
        state = _steps(loss, optimizer, count, model, target, key, state)
        recent = float(np.mean(np.asarray(state.losses)[done : done + count]))
        done += count
        logs.require_finite({"loss": recent, "norm of the parameters": _norm(state.params)}, done)
        if tell:
            tell(done, recent)
        if saved:
            saved.save(done, state, force=True)
    return Found(state.params, np.asarray(state.losses)[:done])


_norm = jax.jit(optax.tree.norm)


def _stalled(losses: np.ndarray, patience: int | None) -> bool:
    """Whether the last `patience` of the losses brought nothing."""
    if not patience or len(losses) < 2 * patience:
        return False
    before, after = losses[-2 * patience : -patience], losses[-patience:]
    return bool(after.mean() > 0.995 * before.mean())


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=6)
def _steps(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    count: int,
    model: Any,
    target: Any,
    key: jax.Array,
    state: State,
) -> State:
    def one(state: State, _: None) -> tuple[State, None]:
        own = jax.random.fold_in(key, state.step)
        value, grads = jax.value_and_grad(loss, argnums=2)(model, target, state.params, own)
        updates, memory = optimizer.update(grads, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return State(params, memory, state.step + 1, state.losses.at[state.step].set(value)), None

    return jax.lax.scan(one, state, None, length=count)[0]
