"""Files whole or not at all, text from strangers, and where those files are that come with the package.

Writing goes beside the destination, then renames: a reader never sees half a file, and a run that is killed, or a disk
that is full, leaves what was there before. Reading is with limits: whatever is wrong with a file is a ValueError that
names it.
"""

import contextlib
import json
import math
import os
import pathlib
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

ASSETS = pathlib.Path(__file__).parent.parent / "assets"
TEXT_LIMIT = 64 << 20  # bytes
JSON_DEPTH = 64  # objects and lists within one another
_PARTIAL = re.compile(r"\.(?P<stem>.+)\.[0-9a-f]{8}\.(?P<kind>partial|aside)(?P<suffix>(\.[^.]+)?)")
_INTEGERS = 1 << 64  # beyond which no number of ours goes


def located(path: str | os.PathLike, marker: str) -> pathlib.Path:
    """The folder `path` if it holds the file `marker`, else the embedded folder of that name if there is one.

    Where there is neither, `path` is returned as it is: the caller knows best what to say.
    """
    folder, embedded = pathlib.Path(path), ASSETS / path
    return folder if os.path.isfile(folder / marker) or not os.path.isfile(embedded / marker) else embedded


def embedded_names(marker: str) -> list[str]:
    """The names of the embedded folders that hold the file `marker`."""
    return sorted(file.parent.name for file in ASSETS.glob(f"*/{marker}"))


def read_text(path: str | os.PathLike, what: str = "text", *, limit: int = TEXT_LIMIT) -> str:
    """Reads a file of text in UTF-8, with or without a byte order mark; `what` says in messages what it should be.

    Raises ValueError, always naming the file and what to do: it is missing, no regular file, not readable, of more than
    `limit` bytes, or not UTF-8.
    """
    path = pathlib.Path(path)
    try:
        if not path.is_file():
            found = "it is a folder" if path.is_dir() else "it is no regular file" if path.exists() else "no such file"
            raise ValueError(f"{found}; give the path of one, or copy anew the folder that it belongs to")
        with open(path, "rb") as handle:
            if os.fstat(handle.fileno()).st_size > limit:
                raise ValueError(f"it has more than {limit >> 20} MiB; is it another file?")
            return handle.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} cannot be read as {what}: byte {error.start} is not UTF-8; is it another file, or damaged? "
            "Save it as UTF-8, or copy it again"
        ) from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as {what}: {error}") from error


def read_json(path: str | os.PathLike, what: str = "a JSON object", *, kind: type = dict) -> Any:
    """Reads a JSON file in UTF-8; `what` says in messages what it should be, `kind` is the type of the whole.

    Raises ValueError, always naming the file and what to do: as `read_text`, and it is empty, no JSON, deeper than
    JSON_DEPTH, of another kind, has a key twice, or numbers that are not finite or beyond 64 bits.
    """
    text = read_text(path, what)
    try:
        return parse_json(text, kind=kind)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as {what}: {error}; copy or write it anew") from error


def parse_json(text: str, *, kind: type = dict) -> Any:
    """The value of JSON text, if it is of this kind; raises ValueError as `read_json` does, without a file's name."""
    if not text.strip():
        raise ValueError("it is empty")
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_number, parse_int=_number, parse_float=_number
        )
    except RecursionError:
        raise ValueError(f"it is nested more than {JSON_DEPTH} deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON ({error})") from error
    if not isinstance(value, kind):
        names: dict[Any, str] = {dict: "an object", list: "a list"}
        found = names.get(type(value), f"the {type(value).__name__} {value!r:.50}")
        raise ValueError(f"it holds {found}, expected {names.get(kind, kind.__name__)}")
    level = [value]
    for _ in range(JSON_DEPTH):
        level = [entry for entries in level if isinstance(entries, dict | list) for entry in _entries(entries)]
    if level:
        raise ValueError(f"it is nested more than {JSON_DEPTH} deep")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"it holds half of a character ({error.object[error.start]!a})") from error
    return value


def _entries(value: dict | list) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has the key {next(name for name in names if names.count(name) > 1)!r:.50} twice")
    return made


def _number(text: str) -> int | float:
    whole = text.removeprefix("-").isdecimal()
    if whole and len(text) < 25 and abs(int(text)) < _INTEGERS:
        return int(text)
    if whole or not math.isfinite(float(text)):
        raise ValueError(f"it has the number {text:.30}, expected finite ones of at most 64 bits")
    return float(text)


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary path in the folder of `path`, which is renamed to `path` if the block succeeds.

    The temporary name keeps the suffix of `path`, since many writers choose their format by it. Missing
    parent folders are made. A file already at `path` is replaced; if the block raises, that file is
    untouched.

    Raises ValueError if `path` is a folder, or if the block ends without having written the file.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, expected the name of a file to write: give another name")
    temporary = _beside(path)
    try:
        yield temporary
        if not temporary.is_file():
            raise ValueError(f"nothing was written for {path}: the block should have written {temporary.name}")
        _settle(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike, *, replace: bool = False) -> Iterator[pathlib.Path]:
    """Gives a new empty folder beside `path`, which is renamed to `path` if the block succeeds.

    An empty folder at `path` counts as absent. One with content is refused before the block runs, unless
    `replace`: then it is put aside, and removed only when the new one is in its place.

    Raises ValueError if `path` is a file, or a folder with content and `replace` is False.
    """
    path = pathlib.Path(path)
    if path.is_file():
        raise ValueError(f"{path} is a file, expected the name of a folder to write: give another name")
    if path.is_dir() and any(path.iterdir()) and not replace:
        raise ValueError(f"{path} exists and is not empty: give another name, or remove it first")
    temporary = _beside(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.is_dir():
            old = _beside(path, "aside")
            os.replace(path, old)
            try:
                os.replace(temporary, path)
            except OSError:
                os.replace(old, path)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(temporary, path)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any, *, indent: int = 1) -> None:
    """Writes a JSON file in ASCII, whole or not at all; numbers that are not finite, which JSON lacks, as null."""
    write_text(path, to_json(value, indent=indent))


def to_json(value: Any, *, indent: int | None = 1) -> str:
    """What `write_json` writes; without an indent it is one line."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def remove_partials(folder: str | os.PathLike) -> None:
    """Removes what writers that were killed left in a folder, not in those within it.

    Only for whoever knows that nobody else writes there, by a lock. A folder that was put aside, and whose place is
    empty, is put back.
    """
    for path in sorted(pathlib.Path(folder).glob(".*")):
        match = _PARTIAL.fullmatch(path.name)
        if match is None:
            continue
        target = path.with_name(match["stem"] + match["suffix"])
        if match["kind"] == "aside" and not target.exists():
            os.replace(path, target)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _beside(path: pathlib.Path, kind: str = "partial") -> pathlib.Path:
    """An unused hidden name in the same folder (so the same file system) with the same suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.{kind}{path.suffix}")


def _settle(path: pathlib.Path) -> None:
    """Asks the system to put the bytes on the disk, so that no power cut leaves an empty file."""
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())
