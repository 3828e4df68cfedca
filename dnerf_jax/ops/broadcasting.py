"""Functions of one entry over a batch of them, whose arguments may each be there once for several entries."""

from collections.abc import Callable, Sequence
from typing import Any

import jax


def over_batch(
    function: Callable[..., Any],
    batch: tuple[int, ...],
    shapes: Sequence[tuple[int, ...]],
    *arguments: Any,
    one_by_one: bool = False,
) -> Any:
    """`function` of every entry of a batch; what an argument has once for several entries is shared, not copied.

    Args:
      shapes: the leading dimensions of every argument, which broadcast to `batch`.
      one_by_one: entries are computed after each other, so that loops end when their own entry is done.
    """
    varies, squeezed = [], []
    for argument, shape in zip(arguments, shapes, strict=True):
        padded = (1,) * (len(batch) - len(shape)) + shape
        varies.append([size == whole != 1 for size, whole in zip(padded, batch, strict=True)])
        kept = tuple(size for size, varying in zip(padded, varies[-1], strict=True) if varying)
        squeezed.append(with_batch(argument, len(shape), kept))
    over = _map if one_by_one else _vmap
    for axes in reversed(list(zip(*varies, strict=True))):
        if any(axes):
            function = over(function, axes)
    return with_batch(function(*squeezed), sum(size != 1 for size in batch), batch)


def with_batch(tree: Any, dims: int, batch: tuple[int, ...]) -> Any:
    """Arrays whose first `dims` dimensions are reshaped to `batch`."""
    return jax.tree.map(lambda x: x.reshape(batch + x.shape[dims:]), tree)


def split_each(key: jax.Array | None) -> tuple[jax.Array | None, jax.Array | None]:
    """Two keys for each of keys (...), or none for none."""
    if key is None:
        return None, None
    both = jax.vmap(jax.random.split)(key.reshape(-1)).reshape((*key.shape, 2))
    return both[..., 0], both[..., 1]


def _vmap(function: Callable[..., Any], axes: tuple[bool, ...]) -> Callable[..., Any]:
    return jax.vmap(function, in_axes=tuple(0 if varying else None for varying in axes))


def _map(function: Callable[..., Any], axes: tuple[bool, ...]) -> Callable[..., Any]:
    """As `_vmap`, one entry after the other."""

    def mapped(*arguments: Any) -> Any:
        def one(entry: list[Any]) -> Any:
            left = iter(entry)
            return function(*(next(left) if varying else x for x, varying in zip(arguments, axes, strict=True)))

        return jax.lax.map(one, [x for x, varying in zip(arguments, axes, strict=True) if varying])

    return mapped
