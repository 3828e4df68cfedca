"""What scenes in folders look like from the views that edits are meant in: pictures, depth, masks, doubts."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.io import scene_folders
from dnerf_jax.io.scene_folders import LoadedScene
from dnerf_jax.labelling.seeing import Kept, Seen, doubts, seen
from dnerf_jax.ops.orbiting import Orbit
from dnerf_jax.training.editing import requests
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.subject import Subject

_SCENES = 4  # in memory, each with the model


class SceneEye:
    """Looks at scenes; views are texts of `requests.view`, "yaw,pitch" in degrees or "" for the scene's own.

    A mask is what `dnerf_jax.edit` writes as before.png for the same scene and view.
    """

    def __init__(self) -> None:
        self._scenes, self._views = Kept(_SCENES), Kept()

    def scene(self, path: Path, checkpoint: str | None = None) -> LoadedScene:
        """The scene in a folder. Raises ValueError as `load_scene`; it is a batch, or no branch labels it."""
        return self._scenes(path, lambda: _load(path, checkpoint))

    def orbit(self, loaded: LoadedScene, view: str) -> Orbit:
        """The orbit () of a view."""
        return requests.view(view, loaded)

    def view(self, path: Path, view: str, checkpoint: str | None = None) -> Seen:
        """The scene in a folder from a view. Raises ValueError as `scene`."""
        return self._views((path, view), lambda: _look(self.scene(path, checkpoint), view))


def _load(path: Path, checkpoint: str | None) -> LoadedScene:
    loaded = scene_folders.load_scene(path, checkpoint=checkpoint)
    if loaded.model.semantic is None or loaded.label_map is None:
        raise ValueError(
            f"the checkpoint of the scene {path} has no semantic branch, whose mask could be edited: train one, and"
            " invert with that checkpoint, or name it, --checkpoint DIR, if its generator is the scene's"
        )
    if loaded.ws.ndim != 2:
        raise ValueError(f"{path} holds {loaded.ws.shape[:-2]} scenes, expected one: save them one by one")
    return loaded


def _look(loaded: LoadedScene, view: str) -> Seen:
    # As an edit begins, with the same programs: see `written.run` and `wanted.look`.
    orbit = jax.tree.map(lambda x: jnp.asarray(x)[None], requests.view(view, loaded))
    subject = Subject(loaded.z, None if loaded.z is not None else loaded.ws, orbit)
    (found,) = subjects.views_of(loaded.model, subject)
    camera = jax.tree.map(lambda x: np.asarray(x)[0], subjects.camera_of(subject))
    return seen(found.image, found.depth_z, found.mask, doubts(found.logits), camera)
