"""A scene as a folder: what inversion and editing find, and what other commands and notebooks take up.

    scene.json     schema version, camera, which checkpoint, fingerprints of generator, branch and latents, notes
    latents.npz    ws (..., num_ws, w_dim) and, where the scene has one, z (..., z_dim)
    model/         the checkpoint itself, where it is this scene's own: a generator that was tuned to it

Latents mean something to one generator only. So a scene without a model of its own says which checkpoint it is of, an
embedded one by its name, another by its path from the scene's folder; both are compared by their fingerprints when it
is loaded. Folders are written whole or not at all.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dnerf_jax.io import arrays, checkpoints, files
from dnerf_jax.models import scenes
from dnerf_jax.models.model import Model, fingerprint
from dnerf_jax.models.scenes import Scene
from dnerf_jax.ops import cameras
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import did_you_mean

NAME = "scene.json"  # by which a folder is known to be a scene
SCHEMA_VERSION = 1
_LATENTS, _MODEL, _CONFIG = "latents.npz", "model", "config.json"
_KINDS = "embedded", "path", "beside"
_FIELDS = {"checkpoint": dict, "camera": dict, "fingerprints": dict, "info": dict}


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedScene:
    """A scene with all that is needed to look at it.

    model: the generator, with its semantic branch if it has one. ws: (..., num_ws, w_dim). z: (..., z_dim), or None:
    the scene was found beyond the mapping's reach. camera: those that the scene was found from. info: notes by name.
    checkpoint: where the model was read from. tuned: it is the scene's own, which `save_scene` has to be told.
    """

    model: Model
    ws: jax.Array
    z: jax.Array | None
    camera: Camera
    info: Mapping[str, str]
    checkpoint: str | os.PathLike = ""
    tuned: bool = False

    @functools.cached_property
    def scene(self) -> Scene:
        """The scene (...), synthesized when it is first asked for."""
        return jax.jit(lambda model, ws: scenes.synthesize(model, ws=ws))(self.model, self.ws)

    @property
    def label_map(self) -> LabelMap | None:
        """What the classes of its masks are called."""
        return self.model.label_map

    def __repr__(self) -> str:
        return f"LoadedScene(ws={self.ws.shape}, camera={self.camera.batch_shape}, model={self.model!r})"


def save_scene(
    path: str | os.PathLike,
    model: Model,
    ws: ArrayLike,
    camera: Camera,
    *,
    checkpoint: str | os.PathLike,
    z: ArrayLike | None = None,
    tuned: bool = False,
    info: Mapping[str, str] | None = None,
    replace: bool = False,
) -> None:
    """Writes a scene's folder.

    Args:
      path: the folder; must not exist unless `replace`.
      ws, z: its latents, (..., num_ws, w_dim) and (..., z_dim) if there is one whose scene it is.
      camera: from which it was found, one or several.
      checkpoint: folder of the model's checkpoint, or an embedded name.
      tuned: the model is another than the checkpoint's: it is written beside the scene.
      info: notes by name, both strings.

    Raises ValueError: the latents are not finite or do not fit the model, the camera is none that `cameras.validate`
    accepts, the model is not the checkpoint's and not tuned, or there is a folder with content already.
    """
    latents = {"ws": np.asarray(ws, np.float32)} | ({} if z is None else {"z": np.asarray(z, np.float32)})
    _check_latents(latents, model, f"the scene for {path}")
    camera = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), camera.spread())
    cameras.validate(camera)
    notes = dict(info or {})
    if not all(isinstance(text, str) for pair in notes.items() for text in pair):
        raise ValueError(f"info is {notes!r:.200}, expected strings by name")
    prints = _fingerprints(model)
    reference = (
        {"kind": "beside", "name": pathlib.Path(checkpoint).name} if tuned else _reference(path, checkpoint, prints)
    )
    description = {
        "schema_version": SCHEMA_VERSION,
        "checkpoint": reference,
        "camera": {name: np.asarray(getattr(camera, name)).tolist() for name in ("cam2world", "intrinsics")},
        "fingerprints": prints | {"latents": fingerprint(latents)},
        "info": notes,
    }
    with files.atomic_folder(path, replace=replace) as folder:
        if tuned:
            checkpoints.save(folder / _MODEL, model)
        with files.atomic_file(folder / _LATENTS) as file, open(file, "wb") as handle:
            np.savez(handle, **latents)  # type: ignore[arg-type]
        files.write_json(folder / NAME, description)


def load_scene(path: str | os.PathLike, *, checkpoint: str | os.PathLike | None = None) -> LoadedScene:
    """Reads a scene's folder, and the model that it is of.

    checkpoint: where the model is now, a folder or an embedded name, if not where it was. Its generator must be the
    scene's; its semantic branch may then be another, one that was trained further for example.

    Raises ValueError, naming the folder: there is no scene, it is damaged or of a newer schema, its model is not where
    it was, or is another.
    """
    folder = pathlib.Path(path)
    description = _description(folder)
    place = _place(folder, description["checkpoint"]) if checkpoint is None else checkpoint
    try:
        model = checkpoints.load(place)
    except ValueError as error:
        raise ValueError(
            f"the model of the scene {folder} cannot be loaded: {error} If it was moved, say where it is now:"
            f" --checkpoint DIR, or load_scene({str(folder)!r}, checkpoint=DIR)"
        ) from error
    expected, found = description["fingerprints"], _fingerprints(model)
    for part in ("generator", "semantic") if checkpoint is None else ("generator",):
        if expected.get(part) != found[part]:
            raise ValueError(
                f"the scene {folder} is of a {part} with the fingerprint {expected.get(part)!r:.40}, and {place} has"
                f" {found[part]!r}: it was trained or changed since. Use the checkpoint of that time"
                + ("" if part == "generator" else f", or accept this one: load_scene(DIR, checkpoint={str(place)!r})")
            )
    latents = arrays.load_arrays(folder / _LATENTS)
    latents = {name: latents[name].astype(np.float32) for name in sorted(latents)}
    _check_latents(latents, model, str(folder / _LATENTS))
    if fingerprint(latents) != expected.get("latents"):
        raise ValueError(
            f"{folder / _LATENTS} has other latents than {NAME} says: it was changed or damaged; copy it again"
        )
    z = jnp.asarray(latents["z"]) if "z" in latents else None
    camera, own = _camera(folder, description["camera"]), description["checkpoint"].get("kind") == "beside"
    return LoadedScene(model, jnp.asarray(latents["ws"]), z, camera, description["info"], place, own)


def _fingerprints(model: Model) -> dict[str, str | None]:
    branch = None if model.semantic is None else fingerprint(model.semantic.params)
    return {"generator": model.fingerprint, "semantic": branch}


def _reference(path: str | os.PathLike, checkpoint: str | os.PathLike, prints: dict[str, str | None]) -> dict[str, str]:
    """How scene.json names a checkpoint, whose own fingerprints must be these."""
    place = files.located(checkpoint, _CONFIG)
    said = files.read_json(place / _CONFIG, "a checkpoint's configuration").get("fingerprints")
    wrong = [part for part, value in prints.items() if not isinstance(said, dict) or said.get(part) != value]
    if wrong:
        raise ValueError(
            f"the model's {' and '.join(wrong)} differ from those of its checkpoint {checkpoint}: a model that was"
            " tuned is saved beside its scene, tuned=True"
        )
    if place.parent == files.ASSETS:
        return {"kind": "embedded", "name": place.name}
    start = pathlib.Path(path).resolve()
    return {"kind": "path", "name": pathlib.Path(os.path.relpath(place.resolve(), start)).as_posix()}


def _place(folder: pathlib.Path, reference: Mapping[str, Any]) -> pathlib.Path:
    """Where the checkpoint is that scene.json names."""
    kind, name = reference.get("kind"), reference.get("name")
    if kind not in _KINDS or not isinstance(name, str):
        raise ValueError(f"{folder / NAME} has the checkpoint {dict(reference)!r:.200}, expected a kind of {_KINDS}")
    if kind == "beside":
        return folder / _MODEL
    if kind == "path":
        return pathlib.Path(os.path.normpath(folder.resolve() / name))
    if name not in files.embedded_names(_CONFIG):
        near = did_you_mean(name[:100], files.embedded_names(_CONFIG))
        raise ValueError(f"{folder / NAME} is of the embedded model {name!r:.100}, which this dnerf_jax has not{near}")
    return files.ASSETS / name


def _description(folder: pathlib.Path) -> dict[str, Any]:
    if not os.path.isfile(folder / NAME):
        what = "a checkpoint, not a scene" if os.path.isfile(folder / _CONFIG) else f"no scene: it has no {NAME}"
        found = f"is {what}" if os.path.isdir(folder) else "is a file" if os.path.exists(folder) else "does not exist"
        raise ValueError(f"{folder} {found}. Pass the folder of a scene, which invert and edit write")
    description = files.read_json(folder / NAME, "a scene")
    version = description.get("schema_version")
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise ValueError(
            f"{folder / NAME} has schema version {version!r:.50}; this dnerf_jax reads 1 to {SCHEMA_VERSION}. Upgrade"
            " dnerf_jax if the scene is newer, else copy it again"
        )
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(description.get(name), kind)]
    if wrong or not all(isinstance(value, str) for value in description["info"].values()):
        raise ValueError(f"{folder / NAME} is damaged: it lacks {wrong or 'notes that are text'}; copy the scene again")
    return description


def _camera(folder: pathlib.Path, content: Mapping[str, Any]) -> Camera:
    try:
        numbers = (np.asarray(content.get(name), np.float32) for name in ("cam2world", "intrinsics"))
        camera = Camera(*(jnp.asarray(x) for x in numbers))
        cameras.validate(camera)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / NAME} has no valid camera: {error}; copy the scene again") from error
    return camera


def _check_latents(latents: Mapping[str, np.ndarray], model: Model, source: str) -> None:
    """Raises ValueError unless these are the latents of a scene of this model."""
    config = model.generator.config
    ends = {"ws": (config.num_ws, config.w_dim), "z": (config.z_dim,)}
    if "ws" not in latents or set(latents) - set(ends):
        raise ValueError(f"{source} has the arrays {sorted(latents)}, expected ws, and z or not")
    for name, array in latents.items():
        if array.shape[array.ndim - len(ends[name]) :] != ends[name] or array.ndim < len(ends[name]) or not array.size:
            raise ValueError(f"{source} has {name} of shape {array.shape}, the generator's end in {ends[name]}")
        if not np.isfinite(array).all():
            raise ValueError(f"{source} has {name} that are not all finite")
    if "z" in latents and latents["z"].shape[:-1] != latents["ws"].shape[:-2]:
        raise ValueError(f"{source} has ws {latents['ws'].shape} and z {latents['z'].shape}: of different many scenes")
