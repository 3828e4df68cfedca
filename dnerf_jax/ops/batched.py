"""Dataclasses of arrays with leading batch dimensions: indexing, length, iteration, and a repr that fits a line."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Self

import jax
import numpy as np


class Batched:
    """What `Camera`, `Rays`, `Scene` and `View` share; each says its `batch_shape`."""

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading dimensions that all arrays share."""
        raise NotImplementedError

    def __getitem__(self, index: Any) -> Self:
        """The entry, or entries, at `index` of the leading dimensions: an integer, slice, array, None, or a tuple.

        Raises IndexError: there is no such entry. (JAX would give the last one.)
        """
        index = np.asarray(index) if isinstance(index, list) else index
        parts = index if isinstance(index, tuple) else (index,)
        if any(part is Ellipsis for part in parts):
            raise IndexError("... would reach into the arrays: index the leading dimensions one by one, [:, 0]")
        if not any(isinstance(part, jax.core.Tracer) for part in parts):
            np.empty(self.batch_shape, np.bool_)[index]
        return jax.tree.map(lambda x: x[index], self)

    def __len__(self) -> int:
        """The first leading dimension. Raises TypeError: there is none."""
        if not self.batch_shape:
            raise TypeError(f"this is a single {type(self).__name__}: it has no batch dimension, and so no length")
        return self.batch_shape[0]

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        fields = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))  # type: ignore[arg-type]
        shown = (f"{name}={tuple(x.shape) if hasattr(x, 'shape') else x!r}" for name, x in fields)
        return f"{type(self).__name__}({', '.join(shown)})"
