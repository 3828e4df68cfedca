"""What people drew with a label tool: pictures with shapes, each of a class's name, painted one over the other.

    Picture(name, (H, W), shapes)     from a reader of a form: `cvat`, `labelme`, `label_studio`, `coco`, `label_pngs`
    paint(picture, id_of, ground)     the mask; whole or not at all

Nothing is painted before a picture's size is known to be right, so that no file can claim memory.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dnerf_jax.ops import outlines

Region = Callable[[tuple[int, int]], np.ndarray]
_VERTICES = 100_000  # of a polygon
_CORNERS = 720  # of what stands for an ellipse


@dataclasses.dataclass(frozen=True)
class Shape:
    """A region that was drawn.

    Attributes:
      label: the class's name in the tool.
      region: from the picture's size (H, W) to its pixels, bool (H, W). Raises ValueError: it is none.
      order: shapes of a higher one lie over others; of equals the later one.
    """

    label: str
    region: Region
    order: float = 0


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture and what was drawn on it.

    Attributes:
      name: of its file, with folders or without.
      size: (H, W) as the tool has it; None if its file does not say.
      without_area: what was drawn that has no pixels: points, lines, tags.
      void: pixels that nothing covers are "ignore" by the form's own rules.
      problem: why it cannot be read, or "".
    """

    name: str
    size: tuple[int, int] | None
    shapes: Sequence[Shape] = ()
    without_area: Sequence[str] = ()
    void: bool = False
    problem: str = ""


def paint(picture: Picture, id_of: Callable[[str], int], size: tuple[int, int], ground: int) -> np.ndarray:
    """The mask, uint8 (H, W), of a picture's shapes over a ground.

    Raises ValueError: the picture has another size, or a problem of its own; a name has no id (`id_of` says so); a
    shape is broken.
    """
    if picture.problem:
        raise ValueError(picture.problem)
    if picture.size not in (None, size):
        found = "{1} x {0}".format(*picture.size or (0, 0))
        raise ValueError(f"it is of {found} pixels, the view of {size[1]} x {size[0]}: export it as it was given out")
    ids = [id_of(shape.label) for shape in picture.shapes]
    mask = np.full(size, ground, np.uint8)
    for number in sorted(range(len(ids)), key=lambda number: picture.shapes[number].order):
        shape = picture.shapes[number]
        try:
            mask[shape.region(size)] = ids[number]
        except ValueError as error:
            raise ValueError(f"its shape {number + 1}, of {shape.label!r:.100}: {error}") from error
    return mask


def polygon(*rings: Any) -> Region:
    """The region of rings of points, pixels from the upper left corner; of several rings the union."""
    return lambda size: np.any([outlines.inside([points(ring, size)], size) for ring in rings], axis=0)


def points(ring: Any, size: tuple[int, int]) -> np.ndarray:
    """The points (V, 2) of a polygon. Raises ValueError: they are none, or too many, or far outside the picture."""
    if not isinstance(ring, list | tuple | np.ndarray) or len(ring) > _VERTICES:
        raise ValueError(f"a polygon is a list of at most {_VERTICES} points")
    try:
        array = np.array([[float(x), float(y)] for x, y in ring]).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a polygon has points that are no two numbers: {ring!r:.100}") from error
    if len(array) < 3:
        raise ValueError(f"a polygon has {len(array)} points, expected 3 or more")
    far = 2 * max(size)
    if not np.isfinite(array).all() or (np.abs(array) > far).any():
        raise ValueError(f"a polygon has the point {array[np.argmax(np.abs(array).max(1))].tolist()}, far outside")
    return array


def ellipse(center: Sequence[float], radii: Sequence[float], *, degrees: float = 0.0) -> Region:
    """The region of an ellipse, turned clockwise about its centre."""
    turns = np.arange(_CORNERS) * 2 * math.pi / _CORNERS
    corners = np.stack([np.cos(turns), np.sin(turns)], axis=1) * np.asarray(radii, float)
    return polygon(turned(corners, degrees) + np.asarray(center, float))


def box(left: float, top: float, right: float, bottom: float, *, degrees: float = 0.0, about: Any = None) -> Region:
    """The region of a box, turned clockwise about a point, its centre unless told."""
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
    about = corners.mean(0) if about is None else np.asarray(about, float)
    return polygon(turned(corners - about, degrees) + about)


def turned(offsets: np.ndarray, degrees: float) -> np.ndarray:
    """Offsets (V, 2) turned clockwise, as pictures have it."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return offsets @ np.array([[cos, sin], [-sin, cos]])


def placed(part: np.ndarray, left: int, top: int) -> Region:
    """The region of a part of a picture, bool (h, w), with its upper left corner there; all of it must be inside."""

    def region(size: tuple[int, int]) -> np.ndarray:
        height, width = part.shape
        if not (0 <= left <= size[1] - width and 0 <= top <= size[0] - height):
            raise ValueError(f"a mask of {width} x {height} at ({left}, {top}) is not inside")
        whole = np.zeros(size, bool)
        whole[top : top + height, left : left + width] = part
        return whole

    return region
