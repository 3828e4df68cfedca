"""Plain dictionaries to frozen dataclasses, checked: how settings and files of settings enter the library."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from dnerf_jax.ops.messages import did_you_mean


def as_dataclass(config: Mapping[str, Any], cls: type, path: str = "config") -> Any:
    """Turns a dictionary into the frozen dataclass `cls`, its nested dataclasses included.

    Args:
      config: nested dictionaries; lists become tuples, whole numbers floats where the field is a float.
      cls: dataclass with fields of bool, int, float, str, tuple[...], Literal[...], dataclasses, or unions of
        these.
      path: how messages call the dictionary.

    Raises:
      ValueError: a field is unknown, missing without a default, or of another type; the message has the near
        matches.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in config:
        if name not in fields:
            raise ValueError(f"{path} has no field {name!r}" + did_you_mean(name, fields))
    hints = typing.get_type_hints(cls)
    values = {}
    for name, field in fields.items():
        if name in config:
            values[name] = _convert(config[name], hints[name], f"{path}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            had = ", ".join(config) or "nothing"
            raise ValueError(f"{path} lacks the field {name!r}, which {cls.__name__} needs; it has {had}")
    return cls(**values)


def _convert(value: Any, hint: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        for choice in arguments:
            try:
                return _convert(value, choice, path)
            except ValueError:
                continue
    elif origin is typing.Literal:
        if value in arguments and not isinstance(value, bool):
            return value
        raise ValueError(f"{path} is {value!r}" + did_you_mean(str(value), arguments))
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return as_dataclass(value, hint, path)
    elif origin is tuple or hint is tuple:
        if isinstance(value, list | tuple):
            return _convert_tuple(tuple(value), arguments, path)
    elif hint is None or hint is types.NoneType:
        if value is None:
            return None
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    expected = str(hint) if arguments else getattr(hint, "__name__", str(hint))
    raise ValueError(f"{path} must be {expected}, not {value!r} ({type(value).__name__})")


def _convert_tuple(value: tuple, arguments: tuple, path: str) -> tuple:
    if not arguments:
        return value
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(value) != len(arguments):
        raise ValueError(f"{path} must have {len(arguments)} entries, not {len(value)}: {value!r}")
    pairs = zip(value, arguments, strict=True)
    return tuple(_convert(entry, hint, f"{path}[{index}]") for index, (entry, hint) in enumerate(pairs))
