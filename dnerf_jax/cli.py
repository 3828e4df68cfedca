"""The command line of the doors, and the step from it to the library: ConfigDict in, frozen dataclass out.

    python -m dnerf_jax.train --config configs/heads.py --workdir out/run --config.learning_rate=1e-3

A door is a function `main(config, workdir: str, checkpoint: str = "heads")`: `config` comes from the file
that `--config` names, with its fields overridden by `--config.name=value`; every other parameter is a flag of
the same name, required if it has no default. Importing a door defines no flags, so that doors can call each
other. The library itself never sees a ConfigDict: `as_dataclass` turns it into the door's settings, checked,
once.
"""

import inspect
import re
import runpy
import sys
import traceback
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from dnerf_jax.io import schema
from dnerf_jax.io.schema import did_you_mean

flags.disclaim_key_flags()  # the flags belong to the door, which --help lists them under
_OURS = ("dnerf_jax", "benchmarks")  # whose errors say what to do; all others keep their traceback
_DEFINERS = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_boolean,
}


def door(main: Callable[..., Any]) -> None:
    """Runs `main` with flags from the command line: what `python -m` calls at the end of a door.

    An unknown name, a bad value, a missing flag, and every error that we raised ourselves (its message
    says what to do) end with that message and exit code 2. Other errors keep their traceback.

    Args:
      main: function of `config` (optional) and of parameters annotated str, int, float, bool, or `str | None`
        and the like; lines "name: text" of its docstring describe the flags in --help.
    """
    parameters = inspect.signature(main).parameters
    text = inspect.getdoc(main) or ""
    for name, parameter in parameters.items():
        if name == "config":
            config_flags.DEFINE_config_file("config", help_string="file with get_config(), see configs/")
        else:
            described = re.search(rf"^ *{name}: (.+)$", text, re.MULTILINE)
            _define_flag(name, parameter, described.group(1) if described else f"see {main.__module__}")
    # absl prints this text above the flags for --help.
    sys.modules["__main__"].__doc__ = text

    def run(_argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # Orbax would tell a page about every checkpoint
        try:
            main(**{name: flags.FLAGS[name].value for name in parameters})
        except (ValueError, OSError, FloatingPointError) as error:
            raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
            root = Path(__file__).parent.parent
            if not {root / name for name in _OURS} & set(raised_in.parents):
                raise
            _refuse(str(error))

    required = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    app.run(run, flags_parser=lambda argv: _parse(argv, required))


def _define_flag(name: str, parameter: inspect.Parameter, text: str) -> None:
    kind = parameter.annotation
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not types.NoneType)
    default = None if parameter.default is parameter.empty else parameter.default
    _DEFINERS[kind](name, default, text)


def _parse(argv: list[str], required: list[str]) -> list[str]:
    try:
        path = _config_path(argv)
        if path and "config" in flags.FLAGS:
            check_overrides(load_config(path), argv)
        rest = flags.FLAGS(argv)
        for name in required:
            flag = flags.FLAGS[name]
            if flag.value is None:
                files = _config_files() if name == "config" else []
                raise ValueError(f"--{name} is missing: {flag.help}" + did_you_mean("", files))
    except (flags.Error, ValueError) as error:
        _refuse(str(error))
    if rest[1:]:
        _refuse(f"unexpected argument {rest[1]!r}: options are written --name=value, and fields of the "
                "configuration --config.name=value")
    return rest


def _refuse(message: str) -> typing.NoReturn:
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _config_path(argv: list[str]) -> str | None:
    for index, argument in enumerate(argv):
        if match := re.match(r"--?config(?:=(.*))?$", argument):
            return match.group(1) if match.group(1) is not None else "".join(argv[index + 1 : index + 2])
    return None


def _config_files() -> list[str]:
    return sorted(path.as_posix() for path in Path("configs").glob("*.py") if path.name != "__init__.py")


def load_config(path: str) -> ConfigDict:
    """Runs `get_config()` of a configuration file; text after a colon in `path` is its argument.

    Raises:
      ValueError: there is no such file, or it has no get_config().
    """
    file, *argument = str(path).split(":", 1)
    if not Path(file).is_file():
        raise ValueError(f"--config: there is no file {file!r}" + did_you_mean(file, _config_files()))
    module = runpy.run_path(file)
    if "get_config" not in module:
        raise ValueError(f"--config: {file} has no function get_config()")
    return module["get_config"](*argument)


def check_overrides(config: ConfigDict, argv: list[str]) -> None:
    """Refuses overrides that ml_collections answers with a traceback.

    Raises:
      ValueError: `--config.name` in `argv` names a field that `config` lacks, or that is None there, untyped.
    """
    for argument in argv:
        match = re.match(r"--?(?:no)?config\.([^=]+)", argument)
        if not match:
            continue
        field = match.group(1)
        *parents, last = field.split(".")
        node = config
        for part in parents:
            node = node.get(part) if isinstance(node, ConfigDict) else None
        if not isinstance(node, ConfigDict) or last not in node:
            raise ValueError(f"config has no field {field!r}" + did_you_mean(field, _field_names(config)))
        if node.get_type(last) is types.NoneType:
            raise ValueError(f"config field {field!r} is None in the file and so has no type here: edit the "
                             "file, or write config_dict.placeholder(type) in it")


def _field_names(config: ConfigDict, prefix: str = "") -> list[str]:
    names = []
    for name in config:
        value = config.get(name)
        names += _field_names(value, f"{prefix}{name}.") if isinstance(value, ConfigDict) else [prefix + name]
    return names


def as_dataclass(config: ConfigDict | dict, cls: type, path: str = "config") -> Any:
    """Turns a configuration into the frozen dataclass `cls`; see schema.as_dataclass for what it refuses."""
    return schema.as_dataclass(config.to_dict() if isinstance(config, ConfigDict) else config, cls, path)
