"""Claims: who is making which shard, and how far it is, so that any number of commands can share a folder.

    run/claims/train-000003.json    a file for every shard that is being made, and for every command at work

A claim only keeps two from doing the same: that a shard is done, its renamed sidecar says (`shards.is_done`). Who dies
leaves its claims behind. They are stale at once where this machine knows that the process is gone, and elsewhere when
nothing was written into them for a minute; then anybody may take them over. Whoever loses a claim so, because it was
stopped meanwhile, notices.
"""

import contextlib
import json
import os
import pathlib
import socket
import threading
import uuid
from typing import Any

from dnerf_jax.io import workers

FOLDER = pathlib.Path("run", "claims")  # in that of the dataset
BEAT = 5.0  # seconds between signs of life
STALE = 60.0  # seconds without any
_CLOCK = ".clock"
_SIZE = 512  # bytes of a claim, always, so that it can be written anew in its place


class LostClaim(Exception):
    """Somebody else has taken over what this process was making."""


class Claims:
    """The claims within the dataset folder `out`."""

    def __init__(self, out: pathlib.Path) -> None:
        self.folder = out / FOLDER

    def take(self, name: str) -> "Claim | None":
        """Claims `name`, if need be from someone who is gone; None: somebody has it."""
        path = self._path(name)
        while True:
            try:
                file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
            except FileNotFoundError:  # the folder: whoever finished last has tidied up
                self.folder.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                if not self._remove_if_stale(path):
                    return None
            else:
                return Claim(path, file)

    def is_held(self, name: str) -> bool:
        """Whether somebody alive has claimed `name`."""
        path = self._path(name)
        return path.exists() and not self._is_stale(path)

    def held(self) -> dict[str, dict[str, Any]]:
        """What everybody alive says of what it has claimed, by name: see `Claim`."""
        found = {}
        for name in _listed(self.folder):
            path = self.folder / name
            if path.suffix == ".json" and not name.startswith(".") and not self._is_stale(path):
                found[path.stem] = _read(path)[0]
        return found

    def tidy(self) -> None:
        """Removes stale claims, and the folder if nothing is left in it."""
        for name in _listed(self.folder):
            if name != _CLOCK:
                self._remove_if_stale(self.folder / name)
        with contextlib.suppress(OSError):
            (self.folder / _CLOCK).unlink(missing_ok=True)
            self.folder.rmdir()

    def _path(self, name: str) -> pathlib.Path:
        return self.folder / f"{name}.json"

    def _remove_if_stale(self, path: pathlib.Path) -> bool:
        """Whether the claim is gone."""
        if not self._is_stale(path):
            return False
        aside = path.with_name(f".{uuid.uuid4().hex}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, aside)
            if not self._is_stale(aside):
                # Meanwhile somebody has taken it over, and this is the new one: it goes back.
                with contextlib.suppress(OSError):
                    os.link(aside, path)
            aside.unlink()
        return True

    def _is_stale(self, path: pathlib.Path) -> bool:
        """Whether whoever wrote the claim is gone, or the claim itself is."""
        try:
            said, written = _read(path)
            here = said.get("machine") is not None and said["machine"] == workers.machine()
            if here and workers.begun_at(said.get("process")) != said.get("begun_at"):
                return True
            # Times are of the clock that stamps files here, a file server's perhaps.
            clock = self.folder / _CLOCK
            clock.touch()
            return clock.stat().st_mtime - written > STALE
        except FileNotFoundError:
            return True


class Claim:
    """A claim of this process, which a thread keeps alive until it is given back at the end of the block.

    What it says: "host", "machine", "process", "begun_at" (see `io.workers`), and the "views" and "drops" so far.
    """

    def __init__(self, path: pathlib.Path, file: int) -> None:
        self.path, self._file, self._lock, self._ended = path, file, threading.Lock(), threading.Event()
        self._said = {
            "host": socket.gethostname()[:64],
            "machine": workers.machine(),
            "process": os.getpid(),
            "begun_at": workers.begun_at(os.getpid()),
            "views": 0,
            "drops": 0,
        }
        try:
            self._write()
        except OSError:
            self.give_back()
            raise
        threading.Thread(target=self._live, daemon=True).start()

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def report(self, views: int, drops: int) -> None:
        """Says that so many more are made. Raises LostClaim: it is no longer ours."""
        if not self.is_ours():
            raise LostClaim(self.path.stem)
        self._said["views"] += views
        self._said["drops"] += drops
        with contextlib.suppress(OSError):
            self._write()

    def is_ours(self) -> bool:
        """Whether nobody has taken it over."""
        try:
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        except FileNotFoundError:
            return False

    def give_back(self) -> None:
        """Ends it."""
        self._ended.set()
        with self._lock:
            if self._file < 0:
                return
            if self.is_ours():
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            with contextlib.suppress(OSError):  # a full disk or a server that is away, for a while maybe
                self._write()

    def _write(self) -> None:
        """Writes the claim in its place, so that one that was taken over stays as the new owner wrote it."""
        with self._lock:
            if self._file >= 0:
                os.pwrite(self._file, json.dumps(self._said).encode().ljust(_SIZE)[:_SIZE], 0)
                os.fsync(self._file)  # over a network it would stay here for a while


def _read(path: pathlib.Path) -> tuple[dict[str, Any], float]:
    """What a claim says ({} as long as nothing is written), and when it was written."""
    # Opened and not asked for by its name, which a network's file system would answer out of its memory.
    with open(path, "rb") as file:
        written = os.fstat(file.fileno()).st_mtime
        try:
            said = json.loads(file.read(_SIZE))
        except ValueError:
            said = {}
    return (said if isinstance(said, dict) else {}), written


def _listed(folder: pathlib.Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
