"""One file out of a source package such as pip downloads it (.tar.gz): read as bytes, nothing else is unpacked."""

import contextlib
import hashlib
import os
import pathlib
import tarfile
import tempfile
from collections.abc import Iterator

from .refusals import Refused

_LARGEST = 256 << 20  # bytes, of all files in front of the one that is looked for, and of itself
_MEMBERS = 10_000


@contextlib.contextmanager
def found(path: str | os.PathLike, member: str) -> Iterator[pathlib.Path]:
    """The path of a file: `path` itself, or for a .tar.gz a temporary copy of its file NAME-VERSION/`member`.

    Raises ValueError, naming the archive: it is damaged, has no such file, or too much in front of it.
    """
    path = pathlib.Path(path)
    if not path.name.endswith((".tar.gz", ".tgz")):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / pathlib.PurePosixPath(member).name
        try:
            copy.write_bytes(_content(path, member))
        except (OSError, EOFError, tarfile.TarError, ValueError) as error:
            raise ValueError(f"{path} cannot be read as a source package: {error}; download it again") from error
        yield copy


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(path: pathlib.Path, member: str) -> bytes:
    total = 0
    with tarfile.open(path, "r:gz") as archive:
        for count, entry in enumerate(archive):
            total += entry.size
            if total > _LARGEST or count > _MEMBERS:
                raise Refused(f"more than {_LARGEST >> 20} MiB or {_MEMBERS} files come before {member}")
            if entry.name.partition("/")[2] == member and entry.isfile():
                content = archive.extractfile(entry)
                data = content.read() if content else b""
                if len(data) != entry.size:
                    raise EOFError(f"{member} is cut off")
                return data
    raise ValueError(f"it has no file {member}")
