"""The branch trained on what is labelled so far, in a process of its own, while labelling goes on."""

import dataclasses
from pathlib import Path
from typing import Any

from dnerf_jax.io import checkpoints, label_folders
from dnerf_jax.io.packs import Annotations
from dnerf_jax.labelling.background import Runs
from dnerf_jax.models.model import Model
from dnerf_jax.training import branch, logs


class Teacher:
    """Trains one branch after the other, each in a new folder 000, 001, ... of `workdir`.

    checkpoint: the generator's folder. settings: of every run; no more views are drawn in a step than are labelled.
    """

    def __init__(self, checkpoint: str, settings: branch.Settings, workdir: Path):
        self.settings, self._checkpoint = settings, checkpoint
        self.runs = Runs(workdir, train, result=branch.MODEL, what="a training")

    def start(self, pack: Annotations) -> None:
        """Trains on the labelled views of a pack. Raises ValueError: a run is going on, or nothing is labelled."""
        self.runs.require_idle()
        done = label_folders.labelled(pack)
        if not len(done):
            raise ValueError("nothing is labelled yet: paint at least one view")
        done.label_map.require_classes(done.masks, "the labelled views")
        self.runs.start(self._checkpoint, self.settings, done)

    def state(self) -> dict[str, Any]:
        """How far the last run is: that of `Runs.state`, and "step", "steps"."""
        told: dict[str, Any] = {"step": 0, "steps": self.settings.steps}
        metrics = None if self.runs.folder is None else self.runs.folder / "metrics.jsonl"
        records = logs.read_metrics(metrics) if metrics is not None and metrics.exists() else []
        return told | ({"step": records[-1]["step"]} if records else {}) | self.runs.state()

    def result(self) -> Model:
        """The model that the last run has made. Raises ValueError: there is none."""
        if self.runs.folder is None:
            raise ValueError("no branch was trained yet")
        return checkpoints.load(self.runs.folder / branch.MODEL)


def train(checkpoint: str, settings: branch.Settings, pack: Annotations, folder: Path) -> None:
    """One run; see `branch.train`."""
    settings = dataclasses.replace(settings, views_per_step=min(settings.views_per_step, len(pack)))
    branch.train(settings, checkpoints.load(checkpoint), pack, folder)
