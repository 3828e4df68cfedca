"""Stand for what the page has done in other processes, with the arguments of the true ones."""

import shutil
import time
from pathlib import Path

import numpy as np

from dnerf_jax.io import files, png, scene_folders


def edits(settings, scene, checkpoint, view, mask, folder):
    """An edit after which the scene is a little another, and all is there that the page reads of an edit."""
    loaded = scene_folders.load_scene(scene, checkpoint=checkpoint)
    moved = loaded.ws + 0.1 * (mask == 1).mean()
    scene_folders.save_scene(folder / "scene", loaded.model, moved, loaded.camera, checkpoint=loaded.checkpoint)
    png.save_image(folder / "comparison.png", np.zeros((8, 8, 3), np.uint8))
    scores = {"iou": 0.5, "outside": 0.25, "identity": None, "per_class": {"skin": 0.5, "eye": None}}
    result = {"before": scores, "after": scores | {"iou": 0.75}, "seconds": 1.0, "doubts": ["it was made up"]}
    files.write_json(folder / "result.json", result)


def takes_long(*arguments):
    """An edit that would end tomorrow."""
    files.write_json(arguments[-1] / "progress.json", {"stage": "w+", "step": 3, "steps": 100})
    time.sleep(600)


def fails(*_):
    """An edit that cannot be."""
    raise ValueError("nose cannot be edited in this view")


def teaches(checkpoint, settings, pack, folder):
    """A training whose branch was there before."""
    (Path(folder) / "metrics.jsonl").write_text('{"step": 2}\n')
    shutil.copytree(checkpoint, folder / "model")
