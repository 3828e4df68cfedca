"""What is asked for: an edit as a file or a name, and the view that it is meant in.

[{"op": "scale", ...}]    a JSON list of operations, see `io.edit_files`
mask.png                  a painted mask: the view's own mask, with other ids in places
wider nose                one of the edits that come with the embedded heads, see `worlds.heads.edits`
"""

import dataclasses
import os

import numpy as np

from dnerf_jax.io import camera_files, edit_files, png
from dnerf_jax.io.scene_folders import LoadedScene
from dnerf_jax.models.model import Model
from dnerf_jax.ops import mask_edits, orbiting
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.mask_edits import Operation
from dnerf_jax.ops.messages import did_you_mean, some
from dnerf_jax.ops.orbiting import Orbit
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.worlds.heads.edits import EDITS
from dnerf_jax.worlds.heads.surface import LABELS


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """An edit: its name, and its operations, or a mask (R, R) that was painted."""

    name: str
    operations: tuple[Operation, ...] = ()
    mask: np.ndarray | None = None

    def of(self, before: np.ndarray, label_map: LabelMap) -> np.ndarray:
        """The wanted mask, of the mask (R, R) before. Raises ValueError as `mask_edits.apply`."""
        if self.mask is not None:
            return self.mask
        try:
            return mask_edits.apply(before, self.operations, label_map)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}. The view may show too little of it: choose another") from error

    def labels(self, label_map: LabelMap) -> tuple[int, ...] | None:
        """The ids of the classes that are edited; None: the mask must tell."""
        return None if self.mask is not None else mask_edits.labels_of(self.operations, label_map)


def read(edit: str, model: Model) -> Request:
    """The edit in a file, or of this name.

    Raises ValueError: there is no such file and no such name, a file cannot be read, or names other classes than the
    model has.
    """
    label_map = model.label_map
    if label_map is None or model.semantic is None:
        raise ValueError(
            "an edit needs labels, and the checkpoint of this scene has no semantic branch: train one, and invert with"
            " that checkpoint"
        )
    named = edit.replace("_", " ")
    if not os.path.exists(edit) and named in EDITS:
        if not is_of_heads(model):
            raise ValueError(
                f"the edit {named!r} is of the heads' classes, and this scene's are {some(label_map.names, 12)}: write"
                " a JSON list of operations instead"
            )
        return Request(named, EDITS[named])
    suffix = os.path.splitext(edit)[1].lower()
    if not os.path.exists(edit) and not suffix:
        raise ValueError(f"there is no file {edit!r}, and no edit of this name{did_you_mean(named, EDITS)}")
    if suffix == ".json":
        return Request(os.path.basename(edit), edit_files.read_edits(edit, label_map))
    if suffix == ".png":
        return Request(os.path.basename(edit), mask=png.load_mask(edit, label_map))
    raise ValueError(f"{edit} is neither a .json list of operations nor a .png mask of ids, nor one of {some(EDITS)}")


def is_of_heads(model: Model) -> bool:
    """Whether the scene is one of the heads world, whose landmarks are known."""
    return model.label_map is not None and model.label_map.names == LABELS.names


def view(text: str, loaded: LoadedScene) -> Orbit:
    """The orbit () of the view that is edited.

    text: "yaw,pitch" in degrees, a JSON file of a camera, or "" for the camera that the scene was found from, the first
      if there are several.

    Raises ValueError: it is neither, or the camera stands in the subject.
    """
    options = loaded.model.generator.config.rendering
    if text and not os.path.exists(text):
        try:
            yaw, pitch = (float(part) for part in text.split(","))
        except ValueError:
            yaw = pitch = np.inf
        if not (abs(yaw) <= 180 and abs(pitch) < 90):
            raise ValueError(
                f"--view is {text!r}, expected yaw,pitch in degrees, 20,0 for instance, or a JSON file of a camera"
            )
        return subjects.default_orbit(loaded.model, np.float32(np.radians(yaw)), np.float32(np.radians(pitch)))
    camera = camera_files.read_cameras(text) if text else loaded.camera
    camera_files.require_sight(camera, options.box_warp)
    while camera.batch_shape:
        camera = camera[0]
    return orbiting.of_camera(camera, pivot=options.avg_camera_pivot)
