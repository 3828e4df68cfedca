"""The identities of a dataset one after the other, for forms in which each is a scene, or an object, of its own."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dnerf_jax.factory import description, record
from dnerf_jax.factory.loading import Dataset
from dnerf_jax.factory.plan import range_of
from dnerf_jax.factory.writers import streaming
from dnerf_jax.factory.writers.streaming import View
from dnerf_jax.io import png
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.messages import some
from dnerf_jax.training import logs


@dataclasses.dataclass(frozen=True)
class Scene:
    """An identity as its views.

    Attributes:
      place: of its folder within the export: train/00000012.
      identity: its number.
      views: in order.
    """

    place: str
    identity: int
    views: tuple[View, ...]


@dataclasses.dataclass(frozen=True)
class Object:
    """An identity as a cloud or a mesh.

    Attributes:
      split: that it is in.
      identity: its number.
      data: the PLY file.
      source: what errors call it.
    """

    split: str
    identity: int
    data: bytes
    source: str

    @property
    def key(self) -> str:
        """The base name of its files: 00000012."""
        return record.key_of(self.identity)


def scenes(dataset: Dataset) -> Iterator[Scene]:
    """The views of every identity, split by split; tells in the terminal how far it is."""
    for identity, views in itertools.groupby(streaming.views(dataset), lambda view: int(view.own["identity"])):
        found = tuple(views)
        yield Scene(f"{found[0].own['split']}/{record.key_of(identity)}", identity, found)


def objects(dataset: Dataset, kind: str) -> Iterator[Object]:
    """The "points" or "mesh" of every identity, split by split; tells in the terminal how far it is."""
    names = splits(dataset)
    progress = logs.Progress(sum(len(range_of(dataset.plan, name)) for name in names), unit="object")
    done = 0
    for name in names:
        for identity in range_of(dataset.plan, name):
            source = f"{dataset.path}: {record.key_of(identity)}.{record.OBJECT_SUFFIX[kind]}"
            yield Object(name, identity, dataset.object(kind, identity), source)
            done += 1
            progress.update(done)


def camera_of(view: View) -> Camera:
    """The camera of a view."""
    matrices = (np.asarray(view.own[name], np.float32) for name in ("cam2world", "intrinsics"))
    return Camera(*matrices)  # type: ignore[arg-type]


def splits(dataset: Dataset) -> list[str]:
    """The splits that are exported."""
    return [name for name, _ in dataset.plan.splits] if dataset.split is None else [dataset.split]


def require(dataset: Dataset, *modalities: str) -> None:
    """Raises ValueError: the dataset lacks one of the modalities."""
    missing = [name for name in modalities if name not in dataset.plan.modalities]
    if missing:
        raise ValueError(
            f"{dataset.path} has no {some(missing)}, which this form needs, only {some(dataset.plan.modalities, 12)}: "
            f"make one with {some(missing)} among the modalities of its configuration"
        )


def write_label_map(dataset: Dataset, out: Path) -> None:
    """Writes labelmap.json, where the dataset has one."""
    if dataset.label_map is not None:
        png.save_label_map(out / description.LABEL_MAP, dataset.label_map)
