"""Files whole or not at all, and where those are that come with the package.

Writing goes beside the destination, then renames: a reader never sees half a file, and a run that is killed leaves
what was there before.
"""

import contextlib
import json
import math
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator
from typing import Any

ASSETS = pathlib.Path(__file__).parent.parent / "assets"


def located(path: str | os.PathLike, marker: str) -> pathlib.Path:
    """The folder `path` if it holds the file `marker`, else the embedded folder of that name if there is one.

    Where there is neither, `path` is returned as it is: the caller knows best what to say.
    """
    folder, embedded = pathlib.Path(path), ASSETS / path
    return embedded if not (folder / marker).is_file() and (embedded / marker).is_file() else folder


def embedded_names(marker: str) -> list[str]:
    """The names of the embedded folders that hold the file `marker`."""
    return sorted(file.parent.name for file in ASSETS.glob(f"*/{marker}"))


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
            old = _beside(path)
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
    write_text(path, json.dumps(_finite(value), indent=indent, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _beside(path: pathlib.Path) -> pathlib.Path:
    """An unused hidden name in the same folder (so the same file system) with the same suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")


def _settle(path: pathlib.Path) -> None:
    """Asks the system to put the bytes on the disk, so that no power cut leaves an empty file."""
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())
