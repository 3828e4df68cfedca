"""How readers of strangers' files say no: the error, values in bounded words, and the file's name in front."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

_LONG = 60  # characters of a text that are shown
_SHORT = 8  # entries of a list


class Refused(ValueError):
    """The file asks for something that is not on the allowlist, or has a form that PyTorch never writes."""


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Puts the file's name in front of the ValueErrors of the block."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def shown(value: Any, *, depth: int = 2) -> str:
    """A few words for a value of any kind and size: what is long or deep is described, and never built as text."""
    if value is None or isinstance(value, bool | float | np.generic):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"
    if isinstance(value, str):
        return repr(value[:_LONG]) + "..." * (len(value) > _LONG)
    if isinstance(value, np.ndarray):
        return f"an array of the shape {value.shape} and the type {value.dtype}"
    if type(value) in (list, tuple) and len(value) <= _SHORT and depth:
        entries = ", ".join(shown(entry, depth=depth - 1) for entry in value)
        return f"[{entries}]" if type(value) is list else f"({entries})"
    name = f"a {type(value).__name__[:_LONG]}"
    return f"{name} of {len(value)}" if isinstance(value, list | tuple | dict | set | frozenset | bytes) else name
