"""The command line of every door: a function whose signature is its command line.

    python -m dnerf_jax.train --config heads --workdir out/run --config.learning_rate=1e-3
    python -m converters.verify tests/golden/cars_small.json --checkpoint out/cars

    main(config: Settings, workdir: str, checkpoint: str = "heads")    flags, required where they have no default
    main(pickle: str, /, out: str, count: Count = 90)                  positional-only: arguments without a name
    main(*cases: str, checkpoint: str = "")                            any number of them, at least one
    main = {"propose": propose, "export": export}                      commands of one door, by their first argument

`config` is a frozen dataclass: the settings that `--config` names, a file or one of those that come with dnerf_jax,
with fields overridden by `--config.name=value` (see `io.configurations`). Numbers may have ranges (see `ops.ranges`).
An int that `main` returns is the exit status. Importing a door defines no flags, so that doors can be called like any
function.
"""

import difflib
import errno
import inspect
import itertools
import os
import re
import sys
import traceback
import types
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from dnerf_jax.io import configurations, schema, workers
from dnerf_jax.io.configurations import as_dataclass, load_config, load_settings
from dnerf_jax.ops.messages import did_you_mean

__all__ = ["as_dataclass", "door", "load_config", "load_settings"]

flags.disclaim_key_flags()  # the flags belong to the door, which --help lists them under
_ROOT = Path(__file__).parent
# Where the errors come from that say what to do; all others keep their traceback. Beside the package in a checkout.
_OURS = (_ROOT, _ROOT.parent / "converters", _ROOT.parent / "benchmarks")
_DEFINERS = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_boolean,
}
_CONFIG_HELP = "a file with get_config(), or the name of one that comes with dnerf_jax"
_OVERRIDE = re.compile(r"--?(no)?config\.(\w[\w.]*)(=.*)?", re.DOTALL)
_INTERRUPTED = 130  # the exit status of what Ctrl-C ended, by custom of shells
_DISK_FULL = rf"{os.strerror(errno.ENOSPC)}|^\d+ requested and \d+ written"
_AGAIN = "give the same command again: it goes on from what was saved, if anything was"


def door(main: Callable[..., Any] | Mapping[str, Callable[..., Any]]) -> None:
    """Runs `main` with the command line's arguments and flags: what `python -m` calls at the end of a door.

    An unknown name, a bad value, a missing flag or argument, every error that we raised ourselves (its message says
    what to do), and what the system refuses (files, disk, memory) end with that message and exit code 2. Other errors
    keep their traceback.

    Args:
      main: function of `config` (optional) and of parameters annotated str, int, float, bool, one of `ops.ranges`, or
        `str | None` and the like; lines "name: text" of its docstring describe them in --help. Or such functions by
        name: the first argument names one.
    """
    command = ""
    if isinstance(main, Mapping):
        command = _command(main)
        main = main[command]
    parameters = list(inspect.signature(main, eval_str=True).parameters.values())
    places = [entry for entry in parameters if entry.kind in (entry.POSITIONAL_ONLY, entry.VAR_POSITIONAL)]
    options = [entry for entry in parameters if entry not in places]
    for option in options:
        default = None if _is_required(option) else option.default
        text = _CONFIG_HELP if option.name == "config" else _description(main, option.name)
        _DEFINERS[str if option.name == "config" else _kind(option)](option.name, default, text)
    overrides: list[str] = []
    # absl prints this text above the flags for --help.
    sys.modules["__main__"].__doc__ = f"{_usage(command, places, options)}\n\n{inspect.getdoc(main) or ''}"
    warnings.showwarning = workers.show_warning

    def run(argv: list[str]) -> int:
        # Orbax would tell a page about every checkpoint, and a thousand lines about an error that it also raises.
        logging.set_verbosity(logging.FATAL)
        try:
            named = {option.name: _checked(option, flags.FLAGS[option.name].value, overrides) for option in options}
            status = main(*_values(places, argv[1:]), **named)
            sys.stdout.flush()
        except BrokenPipeError:
            _end_unheard()
        except KeyboardInterrupt:
            sys.stdout.flush()
            print(f"\ninterrupted: {_AGAIN}", file=sys.stderr)
            return _INTERRUPTED
        except Exception as error:
            message = _what_to_do(error)
            if message is None:
                raise
            _refuse(message)
        return status if type(status) is int else 0

    app.run(run, flags_parser=lambda argv: _parse(main, places, options, argv, overrides))


def _command(functions: Mapping[str, Callable[..., Any]]) -> str:
    """The command that the first argument names, which is taken away. Without one all are listed, and that is all."""
    given = sys.argv[1] if len(sys.argv) > 1 else ""
    if given in functions:
        del sys.argv[1]
        return given
    lines = [f"  {name:10} {(inspect.getdoc(each) or '').splitlines()[0]}" for name, each in functions.items()]
    text = "\n".join([f"usage: {_called()} COMMAND ...; COMMAND --help says more of", *lines])
    if given and not given.startswith("-"):
        _refuse(f"there is no command {given!r:.50}{did_you_mean(given, functions)}\n{text}")
    print(text)
    sys.exit(0 if given in ("--help", "-h", "-help") else 2)


def _called() -> str:
    """How the door was called: python -m dnerf_jax.label."""
    spec = sys.modules["__main__"].__spec__
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else f"python {Path(sys.argv[0]).name}"


def _what_to_do(error: Exception) -> str | None:
    """The message for an error that is no bug, None for one that may be."""
    text, known = str(error), isinstance(error, ValueError | FloatingPointError | ImportError)
    # Orbax and XLA wrap what the system says in errors of their own, and NumPy leaves it away.
    if getattr(error, "errno", None) == errno.ENOSPC or re.search(_DISK_FULL, text):
        return f"the disk is full ({text.splitlines()[0]:.300}): free some space, then {_AGAIN}"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "Out of memory" in text:
        return f"there is not enough memory ({text.partition(chr(10))[0]:.300}): take smaller batches, or less at once"
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    # Ours of a missing extra has no name; Python's own, of a module that it did not find, has one.
    if known and set(_OURS) & set(raised_in.parents) and not (isinstance(error, ImportError) and error.name):
        return text
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.filename or 'the system'}: {error.strerror}"
    return None


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty


def _hint(parameter: inspect.Parameter) -> Any:
    """The annotation of a parameter, None left aside."""
    hint = parameter.annotation
    if schema.is_union(hint):
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    return hint


def _kind(parameter: inspect.Parameter) -> type:
    """The type of a parameter's values, None and ranges left aside."""
    hint = _hint(parameter)
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def _checked(option: inspect.Parameter, value: Any, overrides: Sequence[str]) -> Any:
    """The value of a flag, settings in the place of a configuration's name. Raises ValueError: it cannot be meant."""
    if option.name == "config":
        return load_settings(value, option.annotation, overrides)
    if value == "" and _is_required(option):
        raise ValueError(f"--{option.name} is empty: give a name")
    return value if value is None else schema.require_in_range(value, _hint(option), f"--{option.name}")


def _description(main: Callable[..., Any], name: str) -> str:
    """What a line "name: text" of the docstring, and those below it that are indented further, say of a parameter."""
    text = inspect.getdoc(main) or ""
    found = re.search(rf"^( *)\*?{name}: (.+(?:\n\1 +\S.*)*)", text, re.MULTILINE)
    return " ".join(found.group(2).split()) if found else f"see {main.__module__}"


def _usage(command: str, places: Sequence[inspect.Parameter], options: Sequence[inspect.Parameter]) -> str:
    parts = ["usage:", _called(), *filter(None, [command])]
    for place in places:
        dots = "..." if place.kind is place.VAR_POSITIONAL else ""
        name = f"{place.name.upper()}{dots}"
        parts.append(name if _is_required(place) else f"[{name}]")
    parts += [f"--{option.name}=..." for option in options if _is_required(option)]
    return " ".join([*parts, "[flags]"])


def _fields_help(settings: type, argv: Sequence[str]) -> str:
    """What --help says of a configuration: its fields, with the values of the one named, or of the first that fits."""
    named = [argument.partition("=")[2] for argument in argv if re.match("--?config=", argument)]
    named += [after for before, after in itertools.pairwise(argv) if re.fullmatch("--?config", before)]
    fitting = [name for name in named or configurations.packaged() if _fits(name, settings)]
    if not fitting:
        return f"Fields of the configuration:\n{configurations.described_fields(settings)}\n"
    first, *others = fitting
    shown = configurations.described_fields(settings, load_config(first))
    more = f" (--config NAME --help has those of {', '.join(others)})" if others else ""
    return f"Fields of the configuration, with the values of {first}{more}:\n{shown}\n"


def _fits(name: str, settings: type) -> bool:
    """Whether the configuration of this name, or file, is one of such settings."""
    try:
        load_settings(name, settings)
    except ValueError:
        return False
    return True


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
    overrides: list[str],
) -> list[str]:
    """Sets the flags and fills `overrides`; returns the program's name and the arguments that are no flags."""
    (settings,) = [option.annotation for option in options if option.name == "config"] or [None]
    if settings is not None:
        if any(argument in ("--help", "-help", "--helpshort", "-h", "--helpfull") for argument in argv):
            sys.modules["__main__"].__doc__ += f"\n\n{_fields_help(settings, argv)}"
        argv = _without_overrides(argv, overrides)
    try:
        rest = flags.FLAGS(argv)
        for place in places[len(rest) - 1 :]:
            if _is_required(place):
                raise ValueError(f"{place.name.upper()} is missing: {_description(main, place.name)}")
        for option in options:
            flag = flags.FLAGS[option.name]
            if _is_required(option) and flag.value is None:
                known = did_you_mean("", configurations.known()) if option.name == "config" else ""
                raise ValueError(f"--{option.name} is missing: {flag.help}{known}")
    except (flags.Error, ValueError) as error:
        _refuse(_with_hint(str(error), settings))
    except BrokenPipeError:
        _end_unheard()
    except SystemExit:  # after --help, for which absl exits with 1
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _end_unheard()
        sys.exit(0)
    if len(rest) > len(places) + 1 and not any(place.kind is place.VAR_POSITIONAL for place in places):
        _refuse(
            f"unexpected argument {rest[len(places) + 1]!r}: options are written --name=value, and fields of the "
            "configuration --config.name=value"
        )
    return rest


def _without_overrides(argv: Sequence[str], overrides: list[str]) -> list[str]:
    """The command line without `--config.name=value` and the like, which are added to `overrides` as "name=value"."""
    rest, left = [], list(reversed(argv))
    while left:
        argument = left.pop()
        match = _OVERRIDE.fullmatch(argument)
        if match is None:
            rest.append(argument)
            continue
        no, field, value = match.groups()
        if value is not None:
            value = value[1:]
        elif no or not left or left[-1].startswith("--"):
            value = str(not no)
        else:
            value = left.pop()
        overrides.append(f"{field}={value}")
    return rest


def _with_hint(message: str, settings: type | None) -> str:
    """The message, and how a field of the configuration is written where a flag of its name was tried."""
    unknown = re.search(r"Unknown command line flag '(\w+)'", message)
    if settings is None or not unknown:
        return message
    fields = {name.split(".")[-1]: name for name in configurations.field_names(settings)}
    near = difflib.get_close_matches(unknown.group(1), fields, n=1, cutoff=0.8)
    return f"{message}; did you mean --config.{fields[near[0]]}, of the configuration?" if near else message


def _refuse(message: str) -> typing.NoReturn:
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _end_unheard() -> typing.NoReturn:
    """Ends where whoever reads the output, `| head` say, has read enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
