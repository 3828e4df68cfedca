"""Folders that commands write into: looked at before any work, and used by one process at a time."""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import IO

try:
    import fcntl
except ImportError:  # Windows has no such locks: there the user has to take care
    fcntl = None  # type: ignore[assignment]

from dnerf_jax.io import files
from dnerf_jax.ops.messages import some

LOCK = ".lock"


@contextlib.contextmanager
def claimed(path: str | os.PathLike, *, known_by: Sequence[str] = (), wait: bool = False) -> Iterator[pathlib.Path]:
    """The folder `path`, made where it is missing, which no other process can claim until the block ends.

    What a killed process left half-written there is removed. A folder that was made and then stayed empty goes again.

    Args:
      known_by: files of which every folder of this kind has one, as soon as it has anything: a folder with content but
        none of them is somebody else's.
      wait: until whoever has it gives it back; for folders that several share, and claim for moments.

    Raises ValueError: `path` is a file, cannot be written into, is claimed by another process, or is somebody else's.
    """
    path = pathlib.Path(path)
    made = _make(path)
    content = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    if known_by and content and not set(known_by) & set(content):
        raise ValueError(
            f"{path} has content ({some(content, 4)}), but no {some(known_by, separator=' or ')}: it was not made by "
            "this command. Name a new folder."
        )
    try:
        lock = _lock(path, wait)
        try:
            files.remove_partials(path)
            yield path
        finally:
            _unlock(path, lock)
    finally:
        if made and not any(path.iterdir()):
            path.rmdir()


def _make(path: pathlib.Path) -> bool:
    """Whether the folder had to be made. Raises ValueError: it cannot be, or cannot be written into."""
    if path.is_dir():
        if not os.access(path, os.W_OK | os.X_OK):
            raise ValueError(f"{path} cannot be written into: name another folder, or change its permissions")
        return False
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise ValueError(f"{path} is a file, expected the name of a folder: give another name") from None
    except OSError as error:
        raise ValueError(f"the folder {path} cannot be made: {error.strerror}. Name another one") from error
    return True


def _lock(path: pathlib.Path, wait: bool) -> IO[str] | None:
    """An open file that is locked as long as it is open, also if the process is killed.

    Raises ValueError: another process has it.
    """
    if fcntl is None:
        return None
    while True:
        path.mkdir(parents=True, exist_ok=True)  # whoever had it before may have left nothing in it
        lock = open(path / LOCK, "a+")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            lock.seek(0)
            process = lock.read(20) or "unknown"
            lock.close()
            raise ValueError(
                f"{path} is in use by another command (process {process}): wait until it has ended, or name another "
                "folder"
            ) from None
        with contextlib.suppress(FileNotFoundError):
            # Whoever had the lock before may have removed the file after we opened it: then it locks nothing.
            if os.path.samestat(os.fstat(lock.fileno()), (path / LOCK).stat()):
                lock.truncate(0)
                lock.write(str(os.getpid()))
                lock.flush()
                return lock
        lock.close()


def _unlock(path: pathlib.Path, lock: IO[str] | None) -> None:
    if lock is not None:
        (path / LOCK).unlink(missing_ok=True)
        lock.close()
