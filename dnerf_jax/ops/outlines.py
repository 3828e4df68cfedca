"""Regions of pixels as polygons and back, without antialiasing and without loss.

Coordinates are those of pixel edges: x to the right, y down, (0, 0) the upper left corner of the picture, and pixel
(column, row) is the square from (column, row) to (column + 1, row + 1). A pixel is in a polygon if its centre is
(even-odd rule; of a centre on an edge the pixel to its left and above is not). A ring is (V, 2), closed without saying.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy import ndimage

_AT_ONCE = 4096  # edges


def inside(rings: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """The pixels (H, W) whose centres lie in an odd number of rings, bool; what lies outside the picture is cut off.

    size: H, W. Raises ValueError: a ring is not (V, 2), or has numbers that are not finite.
    """
    height, width = size
    flips = np.zeros(height * (width + 1), np.int64)
    for ring in rings:
        ring = np.asarray(ring, np.float64)
        if ring.ndim != 2 or ring.shape[1] != 2 or not np.isfinite(ring).all():
            raise ValueError(f"a polygon has the shape {ring.shape}, expected (V, 2) finite numbers")
        start, end = ring, np.roll(ring, -1, axis=0)
        for first in range(0, len(ring), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            flips += _crossings(start[part], end[part], height, width)
    return (np.cumsum(flips.reshape(height, width + 1), axis=1)[:, :width] % 2).astype(bool)


def _crossings(start: np.ndarray, end: np.ndarray, height: int, width: int) -> np.ndarray:
    """How many of the edges cross every row's centre line just left of a pixel's centre, (height * (width + 1),)."""
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    # The rows whose centres c have low <= c < high, so that a vertex on a centre line counts once.
    top = np.clip(np.ceil(low - 0.5), 0, height).astype(np.int64)
    count = np.maximum(np.clip(np.ceil(high - 0.5), 0, height).astype(np.int64) - top, 0)
    edge = np.repeat(np.arange(len(start)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + top[edge]
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    x = x0 + (row + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    return np.bincount(row * (width + 1) + column, minlength=height * (width + 1))


def layers(mask: np.ndarray, ground: int) -> Iterator[tuple[int, np.ndarray]]:
    """The ids and rings that, filled one after the other over a picture of the id `ground`, give a mask (H, W) exactly.

    Each ring is the outer edge of pixels of one id that touch along edges; what lies in its holes comes later. Pixels
    that have their id already by then have no ring of their own.
    """
    regions = [region for index in np.unique(mask) for region in _regions(mask == index, int(index))]
    canvas = np.full(mask.shape, ground, mask.dtype)
    for index, place, filled in sorted(regions, key=lambda entry: -int(entry[2].sum())):
        here = canvas[place]
        if (here[filled] != index).any():
            here[filled] = index
            yield index, _outline(filled) + np.array([place[1].start, place[0].start])


def _regions(region: np.ndarray, index: int) -> Iterable[tuple[int, tuple[slice, slice], np.ndarray]]:
    """The connected parts of a region: the id, a box, and the part with its holes filled in the box."""
    parts, _ = ndimage.label(region)
    for number, place in enumerate(ndimage.find_objects(parts), 1):
        yield index, place, ndimage.binary_fill_holes(parts[place] == number)


def _outline(region: np.ndarray) -> np.ndarray:
    """The corners (V, 2) of the edge of a region (H, W) that is connected along edges and has no holes; clockwise."""
    padded = np.pad(region, 1)
    after: dict[tuple[int, int], tuple[int, int]] = {}
    # Of every pixel the sides that it shares with none: the top from left to right, the right one down, and so on.
    for (dy, dx), (from_x, from_y), (to_x, to_y) in (
        ((-1, 0), (0, 0), (1, 0)),
        ((0, 1), (1, 0), (1, 1)),
        ((1, 0), (1, 1), (0, 1)),
        ((0, -1), (0, 1), (0, 0)),
    ):
        rows, columns = np.nonzero(region & ~padded[1 + dy : 1 + dy + len(region), 1 + dx : 1 + dx + region.shape[1]])
        for x, y in zip(columns.tolist(), rows.tolist(), strict=True):
            after[x + from_x, y + from_y] = (x + to_x, y + to_y)
    start = min(after, key=lambda point: point[::-1])
    ring = [start]
    while (following := after[ring[-1]]) != start:
        ring.append(following)
    corners = np.array(ring)
    before, behind = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    return corners[(before != behind).any(1)]
