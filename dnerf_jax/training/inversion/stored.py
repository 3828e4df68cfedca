"""Finished stages on the disk, so that an inversion which was stopped goes on after the last of them.

stages/start.npz, z.npz, ...    the subject, losses, seconds and scores of a stage, arrays by their names
"""

import os
import pathlib
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from dnerf_jax.io import arrays, files
from dnerf_jax.ops.orbiting import Orbit
from dnerf_jax.training.inversion.stages import Outcome
from dnerf_jax.training.inversion.subject import Subject

FOLDER = "stages"
_ORBIT = tuple(Orbit.__dataclass_fields__)


def save(out: str | os.PathLike, outcome: Outcome) -> None:
    """Writes what a stage left into the folder `out`, whole or not at all."""
    subject = outcome.subject
    tree = {
        "latent": {name: getattr(subject, name) for name in ("z", "ws") if getattr(subject, name) is not None},
        "orbit": {name: getattr(subject.orbit, name) for name in _ORBIT},
        "scores": outcome.scores,
        "stage": {"losses": outcome.losses, "seconds": outcome.seconds, "kept": int(outcome.kept)},
    }
    if subject.weights is not None:
        tree["weights"] = subject.weights
    flat = {name: np.asarray(value) for name, value in traverse_util.flatten_dict(tree, sep="/").items()}
    with files.atomic_file(_file(out, outcome.stage)) as file, open(file, "wb") as handle:
        np.savez(handle, **flat)  # type: ignore[arg-type]


def load(out: str | os.PathLike, names: Sequence[str]) -> list[Outcome]:
    """The stages of these names that are in the folder `out`, up to the first that is not there.

    Raises ValueError: a file is damaged.
    """
    found = []
    for name in names:
        if not _file(out, name).exists():
            break
        found.append(_load(_file(out, name), name))
    return found


def _load(path: pathlib.Path, name: str) -> Outcome:
    tree = traverse_util.unflatten_dict(arrays.load_arrays(path), sep="/")
    try:
        orbit = Orbit(**{field: jnp.asarray(tree["orbit"][field]) for field in _ORBIT})
        latent = {field: jnp.asarray(value) for field, value in tree["latent"].items()}
        subject = Subject(latent.get("z"), latent.get("ws"), orbit, tree.get("weights"))
        scores = {field: float(value) for field, value in tree["scores"].items()}
        stage = tree["stage"]
        losses = tuple(stage["losses"].tolist())
        return Outcome(name, subject, losses, float(stage["seconds"]), scores, bool(stage["kept"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} lacks {error}, expected what a stage left: remove it, and it is done again"
        ) from error


def _file(out: str | os.PathLike, name: str) -> pathlib.Path:
    return pathlib.Path(out) / FOLDER / f"{name}.npz"
