"""Work in a process of its own while somebody paints: one run after the other, each in a new numbered folder."""

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnerf_jax.io import files
from dnerf_jax.training import process

_REASON = "error.txt"


class Runs:
    """Starts one run after the other, each in a new folder 000, 001, ... of `workdir`.

    work: what a run does; it is called with a run's arguments and, last, its folder. result: the name of what it writes
    there last. what: how messages call a run, "a training".
    """

    def __init__(self, workdir: Path, work: Callable[..., None], *, result: str, what: str):
        self.workdir, self._work, self._result, self._what = workdir, work, result, what
        self._process: Any = None
        self._folder: Path | None = None
        self._stopped = False
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path | None:
        """That of the last run, None before the first."""
        return self._folder

    def start(self, *arguments: Any) -> Path:
        """Begins a run and returns its folder. Raises ValueError: one is going on."""
        with self._lock:
            self.require_idle()
            self.workdir.mkdir(parents=True, exist_ok=True)
            taken = [int(entry.name) for entry in self.workdir.iterdir() if entry.name.isdecimal()]
            folder = self.workdir / f"{1 + max(taken, default=-1):03}"
            folder.mkdir()
            # Spawned, not forked: JAX has threads.
            context = multiprocessing.get_context("spawn")
            self._process = context.Process(target=_run, args=(self._work, arguments, folder), daemon=True)
            self._process.start()
            self._folder, self._stopped = folder, False
            return folder

    def require_idle(self) -> None:
        """Raises ValueError: a run is going on."""
        if self._process is not None and self._process.is_alive():
            raise ValueError(f"{self._what} is going on already: wait until it has ended, or stop it")

    def state(self) -> dict[str, str]:
        """How the last run is, "state": none, running, done, stopped or failed; and "reason": why it failed."""
        if self._folder is None:
            return {"state": "none", "reason": ""}
        if self._process.is_alive():
            return {"state": "running", "reason": ""}
        if (self._folder / self._result).exists():
            return {"state": "done", "reason": ""}
        if self._stopped:
            return {"state": "stopped", "reason": ""}
        reason = self._folder / _REASON
        text = files.read_text(reason) if reason.exists() else f"it ended with {self._process.exitcode}"
        return {"state": "failed", "reason": text}

    def wait(self, seconds: float | None = None) -> None:
        """Waits until the last run has ended, or so long."""
        if self._process is not None:
            self._process.join(seconds)

    def stop(self) -> None:
        """Ends a run that is going on."""
        with self._lock:
            if self._process is not None and self._process.is_alive():
                self._stopped = True
                self._process.terminate()
                self._process.join()


def _run(work: Callable[..., None], arguments: tuple, folder: Path) -> None:
    """What the other process does; why it failed is written into the folder."""
    try:
        os.nice(5)  # painting comes first
        parent = multiprocessing.parent_process()
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        process.prepare()
        work(*arguments, folder)
    except Exception as error:
        files.write_text(folder / _REASON, str(error) or traceback.format_exc())
        raise


def _end_with(parent: Any) -> None:
    """Ends this process when its parent has ended, also where that was killed."""
    parent.join()
    os._exit(1)
