"""Labelled point clouds, whatever they were made from: what they hold, how they are joined, how well two agree.

Positions are in the world frame and world units (of `cameras`). Clouds are NumPy arrays on the host; `points` makes
them of views, `io.ply` writes and reads them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import spatial

from dnerf_jax.ops import thinning
from dnerf_jax.ops.labels import LabelMap

_ARRAYS = ("points", "colors", "labels", "normals", "confidence")


@dataclasses.dataclass(frozen=True, eq=False)
class PointCloud:
    """N labelled and coloured points.

    points: (N, 3) float32, world frame.
    colors: (N, 3) uint8 RGB.
    labels: (N,) uint8 class ids, 255 where unknown.
    label_map: names and colours of the classes, if known.
    normals: (N, 3) float32, unit vectors out of the surface, if known.
    confidence: (N,) float32 in [0, 1], how sure the labels are, if known.

    Converts what it is given to these types. Raises ValueError on other shapes, on values that are not
    finite, on colours or labels that are no bytes, on confidence beyond its range.
    """

    points: np.ndarray
    colors: np.ndarray
    labels: np.ndarray
    label_map: LabelMap | None = None
    normals: np.ndarray | None = None
    confidence: np.ndarray | None = None

    def __post_init__(self) -> None:
        points, colors, labels = np.asarray(self.points), np.asarray(self.colors), np.asarray(self.labels)
        shapes, count = (points.shape, colors.shape, labels.shape), points.size // 3
        if shapes != ((count, 3), (count, 3), (count,)):
            raise ValueError(f"points, colors, labels have shapes {shapes}, expected (N, 3), (N, 3), (N,)")
        for name, values in (("colors", colors), ("labels", labels)):
            if values.dtype != np.uint8 and (
                values.dtype.kind not in "iu" or (values.size and not 0 <= values.min() <= values.max() <= 255)
            ):
                raise ValueError(f"{name} have type {values.dtype}, expected integers 0 to 255")
        if not np.isfinite(points).all():
            lost = int((~np.isfinite(points)).any(axis=-1).sum())
            raise ValueError(f"{lost} of {len(points)} points are not finite: drop the empty pixels first")
        for name, shape in (("normals", (count, 3)), ("confidence", (count,))):
            if (given := getattr(self, name)) is not None:
                values = np.asarray(given, np.float32)
                if values.shape != shape or not np.isfinite(values).all():
                    raise ValueError(f"{name} have shape {values.shape}, expected finite numbers {shape}")
                object.__setattr__(self, name, values)
        if self.confidence is not None and ((self.confidence < 0) | (self.confidence > 1)).any():
            spread = f"{self.confidence.min():.4g} to {self.confidence.max():.4g}"
            raise ValueError(f"confidence is {spread}, expected shares from 0 to 1")
        object.__setattr__(self, "points", points.astype(np.float32))
        object.__setattr__(self, "colors", colors.astype(np.uint8))
        object.__setattr__(self, "labels", labels.astype(np.uint8))

    def __repr__(self) -> str:
        named = "" if self.label_map is None else f", {self.label_map.num_classes} classes"
        known = "".join(f", {name}" for name in ("normals", "confidence") if getattr(self, name) is not None)
        return f"PointCloud({len(self.points):,} points{named}{known})"

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: Any) -> "PointCloud":
        """The points chosen by a mask, slice or integer array (N,), the label map kept."""
        known = [name for name in _ARRAYS if getattr(self, name) is not None]
        return dataclasses.replace(self, **{name: getattr(self, name)[index] for name in known})


def fuse(clouds: Sequence[PointCloud], *, voxel_size: float | None = None) -> PointCloud:
    """Joins clouds; with a voxel size, replaces the points of each occupied voxel by one.

    voxel_size: side of the cubes of a grid through the origin, world units. Position, colour and normal become the
    means of the voxel's points, the label the most frequent one (of equals, the smallest id; 255 only if no
    point has another), and the points are ordered by voxel. Confidence becomes the mean over the points that have a
    label, where those of another label than the chosen count as 0. Normals and confidence need all clouds to have them.

    Raises ValueError without clouds, on different label maps, or on a voxel size that is not positive or too
    small.
    """
    clouds = list(clouds)
    if not clouds:
        raise ValueError("there are no clouds to fuse: give at least one")
    label_maps = {cloud.label_map for cloud in clouds if cloud.label_map is not None}
    if len(label_maps) > 1:
        names = [label_map.names for label_map in label_maps]
        raise ValueError(f"the clouds have {len(names)} different label maps, expected one; their names: {names}")
    parts: dict[str, Any] = {}
    for name in _ARRAYS:
        columns = [getattr(cloud, name) for cloud in clouds]
        parts[name] = None if any(column is None for column in columns) else np.concatenate(columns)
    joined = PointCloud(**parts, label_map=next(iter(label_maps), None))
    if voxel_size is None:
        return joined
    group = thinning.voxels(joined.points, voxel_size)
    if not len(joined):
        return joined
    labels, (normals, confidence) = thinning.majority(group, joined.labels), (joined.normals, joined.confidence)
    if normals is not None:
        _, first = np.unique(group, return_index=True)
        normals = unit(thinning.means(group, normals), normals[first])
    if confidence is not None:
        known = joined.labels != LabelMap.IGNORE
        votes = np.stack([np.where(joined.labels == labels[group], confidence, 0) * known, known], axis=-1)
        sure, share = thinning.means(group, votes).T
        confidence = np.clip(sure / np.where(share > 0, share, 1), 0, 1)
    return PointCloud(
        thinning.means(group, joined.points),
        np.round(thinning.means(group, joined.colors)).astype(np.uint8),
        labels,
        joined.label_map,
        normals,
        confidence,
    )


def agreement(a: PointCloud, b: PointCloud, *, radius: float = 0.05) -> dict[str, float | None]:
    """Compares two clouds of one scene by nearest neighbours, from a to b and from b to a together.

    radius: world units; a point whose nearest neighbour is farther has no partner: the other cloud does not
    show it. Take it well above the distances expected, since the median cannot exceed it, and read the
    overlap beside the median.

    - "overlap": part of all points that have a partner.
    - "median_distance": median distance of partners, world units; None without partners.
    - "label_agreement": part of the partners with equal labels, among those where both are known (not 255);
      None if there are none.

    Raises ValueError if the radius is not positive.
    """
    if not radius > 0:
        raise ValueError(f"radius is {radius}, expected a positive distance in world units")
    parts = []
    for source, target in ((a, b), (b, a)):
        distance, index = spatial.cKDTree(target.points).query(source.points, distance_upper_bound=radius)
        found = np.isfinite(distance)
        parts.append((distance[found], source.labels[found], target.labels[index[found]]))
    distance, own, partner = (np.concatenate(part) for part in zip(*parts, strict=True))
    known = (own != LabelMap.IGNORE) & (partner != LabelMap.IGNORE)
    return {
        "median_distance": float(np.median(distance)) if distance.size else None,
        "label_agreement": float((own == partner)[known].mean()) if known.any() else None,
        "overlap": distance.size / max(len(a) + len(b), 1),
    }


def unit(vectors: np.ndarray, instead: np.ndarray) -> np.ndarray:
    """Vectors (N, 3) at unit length; where they have almost none, the others (N, 3)."""
    vectors = np.where(np.sum(vectors**2, axis=-1, keepdims=True) > 1e-8, vectors, instead)
    return vectors / np.maximum(np.sqrt(np.sum(vectors**2, axis=-1, keepdims=True)), 1e-30)
