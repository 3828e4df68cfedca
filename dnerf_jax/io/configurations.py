"""Configurations: found by name, changed by overrides, and turned into the frozen dataclass that the library takes.

A configuration is a file with `get_config()`, which returns a ConfigDict; those of configs/ come with the package. An
override "steps=400" or "semantic.hidden=32" changes one field. The library itself never sees a ConfigDict.
"""

import ast
import dataclasses
import inspect
import math
import re
import runpy
import textwrap
import typing
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dnerf_jax.io import schema
from dnerf_jax.ops.messages import did_you_mean, some

_ROOT = Path(__file__).parent.parent
# The packaged configurations: installed within the package, in a checkout beside it.
_CONFIGS = next((folder for folder in (_ROOT / "configs", _ROOT.parent / "configs") if folder.is_dir()), _ROOT)
_WORDS = {"none": None, "true": True, "false": False, "nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def known() -> list[str]:
    """The names of the packaged configurations, and the files of configs/ in the current folder, if it is another."""
    here = Path("configs")
    local = [] if here.resolve() == _CONFIGS.resolve() else here.glob("*.py")
    return packaged() + sorted(path.as_posix() for path in local if path.stem != "__init__")


def packaged() -> list[str]:
    """The names of the packaged configurations."""
    return sorted(path.stem for path in _CONFIGS.glob("*.py") if path.stem != "__init__")


def load_config(path: str | PathLike) -> ConfigDict:
    """Runs `get_config()` of a configuration: `load_config("heads")`, `load_config("my/folder/mine.py")`.

    path: a file, or the name of a configuration that comes with dnerf_jax (heads; configs/heads.py means the same); a
      file that exists is preferred. Text after a colon is get_config's argument.

    Raises:
      ValueError: there is no such file or name, with the near ones, it cannot be read, or it has no get_config() that
        takes the argument and returns a ConfigDict.
    """
    name, *argument = str(path).split(":", 1)
    file = _file(name)
    try:
        module = runpy.run_path(str(file))
    except (SyntaxError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{file} is no Python file that can be run: {error}") from error
    if "get_config" not in module:
        raise ValueError(f"{file} has no function get_config(): add it, or name another file")
    try:
        inspect.signature(module["get_config"]).bind(*argument)
    except TypeError as error:
        raise ValueError(f"get_config() of {file} was given {argument or 'no argument'}: {error}") from None
    config = module["get_config"](*argument)
    if not isinstance(config, ConfigDict):
        raise ValueError(
            f"get_config() of {file} returns a {type(config).__name__}, expected an ml_collections ConfigDict"
        )
    return config


def load_settings(path: str | PathLike, cls: type, overrides: Sequence[str] = ()) -> Any:
    """The settings `cls` of a configuration: `load_settings("heads", branch.Settings, ["steps=100"])`.

    path: see `load_config`. cls: a dataclass, or a union of some: the one that has most of the configuration's fields.
    overrides: "name=value" each; names of nested fields have dots.

    Raises ValueError as `load_config` does, and where a field is unknown, missing, of another type or out of range.
    """
    config = load_config(path)
    cls = schema.meant(typing.get_args(cls) or (cls,), config)
    for override in overrides:
        _override(config, cls, override)
    try:
        return as_dataclass(config, cls)
    except ValueError as error:
        file = _file(str(path).split(":", 1)[0])
        command = re.search(r"^Command: (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        meant = f" ({file.name} is for: {command.group(1)})" if command and not overrides else ""
        raise ValueError(f"{error}{meant}") from None


def as_dataclass(config: ConfigDict | dict, cls: type, path: str = "config") -> Any:
    """Turns a configuration into the frozen dataclass `cls`; see schema.as_dataclass for what it refuses."""
    return schema.as_dataclass(config.to_dict() if isinstance(config, ConfigDict) else config, cls, path)


def described_fields(cls: type, config: ConfigDict | None = None) -> str:
    """The fields of settings `cls`, one paragraph each: "--config.name=value", type and range, what it means.

    cls: of a union, the fields of the one that `config` is for, or of all.
    config: what the values are shown of; without it there are none.
    """
    paragraphs = []
    for name, hint, text, value in _fields(cls, config):
        shown = f"={value!r}" if config is not None else ""
        paragraphs.append(f"  --config.{name}{shown}: {schema.described(hint)}")
        paragraphs += textwrap.wrap(text, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(paragraphs)


def field_names(cls: type) -> list[str]:
    """The names of all fields of settings `cls`, nested ones with dots."""
    return [name for name, *_ in _fields(cls, None)]


def _file(name: str) -> Path:
    """The file `name`, or else, of heads, heads.py and configs/heads.py, the packaged configuration heads."""
    file = Path(name)
    if file.is_file():
        return file
    inside = _CONFIGS / f"{file.stem}.py"
    if file.parent.as_posix() in (".", "configs") and file.suffix in ("", ".py") and inside.is_file():
        return inside
    raise ValueError(
        f"there is no file {name!r}, and no configuration of that name comes with dnerf_jax"
        + did_you_mean(file.stem, known())
    )


def _override(config: ConfigDict, cls: type, override: str) -> None:
    """Sets one field of a configuration of settings `cls`. Raises ValueError: they have none of that name."""
    name, _, text = override.partition("=")
    known = {field: hint for field, hint, _, _ in _fields(cls, config)}
    inside = [field for field in known if field.startswith(f"{name}.")]
    if inside:
        raise ValueError(f"config.{name} has fields of its own: set one of {some(inside)}")
    if name not in known:
        raise ValueError(f"config has no field {name!r}" + did_you_mean(name, known))
    *parents, last = name.split(".")
    for part in parents:
        config = config[part]
    with config.ignore_type():  # what kinds a field may have is the schema's to say
        config[last] = text if known[name] is str else _value(text)


def _value(text: str) -> Any:
    """What is written as Python writes it: a number, None, a tuple; else the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _fields(cls: type, config: Any, prefix: str = "") -> Iterator[tuple[str, Any, str, Any]]:
    """(dotted name, type, meaning, value) of all fields, nested ones in their place, of a union those meant."""
    if choices := typing.get_args(cls):
        for choice in choices if config is None else [schema.meant(choices, config)]:
            yield from _fields(choice, config, prefix)
        return
    meanings, hints = _meanings(cls), typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        value = config.get(field.name, field.default) if config is not None else None
        hint = hints[field.name]
        if all(map(dataclasses.is_dataclass, typing.get_args(hint) if schema.is_union(hint) else (hint,))):
            nested = value if isinstance(value, ConfigDict) else None
            yield from _fields(hint, nested, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", hint, meanings.get(field.name, ""), value


def _meanings(cls: type) -> dict[str, str]:
    """What the docstring's "Attributes:" say of each field; several may share an entry: "yaw, pitch: ..."."""
    _, _, attributes = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    found = re.findall(r"^  (\w+(?:, \w+)*): (.+(?:\n   +\S.*)*)", attributes, re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in found for name in names.split(", ")}
