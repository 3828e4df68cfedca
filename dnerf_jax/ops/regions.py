"""Regions of an image, bool (R, R): widened, moved, scaled, drawn.

Rows run down, columns to the right. Distances are in pixels between their centres. Shapes that are drawn have places
in image sizes, (u, v), u to the right and v down: pixel (row i, column j) sees ((j + 0.5) / R, (i + 0.5) / R). All is
NumPy on the host.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

_EIGHT = np.ones((3, 3), bool)  # neighbours of a pixel, corners included


def near(region: np.ndarray, pixels: float) -> np.ndarray:
    """What is within so many pixels of a region, the region included; nothing is near to none."""
    return region if not region.any() else ndimage.distance_transform_edt(~region) <= pixels


def connected(region: np.ndarray, more: np.ndarray) -> np.ndarray:
    """A region with what of `more` is connected to it, by eight neighbours."""
    return ndimage.binary_propagation(region, _EIGHT, mask=region | more)


def parts(region: np.ndarray) -> list[np.ndarray]:
    """The connected parts of a region, by eight neighbours."""
    numbers, count = ndimage.label(region, _EIGHT)
    return [numbers == number for number in range(1, count + 1)]


def shifted(region: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A region so many rows further down and columns further right; what leaves the image is gone."""
    return ndimage.shift(region.astype(np.uint8), (rows, columns), order=0).astype(bool)


def moved(region: np.ndarray, rows: float, columns: float, *, bend: bool) -> np.ndarray:
    """A region after it went (rows, columns); bent, it went 1 - t ** 2 of it, t from -1 to 1 between its ends.

    Its ends are those across the way, which then stay where they are.
    """
    if not bend:
        return shifted(region, round(rows), round(columns))
    down, right = _places(region)
    across = (right * rows - down * columns) / max(np.hypot(rows, columns), 1e-9)  # stays what it is on the way
    ends = across[region].min(), across[region].max()
    t = (across - (ends[0] + ends[1]) / 2) / max((ends[1] - ends[0]) / 2, 0.5)
    share = np.clip(1 - t**2, 0, None)
    return _depth_at(region, down - share * rows, right - share * columns) > 0


def scaled(region: np.ndarray, down: float, across: float) -> np.ndarray:
    """A region scaled about its centre of mass."""
    rows, columns = _places(region)
    row, column = rows[region].mean(), columns[region].mean()
    return _depth_at(region, (rows - row) / down + row, (columns - column) / across + column) > 0


def in_box(resolution: int, box: Sequence[float]) -> np.ndarray:
    """The pixels in a box (left, top, right, bottom)."""
    u, v = _centers(resolution)
    return (u >= box[0]) & (u <= box[2]) & (v >= box[1]) & (v <= box[3])


def in_polygon(resolution: int, points: Sequence[Sequence[float]]) -> np.ndarray:
    """The pixels in a polygon of points (u, v), by the even-odd rule."""
    u, v = _centers(resolution)
    inside = np.zeros((resolution, resolution), bool)
    ends = np.array(points, np.float64).reshape(-1, 2)
    for (u0, v0), (u1, v1) in zip(ends, np.roll(ends, -1, axis=0), strict=True):
        if v0 != v1:  # whether the ray to the right crosses this side
            inside ^= ((v0 > v) != (v1 > v)) & (u < u0 + (v - v0) / (v1 - v0) * (u1 - u0))
    return inside


def in_ellipse(resolution: int, center: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    """The pixels in an ellipse around (u, v) with radii across and down."""
    u, v = _centers(resolution)
    return ((u - center[0]) / radii[0]) ** 2 + ((v - center[1]) / radii[1]) ** 2 <= 1


def _depth_at(region: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """How deep in a region places between its pixels are, in pixels, negative outside: smooth where edges are steps."""
    inside: Any = ndimage.distance_transform_edt(region)
    outside: Any = ndimage.distance_transform_edt(~region)
    far = -float(len(region))
    return ndimage.map_coordinates(inside - outside, (rows, columns), order=1, mode="constant", cval=far)


def _places(region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The row and the column of every pixel."""
    rows, columns = np.meshgrid(*map(np.arange, region.shape), indexing="ij")
    return rows, columns


def _centers(resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """u (1, R) and v (R, 1) of the pixels' centres."""
    centers = (np.arange(resolution) + 0.5) / resolution
    return centers[None, :], centers[:, None]
