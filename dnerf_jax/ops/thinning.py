"""Fewer points of many: the voxels that points lie in, votes within groups, and points that lie far apart.

Notation: N points (N, 3), groups numbered from 0. All are NumPy functions of the input alone, ties included: what is
equally good comes in the order of the input.
"""

import numpy as np

from dnerf_jax.ops.labels import LabelMap


def voxels(points: np.ndarray, size: float) -> np.ndarray:
    """The voxels of points (N, 3), numbered by x, then y, then z, without gaps: int64 (N,).

    size: side of the cubes of a grid through the origin. Raises ValueError: it is not positive, or too small.
    """
    if not (np.isfinite(size) and size > 0):
        raise ValueError(f"voxel_size is {size}, expected a positive length in world units")
    if not len(points):
        return np.zeros(0, np.int64)
    cells = np.floor(points.astype(np.float64) / size)
    cells -= cells.min(axis=0)
    extent = cells.max(axis=0) + 1
    if np.prod(extent) >= 2.0**62:
        raise ValueError(f"voxel_size is {size}, too small for points that span {np.ptp(points, axis=0)}: enlarge it")
    x, y, z = cells.astype(np.int64).T
    return np.unique((x * int(extent[1]) + y) * int(extent[2]) + z, return_inverse=True)[1].reshape(-1)


def majority(group: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The most frequent label of each group, uint8; of equals the smallest, 255 only where it is alone.

    group: (N,) numbers of groups, none of which is empty. labels: (N,) ids, 0 to 255.
    """
    pairs, votes = np.unique(group * 256 + labels, return_counts=True)
    owner, label = pairs // 256, pairs % 256
    votes = np.where(label == LabelMap.IGNORE, 0, votes)
    begins = np.flatnonzero(np.diff(owner, prepend=-1))
    most = np.flatnonzero(votes == np.maximum.reduceat(votes, begins)[owner])
    return label[most[np.flatnonzero(np.diff(owner[most], prepend=-1))]].astype(np.uint8)


def means(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The means of values (N, C) in each group, float64: summed in the order of the input."""
    counts = np.bincount(group)
    sums = [np.bincount(group, weights=column) for column in values.astype(np.float64).T]
    return np.stack(sums, axis=-1) / counts[:, None]


def farthest(points: np.ndarray, count: int) -> np.ndarray:
    """Farthest-point sampling: the indices (n,) of at most `count` of points (N, 3), each as far as can be from those
    before it, so that any first of them are spread evenly too.

    It begins with the point that is lowest along the axis on which they extend farthest. The result is that of looking
    at all points at every step, but only those are looked at that are near enough to the last one to be affected:
    2,048 of 25,000 points take some 30 ms.
    """
    if not len(points):
        return np.zeros(0, np.int64)
    axis = int(np.argmax(np.ptp(points, axis=0)))
    order = np.argsort(points[:, axis], kind="stable")
    ordered = np.ascontiguousarray(points[order].astype(np.float32).T)
    place = ordered[axis]
    chosen = np.zeros(min(count, len(points)), np.int64)
    left = np.full(len(points), np.inf, np.float32)  # squared distance to the nearest chosen point
    last, reach = 0, np.float32(np.inf)
    for step in range(len(chosen)):
        chosen[step] = last
        # A point is affected if it is nearer to the last one than to any before, so within the largest such distance.
        low, high = place.searchsorted((place[last] - reach, place[last] + reach))
        offset = ordered[:, low:high] - ordered[:, last, None]
        np.minimum(left[low:high], np.square(offset, out=offset).sum(axis=0), out=left[low:high])
        left[last] = -1  # of points at one place each is chosen once
        last = int(left.argmax())
        reach = np.sqrt(np.maximum(left[last], 0)) * np.float32(1.0001)  # more than what is rounded
    return order[chosen]
