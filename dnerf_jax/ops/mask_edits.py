"""Edits of a mask by operations: a class grows, shrinks, moves, is scaled, becomes another, or is painted.

A mask is (R, R) ids of a label map, 255 where nothing is known. Lengths and places are in image sizes, u to the right
and v down, as cameras have them, so one edit serves every resolution: 0.01 is 2.56 pixels of 256. Operations are data:

    apply(mask, [Grow("nose", 0.02, only_over=("skin",))], label_map)

What an operation uncovers gets the nearest class beside the one that left; pixels of 255 are never taken over, nor do
they fill anything. `only_over` names the classes that may be covered; () is all.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from scipy import ndimage

from dnerf_jax.ops import regions
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import did_you_mean
from dnerf_jax.ops.ranges import Positive, Range

Length = Annotated[float, Range(above=0, most=1)]  # in image sizes
Way = Annotated[float, Range(least=-1, most=1)]
_STEPS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


@dataclasses.dataclass(frozen=True)
class Grow:
    """A class takes what is within `by` of it, or straight towards one side, without leaps over what it may not."""

    label: str
    by: Length
    only_over: tuple[str, ...] = ()
    towards: Literal["everywhere", "up", "down", "left", "right"] = "everywhere"


@dataclasses.dataclass(frozen=True)
class Shrink:
    """A class gives up what is within `by` of its edge; the image's own edge is none."""

    label: str
    by: Length


@dataclasses.dataclass(frozen=True)
class Move:
    """A class moves by (du, dv). Where it was, and what it passed over, becomes `trail`, or "" for the nearest class.

    bend: its ends, across the direction, stay where they are, as a lip's do when a mouth opens: each of its connected
    parts moves by 1 - t ** 2 of the way, t from -1 to 1 between the ends.
    """

    label: str
    du: Way
    dv: Way
    only_over: tuple[str, ...] = ()
    trail: str = ""
    bend: bool = False


@dataclasses.dataclass(frozen=True)
class Scale:
    """Each connected part of a class is scaled about its centre, across and down."""

    label: str
    across: Positive
    down: Positive
    only_over: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Swap:
    """A class becomes another, within a box (left, top, right, bottom) or everywhere."""

    label: str
    to: str
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Polygon:
    """A polygon ((u, v), ...) is painted, filled by the even-odd rule."""

    label: str
    points: tuple[tuple[float, float], ...]
    only_over: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Ellipse:
    """An ellipse around (u, v) with these radii across and down is painted."""

    label: str
    center: tuple[float, float]
    across: Positive
    down: Positive
    only_over: tuple[str, ...] = ()


Operation = Grow | Shrink | Move | Scale | Swap | Polygon | Ellipse
OPERATIONS: dict[str, type[Operation]] = {
    kind.__name__.lower(): kind for kind in (Grow, Shrink, Move, Scale, Swap, Polygon, Ellipse)
}


def apply(mask: np.ndarray, operations: Sequence[Operation], label_map: LabelMap) -> np.ndarray:
    """The mask (R, R), uint8, after these operations, one after the other; the given one stays.

    Raises ValueError, naming the operation: a class is not in the label map, or has no pixel to be edited, or nothing
    was changed by it.
    """
    edited = label_map.check(mask)
    if edited.ndim != 2 or edited.shape[0] != edited.shape[1]:
        raise ValueError(f"the mask has shape {edited.shape}, expected a square (R, R)")
    check(operations, label_map)
    for number, operation in enumerate(operations, 1):
        name, ids = f"operation {number}, {operation}", {n: i for i, n in enumerate(label_map.names)}
        if not isinstance(operation, Polygon | Ellipse) and not (edited == ids[operation.label]).any():
            raise ValueError(f"{name}: the mask has no pixel of {operation.label!r}, so there is nothing to edit")
        before, edited = edited, _RULES[type(operation)](edited, operation, ids)
        if (before == edited).all():
            raise ValueError(
                f"{name}: it changes nothing of this {len(mask)} x {len(mask)} mask: use larger numbers (they are in"
                " image sizes), or let it go over more classes"
            )
    return edited


def check(operations: Sequence[Operation], label_map: LabelMap) -> None:
    """Raises ValueError, with the near names, if operations name classes that are not in the label map."""
    for number, operation in enumerate(operations, 1):
        named = [operation.label, *getattr(operation, "only_over", ())]
        named += [name for name in (getattr(operation, "trail", ""), getattr(operation, "to", "")) if name]
        for name in named:
            if name not in label_map.names:
                near = did_you_mean(name, label_map.names)
                raise ValueError(f"operation {number}, {operation}: the label map has no class {name!r}{near}")


def labels_of(operations: Sequence[Operation], label_map: LabelMap) -> tuple[int, ...]:
    """The ids of the classes that operations edit: not those that only yield, or fill what is uncovered."""
    names = {name for one in operations for name in (one.label, getattr(one, "trail", ""), getattr(one, "to", ""))}
    return tuple(sorted(label_map.names.index(name) for name in names - {""}))


def region(
    before: np.ndarray,
    after: np.ndarray,
    *,
    labels: Sequence[int] | None = None,
    least: float = 0.0,
    dilate: float = 0.0,
) -> np.ndarray:
    """The paper's region of interest r (section 5.4), bool (R, R): where an edit may change the image.

    "The union region of the label region before and after the edit": every pixel that has one of the edited classes in
    either mask, and every pixel that changed.

    Args:
      labels: ids of the edited classes, those of `labels_of`. None is all classes that lost or gained pixels; so if a
        nose grew over skin, all skin is in the region, too. Where only the masks are known, `least` leaves such out.
      least: without labels, the share of a class's region (before and after) that must have changed.
      dilate: by how much the region is widened, in image sizes.

    Raises ValueError: the masks have different shapes, or are equal.
    """
    before, after = np.asarray(before), np.asarray(after)
    if before.shape != after.shape:
        raise ValueError(
            f"the masks before and after have shapes {before.shape} and {after.shape}, expected equal ones"
        )
    changed = before != after
    if not changed.any():
        raise ValueError("the masks before and after are equal: there is no edit")
    found = changed.copy()
    for label in np.union1d(before[changed], after[changed]) if labels is None else labels:
        union = (before == label) | (after == label)
        if labels is not None or (label != LabelMap.IGNORE and changed[union].mean() >= least):
            found |= union
    return regions.near(found, dilate * len(before)) if dilate else found


def _grown(mask: np.ndarray, operation: Grow, ids: dict[str, int]) -> np.ndarray:
    own, allowed, reach = (
        mask == ids[operation.label],
        _allowed(mask, operation.only_over, ids),
        operation.by * len(mask),
    )
    if operation.towards == "everywhere":
        own = regions.connected(own, allowed & regions.near(own, reach))
    else:
        for _ in range(round(reach)):
            own = own | (allowed & regions.shifted(own, *_STEPS[operation.towards]))
    return _painted(mask, own, ids[operation.label])


def _shrunk(mask: np.ndarray, operation: Shrink, ids: dict[str, int]) -> np.ndarray:
    own = mask == ids[operation.label]
    return _uncovered(mask, own & regions.near(~own, operation.by * len(mask)), ids[operation.label])


def _moved(mask: np.ndarray, operation: Move, ids: dict[str, int]) -> np.ndarray:
    own, label = mask == ids[operation.label], ids[operation.label]
    way = np.array([operation.dv, operation.du]) * len(mask)
    steps = max(round(np.abs(way).max()), 1)
    path = [np.zeros_like(own) for _ in range(steps + 1)]
    for here in regions.parts(own) if operation.bend else [own]:
        for i in range(steps + 1):
            path[i] |= regions.moved(here, *(way * i / steps), bend=operation.bend)
    allowed = _allowed(mask, operation.only_over, ids) | own
    placed = path[-1] & allowed
    if operation.trail:
        trail = functools.reduce(np.logical_or, path) & allowed & ~placed
        return _painted(_painted(mask, trail, ids[operation.trail]), placed, label)
    return _painted(_uncovered(mask, own & ~placed, label), placed, label)


def _scaled(mask: np.ndarray, operation: Scale, ids: dict[str, int]) -> np.ndarray:
    own, label = mask == ids[operation.label], ids[operation.label]
    scaled = np.zeros_like(own)
    for part in regions.parts(own):
        scaled |= regions.scaled(part, operation.down, operation.across)
    placed = scaled & (own | _allowed(mask, operation.only_over, ids))
    return _painted(_uncovered(mask, own & ~placed, label), placed, label)


def _swapped(mask: np.ndarray, operation: Swap, ids: dict[str, int]) -> np.ndarray:
    inside = regions.in_box(len(mask), operation.box) & (mask == ids[operation.label])
    return _painted(mask, inside, ids[operation.to])


def _polygon(mask: np.ndarray, operation: Polygon, ids: dict[str, int]) -> np.ndarray:
    inside = regions.in_polygon(len(mask), operation.points)
    return _painted(mask, inside & _allowed(mask, operation.only_over, ids), ids[operation.label])


def _ellipse(mask: np.ndarray, operation: Ellipse, ids: dict[str, int]) -> np.ndarray:
    inside = regions.in_ellipse(len(mask), operation.center, (operation.across, operation.down))
    return _painted(mask, inside & _allowed(mask, operation.only_over, ids), ids[operation.label])


_RULES: dict[type, Callable[[np.ndarray, Any, dict[str, int]], np.ndarray]] = {
    Grow: _grown,
    Shrink: _shrunk,
    Move: _moved,
    Scale: _scaled,
    Swap: _swapped,
    Polygon: _polygon,
    Ellipse: _ellipse,
}


def _allowed(mask: np.ndarray, only_over: Sequence[str], ids: dict[str, int]) -> np.ndarray:
    return np.isin(mask, [ids[name] for name in only_over]) if only_over else mask != LabelMap.IGNORE


def _painted(mask: np.ndarray, where: np.ndarray, label: int) -> np.ndarray:
    return np.where(where, np.uint8(label), mask)


def _uncovered(mask: np.ndarray, where: np.ndarray, label: int) -> np.ndarray:
    """The mask with the nearest other class, not ignore, where `label` has left."""
    others = (mask != label) & (mask != LabelMap.IGNORE)
    if not where.any() or not others.any():
        return mask
    nearest: Any = ndimage.distance_transform_edt(~others, return_distances=False, return_indices=True)
    return np.where(where, mask[tuple(nearest)], mask)
