"""Plain dictionaries to frozen dataclasses, checked: how settings and files of settings enter the library.

And back again, so that what was made with some settings is not continued with others.
"""

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from dnerf_jax.ops.messages import did_you_mean, some


def as_dataclass(config: Mapping[str, Any], cls: type, path: str = "config") -> Any:
    """Turns a dictionary into the frozen dataclass `cls`, its nested dataclasses included.

    Args:
      config: nested dictionaries; lists become tuples, whole numbers floats where the field is a float.
      cls: dataclass with fields of bool, int, float, str, tuple[...], Literal[...], dataclasses, the numbers of
        `ops.ranges`, or unions of these. Numbers are finite.
      path: how messages call the dictionary.

    Raises:
      ValueError: a field is unknown, missing without a default, of another type or out of its range; the message has
        the near matches.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in config:
        if name not in fields:
            raise ValueError(f"{path} has no field {name!r:.100}" + did_you_mean(name[:100], fields))
    hints = typing.get_type_hints(cls, include_extras=True)
    values = {}
    for name, field in fields.items():
        if name in config:
            values[name] = _convert(config[name], hints[name], f"{path}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            had = ", ".join(config) or "nothing"
            raise ValueError(f"{path} lacks the field {name!r}, which {cls.__name__} needs; it has {had}")
    try:
        return cls(**values)
    except ValueError as error:  # of fields that do not fit each other
        raise ValueError(f"{path}: {error}") from error


def _convert(value: Any, hint: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is typing.Annotated:
        return require_in_range(_convert(value, arguments[0], path), hint, path)
    if is_union(hint):
        for choice in arguments:
            try:
                return _convert(value, choice, path)
            except OutOfRange:
                raise  # the kind is right: what is wrong with the number says more than all kinds
            except ValueError:
                continue
        classes = [choice for choice in arguments if dataclasses.is_dataclass(choice) and isinstance(choice, type)]
        if isinstance(value, Mapping) and classes:
            return as_dataclass(value, meant(classes, value), path)  # which says what is wrong
    elif origin is typing.Literal:
        if value in arguments and not isinstance(value, bool):
            return value
        raise ValueError(f"{path} is {value!r:.100}" + did_you_mean(f"{value!s:.100}", arguments))
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return as_dataclass(value, hint, path)
    elif origin is tuple or hint is tuple:
        if isinstance(value, list | tuple):
            return _convert_tuple(tuple(value), arguments, path)
        if isinstance(value, str) and arguments == (str, ...):
            raise ValueError(f"{path} is {value!r:.100}, expected some in brackets: ({value!r:.100},) of one alone")
    elif hint is None or hint is types.NoneType:
        if value is None:
            return None
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return _convert(float(value) if abs(value) < 2**1023 else math.inf, float, path)
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        if hint is float and not math.isfinite(value):
            raise OutOfRange(f"{path} is {value}, expected a finite number")
        return value
    raise ValueError(f"{path} must be {described(hint)}, not {value!r:.200} ({type(value).__name__})")


def is_union(hint: Any) -> bool:
    """Whether a type is one of several."""
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def meant(choices: Sequence[type], config: Collection[str]) -> type:
    """Of dataclasses the one that a dictionary is for: that with most of its fields."""
    return max(choices, key=lambda each: len({field.name for field in dataclasses.fields(each)} & set(config)))


class OutOfRange(ValueError):
    """A number of the right kind that its range does not allow."""


def require_in_range(value: Any, hint: Any, path: str) -> Any:
    """The number `value`, called `path` in messages, if it is in the range of `hint`, one of `ops.ranges` or not.

    Raises OutOfRange, a ValueError: it is not.
    """
    for allowed in getattr(hint, "__metadata__", ()):
        if value not in allowed:
            raise OutOfRange(f"{path} is {value}, expected {allowed}")
    return value


def described(hint: Any) -> str:
    """A type as people would say it: "int (at least 1) or None"."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return f"{described(arguments[0])} ({', '.join(map(str, hint.__metadata__))})"
    if is_union(hint):
        return " or ".join(described(choice) for choice in arguments)
    if origin is typing.Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        return f"({', '.join('...' if part is Ellipsis else described(part) for part in arguments)})"
    return "None" if hint is types.NoneType else getattr(hint, "__name__", str(hint))


def _convert_tuple(value: tuple, arguments: tuple, path: str) -> tuple:
    if not arguments:
        return value
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(value) != len(arguments):
        raise ValueError(f"{path} must have {len(arguments)} entries, not {len(value)}: {value!r:.200}")
    pairs = zip(value, arguments, strict=True)
    return tuple(_convert(entry, hint, f"{path}[{index}]") for index, (entry, hint) in enumerate(pairs))


def as_json(settings: Any) -> dict[str, Any]:
    """Settings, a dataclass, as they come out of a JSON file."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def completed(old: Mapping[str, Any], settings: Any) -> dict[str, Any]:
    """Settings of an earlier version, read from JSON, with the defaults of fields that have come since."""
    found = dict(old)
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name not in old:
            if field.default is not dataclasses.MISSING:
                found[field.name] = json.loads(json.dumps(field.default))
        elif dataclasses.is_dataclass(value) and isinstance(old[field.name], Mapping):
            found[field.name] = completed(old[field.name], value)
    return found


def require_same(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any], *, except_for: Collection[str]) -> None:
    """Raises ValueError, naming every difference, unless what was made in `folder` so far has the new settings."""
    names = sorted((old.keys() | new.keys()) - set(except_for))
    changed = [_changed(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]
    if changed:
        raise ValueError(
            f"{folder} was made with other settings or inputs: {some(changed, separator='; ')}. "
            "Continue with the old ones, name another folder, or delete this one."
        )


def _changed(name: str, old: Any, new: Any) -> str:
    if any(re.fullmatch(r"[0-9a-f]{16}", str(value)) for value in (old, new)):
        return f"the {name:.60} changed (fingerprint {old!r:.80}, now {new!r:.80})"
    return f"{name:.60} was {old!r:.80} and is {new!r:.80}"
