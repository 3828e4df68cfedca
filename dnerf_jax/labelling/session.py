"""All that the page can ask for, as plain calls: the folder, what the generator sees, the training."""

import io
from typing import Any

import jax
import numpy as np
from PIL import Image

from dnerf_jax.labelling import carrying, naming, workspace
from dnerf_jax.labelling.seeing import Eye, Seen
from dnerf_jax.labelling.teaching import Teacher
from dnerf_jax.labelling.workspace import Workspace
from dnerf_jax.ops import warping
from dnerf_jax.ops.labels import IGNORE_COLOR, LabelMap

SAME = 1e-3  # of two cameras' numbers, world units, radians, image sizes: they see the same


class Session:
    """One folder, one generator, one page (in any number of tabs).

    Views are named by their numbers. Methods raise IndexError where there is no such view.
    """

    def __init__(self, space: Workspace, eye: Eye, teacher: Teacher):
        self.space, self.eye, self.teacher = space, eye, teacher
        self._shown = False  # whether the last run's branch is what looks

    def overview(self) -> dict[str, Any]:
        """The pack, its classes, the state of its views and of the training, as JSON has it."""
        pack, shares = self.space.pack, self.space.labelled_shares()
        return described(pack.name, pack.resolution, pack.label_map) | {
            "kind": "labels",
            "open": 0,
            "views": [
                {
                    "key": naming.key(pack, index),
                    "latent": int(pack.latent_id[index]),
                    **self.eye.angles(pack, index),
                    "labelled": share,
                    "version": workspace.version(pack.masks[index]),
                }
                for index, share in enumerate(shares)
            ],
            "job": self.job(),
        }

    def image(self, index: int) -> bytes:
        """The picture of a view as the pack has it, PNG."""
        self.space.mask(index)
        return png(self.space.pack.images[index])

    def edges(self, index: int) -> np.ndarray:
        """Where depth jumps in a view, uint8 (R, R), see `carrying.jumps`."""
        self.space.mask(index)
        return carrying.jumps(self.eye.view(self.space.pack, index).depth_z)

    def prediction(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """What the branch says of a view, ids and doubts, uint8 (R, R) each.

        Raises ValueError: there is no branch, or of other classes.
        """
        self.space.mask(index)
        seen = self.eye.view(self.space.pack, index)
        if not self._has_branch() or seen.mask is None or seen.doubt is None:
            raise ValueError("there is no branch of these classes yet that could predict: train one")
        return seen.mask, seen.doubt

    def carried(self, index: int) -> np.ndarray:
        """The labels, uint8 (R, R), that a view has from all other views of its scene; 255 where they do not tell."""
        others = self.space.others(index)
        return self._carried(others, self.eye.view(self.space.pack, index))

    def turned(self, index: int, yaw: float, pitch: float) -> tuple[np.ndarray, np.ndarray]:
        """The scene of a view from another camera: picture uint8 (R, R, 3), labels carried there (R, R).

        yaw, pitch: radians on the generator's orbit. Raises ValueError: they are beyond it.
        """
        sources = [*self.space.others(index), index]
        seen = self.eye.turned(self.space.pack, index, yaw, pitch)
        return seen.image, self._carried(sources, seen)

    def add(self, index: int, yaw: float, pitch: float) -> int:
        """Makes what `turned` shows a view of the pack, with the labels carried there; returns its number.

        If there is a view from there already, it is that one's number.
        """
        pack, views = self.space.pack, [*self.space.others(index), index]
        seen = self.eye.turned(pack, index, yaw, pitch)
        for there in views:
            same = jax.tree.map(lambda a, b: np.allclose(a, b, atol=SAME), pack.camera[there], seen.camera)
            if all(jax.tree.leaves(same)):
                return there
        return self.space.add(index, seen.image, self._carried(views, seen), seen.camera)

    def train(self) -> None:
        """Begins to train on what is labelled so far. Raises ValueError as `Teacher.start`."""
        self.teacher.start(self.space.pack)
        self._shown = False

    def job(self) -> dict[str, Any]:
        """How far the training is; a branch that is done predicts from then on. "branch": whether there is one."""
        told = self.teacher.state()
        if told["state"] == "done" and not self._shown:
            self.eye.replace(self.teacher.result())
            self._shown = True
        return told | {"branch": self._has_branch()}

    def stop(self) -> None:
        """Ends a training that is going on."""
        self.teacher.runs.stop()

    def close(self) -> None:
        """Ends a training that is going on, and gives the folder back."""
        self.stop()
        self.space.close()

    def _carried(self, sources: list[int], seen: Seen) -> np.ndarray:
        pack = self.space.pack
        if not sources:
            return np.full(seen.depth_z.shape, LabelMap.IGNORE, np.uint8)
        depth_z = np.stack([self.eye.view(pack, source).depth_z for source in sources])
        camera = warping.matrices(pack.camera[np.array(sources)])
        return carrying.carry(pack.masks[sources], depth_z, camera, seen.depth_z, warping.matrices(seen.camera))

    def _has_branch(self) -> bool:
        model = self.eye.model
        return model.semantic is not None and model.label_map == self.space.pack.label_map


def described(name: str, resolution: int, label_map: LabelMap) -> dict[str, Any]:
    """What the page has to know of what is painted on: its name, the pictures' side, the classes; as JSON has it."""
    classes = zip(label_map.names, label_map.colors, strict=True)
    return {
        "name": name,
        "resolution": resolution,
        "classes": [{"id": i, "name": name, "color": list(color)} for i, (name, color) in enumerate(classes)],
        "ignore": LabelMap.IGNORE,
        "ignore_color": list(IGNORE_COLOR),
    }


def png(image: np.ndarray) -> bytes:
    """A picture (R, R, 3) uint8 as PNG."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, format="PNG", compress_level=1)
    return out.getvalue()
