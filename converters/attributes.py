"""Attributes as strangers' files have them, read as what they should be; all that is wrong is gathered."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dnerf_jax.ops.messages import some
from dnerf_jax.ops.ranges import Layers, Range

from .refusals import shown

SIZES = Range(least=1, most=16384)
(LAYERS,) = Layers.__metadata__
SAMPLES = Range(least=1, most=4096)
FINE = Range(least=0, most=4096)
NUMBERS = Range(least=-(10**6), most=10**6)
POSITIVE = Range(above=0, most=10**6)
_LINES = 20  # of a message, each of at most 160 letters


class Problems(list):
    """What is wrong, gathered so that one message can have it. Readers note a problem and go on with a plain value."""

    def size(self, values: Mapping, name: str, where: str, *, allowed: Range = SIZES) -> int:
        """The entry `name` that is a whole number; `where` is the place in messages."""
        value = values.get(name)
        number = _number(value, (int,))
        if number is not None and number in allowed:
            return int(number)
        self._note(name, where, value, f"a whole number, {allowed}")
        return 1

    def number(
        self, values: Mapping, name: str, where: str, default: float | None = None, *, allowed: Range = NUMBERS
    ) -> float:
        """The entry `name` that is a number, or `default` where there is none."""
        value = values.get(name, default)
        number = _number(value)
        if number is not None and number in allowed:
            return float(number)
        self._note(name, where, value, f"a number, {allowed}")
        return 1.0

    def numbers(
        self, values: Mapping, name: str, where: str, default: Sequence[float], *, allowed: Range = NUMBERS
    ) -> tuple[float, ...]:
        """The entry `name` that has as many numbers as `default`, which is taken where there is none."""
        value = values.get(name, default)
        value = value.tolist() if isinstance(value, np.ndarray) and value.shape == (len(default),) else value
        found = [_number(entry) for entry in value] if isinstance(value, list | tuple) else []
        if len(found) == len(default) and all(number is not None and number in allowed for number in found):
            return tuple(map(float, found))
        self._note(name, where, value, f"{len(default)} numbers, {allowed}")
        return tuple(default)

    def switch(self, values: Mapping, name: str, where: str, default: bool = False) -> bool:
        """The entry `name` that is True or False, or `default` where there is none."""
        value = values.get(name, default)
        if isinstance(value, bool | np.bool_):
            return bool(value)
        self._note(name, where, value, "True or False")
        return default

    def expect(self, what: str, value: Any, *expected: Any) -> None:
        """Notes a problem unless `value` is one of the `expected` numbers, texts and booleans."""
        if not (isinstance(value, str | int | float | np.generic) and value in expected):
            self.append(f"{what} is {shown(value)}, expected {' or '.join(map(repr, expected))}")

    def stop(self, what: str) -> None:
        """Raises ValueError with `what` and all problems, if there are any."""
        if self:
            raise ValueError(f"{what}:\n  " + some((f"{line:.160}" for line in self), _LINES, separator="\n  "))

    def _note(self, name: str, where: str, value: Any, expected: str) -> None:
        self.append(f"{name} of {where} is {shown(value)}, expected {expected}")


def _number(value: Any, kinds: tuple[type, ...] = (int, float)) -> float | None:
    """A finite number of these kinds, or None where the value is something else."""
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, kinds) or isinstance(value, bool) or not -(2**63) < value < 2**63:
        return None
    return value
