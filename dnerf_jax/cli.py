"""The command line of every door, and the step from it to the library: ConfigDict in, frozen dataclass out.

    python -m dnerf_jax.train --config heads --workdir out/run --config.learning_rate=1e-3
    python -m converters.verify tests/golden/cars_small.json --checkpoint out/cars

A door is a function whose signature is its command line:

    main(config, workdir: str, checkpoint: str = "heads")    flags, required where they have no default
    main(pickle: str, /, out: str)                           positional-only: arguments without a name
    main(*cases: str, checkpoint: str = "")                  any number of them, at least one

`config` comes from the configuration that `--config` names, a file or one of those that come with dnerf_jax, with its
fields overridden by `--config.name=value`. An int that `main` returns is the exit status. Importing a door defines no
flags, so that doors can be called like any function. The library itself never sees a ConfigDict: `as_dataclass` turns
it into the door's settings, checked, once.
"""

import inspect
import re
import runpy
import sys
import traceback
import types
import typing
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from dnerf_jax.io import schema
from dnerf_jax.ops.messages import did_you_mean

flags.disclaim_key_flags()  # the flags belong to the door, which --help lists them under
_ROOT = Path(__file__).parent
# Where the errors come from that say what to do; all others keep their traceback. Beside the package in a checkout.
_OURS = (_ROOT, _ROOT.parent / "converters", _ROOT.parent / "benchmarks")
# The packaged configurations: installed within the package, in a checkout beside it.
_CONFIGS = next((folder for folder in (_ROOT / "configs", _ROOT.parent / "configs") if folder.is_dir()), _ROOT)
_DEFINERS = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_boolean,
}
_CONFIG_HELP = "a file with get_config(), or the name of one that comes with dnerf_jax"


def door(main: Callable[..., Any]) -> None:
    """Runs `main` with the command line's arguments and flags: what `python -m` calls at the end of a door.

    An unknown name, a bad value, a missing flag or argument, and every error that we raised ourselves (its message
    says what to do) end with that message and exit code 2. Other errors keep their traceback.

    Args:
      main: function of `config` (optional) and of parameters annotated str, int, float, bool, or `str | None`
        and the like; lines "name: text" of its docstring describe them in --help.
    """
    parameters = list(inspect.signature(main, eval_str=True).parameters.values())
    places = [entry for entry in parameters if entry.kind in (entry.POSITIONAL_ONLY, entry.VAR_POSITIONAL)]
    options = [entry for entry in parameters if entry not in places]
    for option in options:
        if option.name == "config":
            config_flags.DEFINE_config_file("config", help_string=_CONFIG_HELP)
        else:
            default = None if _is_required(option) else option.default
            _DEFINERS[_kind(option)](option.name, default, _description(main, option.name))
    # absl prints this text above the flags for --help.
    sys.modules["__main__"].__doc__ = f"{_usage(places, options)}\n\n{inspect.getdoc(main) or ''}"

    def run(argv: list[str]) -> int:
        logging.set_verbosity(logging.WARNING)  # Orbax would tell a page about every checkpoint
        try:
            named = {option.name: flags.FLAGS[option.name].value for option in options}
            status = main(*_values(places, argv[1:]), **named)
        except (ValueError, OSError, FloatingPointError, ImportError) as error:
            raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
            # Ours of a missing extra has no name; Python's own, of a module that it did not find, has one.
            if not set(_OURS) & set(raised_in.parents) or (isinstance(error, ImportError) and error.name):
                raise
            _refuse(str(error))
        return status if type(status) is int else 0

    app.run(run, flags_parser=lambda argv: _parse(main, places, options, argv))


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty


def _kind(parameter: inspect.Parameter) -> type:
    """The type of a parameter's values, None left aside."""
    kind = parameter.annotation
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not types.NoneType)
    return kind


def _description(main: Callable[..., Any], name: str) -> str:
    """What a line "name: text" of the docstring, and those below it that are indented further, say of a parameter."""
    text = inspect.getdoc(main) or ""
    found = re.search(rf"^( *)\*?{name}: (.+(?:\n\1 +\S.*)*)", text, re.MULTILINE)
    return " ".join(found.group(2).split()) if found else f"see {main.__module__}"


def _usage(places: Sequence[inspect.Parameter], options: Sequence[inspect.Parameter]) -> str:
    spec = sys.modules["__main__"].__spec__
    parts = ["usage: python", f"-m {spec.name.removesuffix('.__main__')}" if spec else Path(sys.argv[0]).name]
    for place in places:
        dots = "..." if place.kind is place.VAR_POSITIONAL else ""
        name = f"{place.name.upper()}{dots}"
        parts.append(name if _is_required(place) else f"[{name}]")
    parts += [f"--{option.name}=..." for option in options if _is_required(option)]
    return " ".join([*parts, "[flags]"])


def _values(places: Sequence[inspect.Parameter], arguments: Sequence[str]) -> list[Any]:
    """The arguments as the places' types; the last place's serves all that are left."""
    values = []
    for index, argument in enumerate(arguments):
        place = places[min(index, len(places) - 1)]
        try:
            values.append(_kind(place)(argument))
        except ValueError:
            raise ValueError(f"{place.name.upper()} is {argument!r}, expected {_kind(place).__name__}") from None
    return values


def _parse(
    main: Callable[..., Any],
    places: Sequence[inspect.Parameter],
    options: Sequence[inspect.Parameter],
    argv: list[str],
) -> list[str]:
    """Sets the flags; returns the program's name and the arguments that are no flags."""
    try:
        if any(option.name == "config" for option in options):
            argv = _with_located_config(argv)
        rest = flags.FLAGS(argv)
        for place in places[len(rest) - 1 :]:
            if _is_required(place):
                raise ValueError(f"{place.name.upper()} is missing: {_description(main, place.name)}")
        for option in options:
            flag = flags.FLAGS[option.name]
            if _is_required(option) and flag.value is None:
                known = did_you_mean("", _known_configs()) if option.name == "config" else ""
                raise ValueError(f"--{option.name} is missing: {flag.help}{known}")
    except (flags.Error, ValueError) as error:
        _refuse(str(error))
    except SystemExit:
        sys.exit(0)  # after --help, for which absl exits with 1
    if len(rest) > len(places) + 1 and not any(place.kind is place.VAR_POSITIONAL for place in places):
        _refuse(
            f"unexpected argument {rest[len(places) + 1]!r}: options are written --name=value, and fields of the "
            "configuration --config.name=value"
        )
    return rest


def _refuse(message: str) -> typing.NoReturn:
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _with_located_config(argv: list[str]) -> list[str]:
    """The command line with the file in the place of the name that `--config` gives; its overrides are checked."""
    located, arguments = [], iter(argv)
    for argument in arguments:
        match = re.match(r"--?config(?:=(.*))?$", argument)
        if match:
            name = next(arguments, "") if match.group(1) is None else match.group(1)
            check_overrides(load_config(name), argv)
            file, *rest = name.split(":", 1)
            located.append("--config=" + ":".join([str(_config_file(file)), *rest]))
        else:
            located.append(argument)
    return located


def _known_configs() -> list[str]:
    """The names of the packaged configurations, and the files of configs/ in the current folder, if it is another."""
    names = sorted(path.stem for path in _CONFIGS.glob("*.py") if path.stem != "__init__")
    here = Path("configs")
    local = [] if here.resolve() == _CONFIGS.resolve() else here.glob("*.py")
    return names + sorted(path.as_posix() for path in local if path.stem != "__init__")


def _config_file(name: str) -> Path:
    """The file `name`, or else, of heads, heads.py and configs/heads.py, the packaged configuration heads."""
    file = Path(name)
    if file.is_file():
        return file
    packaged = _CONFIGS / f"{file.stem}.py"
    if file.parent.as_posix() in (".", "configs") and file.suffix in ("", ".py") and packaged.is_file():
        return packaged
    raise ValueError(
        f"there is no file {name!r}, and no configuration of that name comes with dnerf_jax"
        + did_you_mean(file.stem, _known_configs())
    )


def load_config(path: str | PathLike) -> ConfigDict:
    """Runs `get_config()` of a configuration: `load_config("heads")`, `load_config("my/folder/mine.py")`.

    path: a file, or the name of a configuration that comes with dnerf_jax (heads; configs/heads.py means the same); a
      file that exists is preferred. Text after a colon is get_config's argument.

    Raises:
      ValueError: there is no such file or name, with the near ones, or it has no get_config() that takes the argument.
    """
    name, *argument = str(path).split(":", 1)
    file = _config_file(name)
    module = runpy.run_path(str(file))
    if "get_config" not in module:
        raise ValueError(f"{file} has no function get_config(): add it, or name another file")
    try:
        inspect.signature(module["get_config"]).bind(*argument)
    except TypeError as error:
        raise ValueError(f"get_config() of {file} was given {argument or 'no argument'}: {error}") from None
    return module["get_config"](*argument)


def load_settings(path: str | PathLike, cls: type) -> Any:
    """The settings `cls` of a configuration, as it is: `load_settings("heads", branch.Settings)`; see `load_config`."""
    return as_dataclass(load_config(path), cls)


def check_overrides(config: ConfigDict, argv: Sequence[str]) -> None:
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
            raise ValueError(
                f"config field {field!r} is None in the file and so has no type here: edit the file, or write "
                "config_dict.placeholder(type) in it"
            )


def _field_names(config: ConfigDict, prefix: str = "") -> list[str]:
    names = []
    for name in config:
        value = config.get(name)
        names += _field_names(value, f"{prefix}{name}.") if isinstance(value, ConfigDict) else [prefix + name]
    return names


def as_dataclass(config: ConfigDict | dict, cls: type, path: str = "config") -> Any:
    """Turns a configuration into the frozen dataclass `cls`; see schema.as_dataclass for what it refuses."""
    return schema.as_dataclass(config.to_dict() if isinstance(config, ConfigDict) else config, cls, path)
