"""Edits of scenes by masks that were painted, in a process of its own, while painting goes on."""

from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.io import files, scene_folders
from dnerf_jax.labelling.background import Runs
from dnerf_jax.training.editing import plan, requests, written

NAME = "painted on the page"  # how what an edit writes calls the edit
_PROGRESS, _MODEL = "progress.json", "model"  # the latter is in scenes that have one of their own


class Editor:
    """Edits one scene after the other, each into a new folder 000, 001, ... of `workdir`, as `dnerf_jax.edit` does.

    settings: of every edit. checkpoint: where the scenes' model is, None: where they say.
    """

    def __init__(self, settings: plan.Settings, workdir: Path, checkpoint: str | None = None):
        self.settings, self.checkpoint = settings, checkpoint
        self.runs = Runs(workdir, edit, result=written.RESULT, what="an edit")

    def start(self, scene: Path, view: str, mask: np.ndarray) -> int:
        """Has the mask of a scene become this one, and returns the run's number.

        view: from which it is seen, see `requests.view`. mask: (R, R) uint8, 255 where nothing is wanted.

        Raises ValueError: an edit is going on.
        """
        return int(self.runs.start(self.settings, scene, self.checkpoint_of(scene), view, mask).name)

    def checkpoint_of(self, scene: Path) -> str | None:
        """Where the model of a scene is; None where the scene says it, as one does that was tuned and has its own."""
        return None if (scene / _MODEL).is_dir() else self.checkpoint

    def state(self) -> dict[str, Any]:
        """How far the last run is: that of `Runs.state`, and "stage" with its "step" and "steps"."""
        told: dict[str, Any] = {"stage": "", "step": 0, "steps": 0}
        progress = None if self.runs.folder is None else self.runs.folder / _PROGRESS
        if progress is not None and progress.exists():
            told |= files.read_json(progress)
        return told | self.runs.state()


def edit(
    settings: plan.Settings, scene: Path, checkpoint: str | None, view: str, mask: np.ndarray, folder: Path
) -> None:
    """One run; see `written.run`."""
    loaded = scene_folders.load_scene(scene, checkpoint=checkpoint)

    def tell(stage: str, done: int, steps: int, loss: float) -> None:
        files.write_json(folder / _PROGRESS, {"stage": stage, "step": done, "steps": steps})

    where = requests.view(view, loaded)
    written.run(settings, loaded, requests.Request(NAME, mask=mask), where, folder, tell=tell)
