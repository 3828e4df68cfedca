"""Identities of a dataset rendered again, from the latents and cameras that are stored with them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dnerf_jax.factory import description, draws, poses, provenance, record, render, shards
from dnerf_jax.factory.checks.contents import Draw
from dnerf_jax.factory.description import Description
from dnerf_jax.factory.plan import LABELS, Plan, Shard
from dnerf_jax.factory.poses import Frames
from dnerf_jax.factory.render import Rendered
from dnerf_jax.factory.runs import engines
from dnerf_jax.factory.shards import FOLDERS, VIEWS
from dnerf_jax.io import checkpoints, files
from dnerf_jax.models.model import Model
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.training import process


@dataclasses.dataclass(frozen=True)
class Stored:
    """An identity out of the files of a dataset: the files of its views, by suffix, and of its objects, by kind.

    samples: what the sidecar says of the views. z (z_dim,), camera (V,), frames (V,): what these say themselves, of
    frames where there are poses.
    """

    identity: int
    attempt: int
    samples: Sequence[Mapping[str, Any]]
    views: Sequence[Mapping[str, bytes]]
    objects: Mapping[str, bytes]
    z: np.ndarray
    camera: Camera
    frames: tuple[int, ...] | None = None


def require_generator(read: Description, model: Model, source: Path) -> None:
    """Raises ValueError: the latents of a dataset are not of this generator."""
    expected = read.checkpoint.get("fingerprint")
    if expected != model.fingerprint:
        raise ValueError(
            f"{source} is of another generator than this checkpoint's: its fingerprint is {expected!r:.50}, the "
            f"checkpoint's {model.fingerprint!r}. Name the one that made it: {read.checkpoint.get('origin')!r:.200}"
        )


def require_checkpoint(read: Description, model: Model, source: Path) -> None:
    """Raises ValueError: a dataset is not of this generator, or has labels of another branch."""
    require_generator(read, model, source)
    expected, found = (origin.get("semantic_fingerprint") for origin in (read.checkpoint, provenance.origin(model)))
    if expected != found and any(name in LABELS for name in read.plan.modalities):
        raise ValueError(
            f"{source} has labels of another semantic branch than this checkpoint's, though the generator is the same: "
            f"its fingerprint is {expected!r:.50}, the checkpoint's {found!r}. Name the checkpoint of its labels, or "
            "give it this one's by dnerf_jax.relabel"
        )


def drawn(out: Path, checkpoint: str) -> Draw | None:
    """What the plan of a dataset draws for its model; None where the plan cannot be read, which others look at.

    Comes before JAX does anything. Raises ValueError: the dataset is of another model.
    """
    process.choose_deterministic()
    model = checkpoints.load(checkpoint)
    try:
        read = description.read(out)
    except ValueError:
        return None
    require_checkpoint(read, model, out)
    return functools.partial(draws.draw, read.plan, model.generator.config)


def in_a_worker(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns where datasets are made: on a CPU in a process of one thread. Raises what it raised."""
    process.choose_deterministic()
    if jax.default_backend() == "cpu":
        return engines.in_a_worker(function, *arguments)
    return function(*arguments)


def read_identity(out: Path, made: Plan, sidecars: Mapping[str, Mapping[str, Any]], place: int) -> Stored:
    """The identity at a place of a shard, whose sidecars are given by folder. Raises ValueError: files are damaged."""
    of_views = slice(place * made.views_per_identity, (place + 1) * made.views_per_identity)
    found: dict[str, list[dict[str, bytes]]] = {}
    for folder, sidecar in sidecars.items():
        samples = sidecar["samples"][of_views if folder == VIEWS else slice(place, place + 1)]
        with open(shards.tar_path(out, sidecar["shard"], folder), "rb") as file:
            found[folder] = [shards.read_members(file, sample) for sample in samples]
    samples = sidecars[VIEWS]["samples"][of_views]
    objects = {kind: next(iter(found[place][0].values())) for kind, place in FOLDERS.items() if place in found}
    own = [files.parse_json(view[record.JSON].decode()) for view in found[VIEWS]]
    z, *matrices = (np.asarray([view[name] for view in own], np.float32) for name in ("z", "cam2world", "intrinsics"))
    frames = tuple(view.get("pose", -1) for view in own) if "pose" in own[0] else None
    place_of = own[0]["identity"], own[0]["attempt"]
    return Stored(*place_of, samples, found[VIEWS], objects, z[0], Camera(*matrices), frames)


def poses_of(read: Description, model: Model, source: Path) -> Frames | None:
    """The poses of a dataset, for this model. Raises ValueError as `poses.read`."""
    config = model.generator.config.articulation
    return poses.read(source, config, read.poses_fingerprint) if read.num_poses and config is not None else None


def render_again(made: Plan, model: Model, group: Sequence[Stored], frames: Frames | None = None) -> list[Rendered]:
    """Renders a group of a shard, as it was rendered first, from what is stored of it. frames: the dataset's poses."""
    padded = [*group, *[group[-1]] * (made.batch - len(group))]
    camera = jax.tree.map(lambda *parts: np.stack(parts), *(stored.camera for stored in padded))
    z = np.stack([stored.z for stored in padded])
    places = [stored.identity for stored in group], [stored.attempt for stored in group]
    numbers = (
        None if frames is None else np.asarray([stored.frames or (-1,) * made.views_per_identity for stored in padded])
    )
    return render.rerender(made, model, *places, z, camera, frames, numbers)


def read_sidecars(out: Path, made: Plan, shard: Shard) -> dict[str, dict[str, Any]]:
    """The sidecars of a shard, by folder. Raises ValueError: one is missing or damaged."""
    return {folder: shards.read_sidecar(out, shard.name, folder) for folder in shards.folders(made)}
