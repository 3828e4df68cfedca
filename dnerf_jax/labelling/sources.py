"""What label tools export, as a folder: a folder, one file, or a zip that is unpacked for the moment.

All of it comes from strangers: a zip's names may lead out of its folder, its entries may grow beyond any disk, XML may
have entities that multiply. Paths that a file names are followed only within the export.
"""

import contextlib
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from dnerf_jax.io import files

KINDS = {".xml", ".json", ".png", ".txt"}  # suffixes of what is read; nothing else is unpacked
_ENTRIES = 100_000
_BYTES = 4 << 30  # of all that is unpacked
_RATIO = 1100  # of deflate, at most some 1,032 to 1


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Path, list[Path]]]:
    """The folder of an export, and its files of KINDS: of a folder or zip all, else the one.

    Raises ValueError, always naming the file: it is absent, a damaged or hostile zip, or holds none.
    """
    if path.is_dir():
        yield path, _all(path, path)
    elif path.suffix.lower() == ".zip" and path.exists():
        with tempfile.TemporaryDirectory(prefix="dnerf_jax_") as name:
            folder = Path(name)
            try:
                _unpack(path, folder)
            except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
                raise ValueError(f"{path} cannot be read as a zip of labels: {error}; export it again") from error
            try:
                yield folder, _all(folder, path)
            except ValueError as error:  # whose message names a folder that will be gone
                raise ValueError(
                    str(error).replace(f"{folder}/", f"{path}/").replace(str(folder), str(path))
                ) from error
    elif path.is_file():
        yield path.parent, [path]
    else:
        raise ValueError(f"{path} does not exist: give the file, folder or zip that the label tool exported")


def _all(folder: Path, path: Path) -> list[Path]:
    found = sorted(entry for entry in folder.rglob("*") if entry.suffix.lower() in KINDS and entry.is_file())
    if not found:
        raise ValueError(f"{path} has no files of {', '.join(sorted(KINDS))}: is it an export of labels?")
    return found[: _ENTRIES + 1]


def _unpack(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > _ENTRIES:
            raise ValueError(f"it has {len(entries)} entries, more than {_ENTRIES}")
        for entry in entries:
            name = PurePosixPath(entry.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts or ":" in entry.filename or "\0" in entry.filename:
                raise ValueError(f"its entry {entry.filename!r:.200} leads out of it")
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise ValueError(f"its entry {entry.filename!r:.200} is a link")
        wanted = [entry for entry in entries if PurePosixPath(entry.filename).suffix.lower() in KINDS]
        total = sum(entry.file_size for entry in wanted)
        if total > min(_BYTES, _RATIO * path.stat().st_size):
            raise ValueError(f"its entries claim {total} bytes, too many for a file of {path.stat().st_size}")
        for entry in wanted:
            target = folder / PurePosixPath(entry.filename.replace("\\", "/"))
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file)


def within(folder: Path, name: str) -> Path:
    """The file in a folder that an export names. Raises ValueError: the name leads out of it."""
    try:
        target = (folder / name).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"it names the file {name!r:.200}, which cannot be one") from error
    if not target.is_relative_to(folder.resolve()):
        raise ValueError(f"it names the file {name!r:.200}, which is outside of {folder}")
    return target


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. Raises ValueError, naming the file: it is none, or has a document type or entities."""
    text = files.read_text(path, "XML of a label tool")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError(f"{path} declares a document type or entities, which no label tool writes: export it again")
    try:
        return ElementTree.fromstring(text.encode())
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{path} cannot be read as XML of a label tool: {error}; export it again") from error
