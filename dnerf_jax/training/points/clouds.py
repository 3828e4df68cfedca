"""Labelled clouds to learn from or to be scored on: those of a dataset, or a folder of PLY files.

All have the same number of points, chosen as `point_segmenters.chosen` says, so that all fit in two arrays, which take
25 kB for a cloud of 2,048 points.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from dnerf_jax.factory import description, loading
from dnerf_jax.factory.plan import range_of
from dnerf_jax.io import ply
from dnerf_jax.models.point_segmenters import chosen
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.points import PointCloud

SUFFIX = ".ply"


@dataclasses.dataclass(frozen=True)
class Clouds:
    """N clouds of P points: points (N, P, 3) float32, labels (N, P) uint8 with 255 = unknown, and what ids mean."""

    points: np.ndarray
    labels: np.ndarray
    label_map: LabelMap

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: slice | np.ndarray) -> "Clouds":
        """Some of the clouds."""
        return Clouds(self.points[index], self.labels[index], self.label_map)


def load(path: str | Path, count: int, *, split: str = "") -> Clouds:
    """The clouds of a dataset's split, or of all *.ply of a folder in the order of their names, of `count` points each.

    Raises ValueError: there are none, a file is damaged, or clouds have no classes, or others than the first.
    """
    folder = Path(path)
    if (folder / description.NAME).is_file():
        data = loading.load(folder, split=split, only=())
        found = (
            (f"identity {i} of {folder}", ply.decode_cloud(data.object("points", i), source=str(folder)))
            for i in range_of(data.plan, split)
        )
        return _stacked(found, count, str(folder))
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise ValueError(f"{folder} is no dataset and has no *{SUFFIX}: name a folder that dnerf_jax.generate made")
    return _stacked(((str(file), ply.load_cloud(file)) for file in files), count, str(folder))


def joined(parts: Sequence[Clouds]) -> Clouds:
    """All clouds of some, one after the other. Raises ValueError: their classes differ."""
    for part in parts:
        if part.label_map.names != parts[0].label_map.names:
            raise ValueError(
                f"clouds have the classes {', '.join(part.label_map.names)} and others "
                f"{', '.join(parts[0].label_map.names)}: expected the same, in one order"
            )
    points, labels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("points", "labels"))
    return Clouds(points, labels, parts[0].label_map)


def _stacked(found: Iterable[tuple[str, PointCloud]], count: int, source: str) -> Clouds:
    parts = []
    for name, cloud in found:
        if cloud.label_map is None:
            raise ValueError(f"{name} does not say what its labels mean: write it with a label map")
        cloud.label_map.check(np.setdiff1d(cloud.labels, LabelMap.IGNORE), f"{name}: its labels")
        some = cloud[chosen(cloud.points, count)]
        parts.append(Clouds(some.points[None], some.labels[None], cloud.label_map))
    if not parts:
        raise ValueError(f"{source} has no clouds in this split: choose another")
    return joined(parts)
