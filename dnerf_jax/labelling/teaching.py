"""The branch trained on what is labelled so far, in a process of its own, while labelling goes on."""

import dataclasses
import multiprocessing
import os
import traceback
from pathlib import Path
from typing import Any

from dnerf_jax.io import checkpoints, files, label_folders
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models.model import Model
from dnerf_jax.training import branch, logs, process

_REASON = "error.txt"


class Teacher:
    """Starts one run after the other, each in a new folder 000, 001, ... of `workdir`.

    checkpoint: the generator's folder. settings: of every run; no more views are drawn in a step than are labelled.
    """

    def __init__(self, checkpoint: str, settings: branch.Settings, workdir: Path):
        self.settings, self.workdir, self._checkpoint = settings, workdir, checkpoint
        self._process: Any = None
        self._folder: Path | None = None

    def start(self, pack: Annotations) -> None:
        """Trains on the labelled views of a pack. Raises ValueError: a run is going on, or nothing is labelled."""
        if self._process is not None and self._process.is_alive():
            raise ValueError("a training is going on already: wait until it has ended")
        done = label_folders.labelled(pack)
        if not len(done):
            raise ValueError("nothing is labelled yet: paint at least one view")
        done.label_map.require_classes(done.masks, "the labelled views")
        self.workdir.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(entry.name) for entry in self.workdir.iterdir() if entry.name.isdecimal()), default=-1)
        self._folder = self.workdir / f"{number:03}"
        self._folder.mkdir()
        # Spawned, not forked: JAX has threads.
        context = multiprocessing.get_context("spawn")
        arguments = (self._checkpoint, self.settings, done, str(self._folder))
        self._process = context.Process(target=train, args=arguments, daemon=True)
        self._process.start()

    def state(self) -> dict[str, Any]:
        """How far the last run is: {"state": "none" | "running" | "done" | "failed", "step", "steps", "reason"}."""
        told: dict[str, Any] = {"state": "none", "step": 0, "steps": self.settings.steps, "reason": ""}
        if self._folder is None:
            return told
        metrics = self._folder / "metrics.jsonl"
        records = logs.read_metrics(metrics) if metrics.exists() else []
        told["step"] = records[-1]["step"] if records else 0
        if self._process.is_alive():
            return told | {"state": "running"}
        if (self._folder / branch.MODEL).is_dir():
            return told | {"state": "done"}
        reason = self._folder / _REASON
        text = files.read_text(reason) if reason.exists() else f"it ended with {self._process.exitcode}"
        return told | {"state": "failed", "reason": text}

    def result(self) -> Model:
        """The model that the last run has made. Raises ValueError: there is none."""
        if self._folder is None:
            raise ValueError("no branch was trained yet")
        return checkpoints.load(self._folder / branch.MODEL)

    def stop(self) -> None:
        """Ends a run that is going on."""
        if self._process is not None and self._process.is_alive():
            self._process.terminate()
            self._process.join()


def train(checkpoint: str, settings: branch.Settings, pack: Annotations, folder: str) -> None:
    """What the other process does; why it failed is written into the folder."""
    try:
        os.nice(5)  # painting comes first
        process.prepare()
        views = min(settings.views_per_step, len(pack))
        settings = dataclasses.replace(settings, views_per_step=views)
        branch.train(settings, checkpoints.load(checkpoint), pack, Path(folder))
    except Exception as error:
        files.write_text(Path(folder) / _REASON, str(error) or traceback.format_exc())
        raise
