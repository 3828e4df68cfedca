"""How consistent the views of a scene are: what warping by depth finds, and spatiotemporal line textures.

V views (V, H, W, ...), or the frames T of a video, show a still scene from cameras (V). With the scene's distance along
every ray, a pixel of one view can be found in another, and what the two say about it compared: of all pairs of views in
`confusion`, of each frame and the next in `warped_agreement`. The distance is in world units, infinite where a view is
empty (0 is taken for empty too, as files have it). A line texture (paper, figure S10) stacks the same row of every
frame: whatever is fixed in 3D draws smooth curves, what flickers is ragged.

Of what moves, the surface points themselves are followed from view to view: `sightings`, and `recalled` what their
labels come to.

The nearest pixel lies up to half a pixel beside the point, so at the borders of classes even exact labels disagree.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from dnerf_jax.ops import cameras, metrics, warping
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some

ANGLES = (10, 20, 40, 60)  # degrees, the bounds between ranges
REACH = 2.0  # pixels' widths, at its depth, within which a pixel shows a point that moves


def confusion(
    masks: ArrayLike,
    distance: ArrayLike,
    camera: cameras.Camera,
    num_classes: int,
    *,
    angles: Sequence[float] = ANGLES,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> np.ndarray:
    """Counts what two views call the surface points that both see: int64 (A, C, C), by the angle between the cameras.

    Each of the V views is compared with each other one: its labels are in the rows, those of the other view's nearest
    pixels in the columns. Counts of many scenes are added, and `shares` taken from the sum.

    Args:
      masks: (V, H, W) class ids; points that either view ignores (255) do not count.
      distance: (V, H, W) along the ray, in world units; infinite or 0 where empty.
      camera: the V cameras of one scene.
      num_classes: C.
      angles: degrees, ascending; A = len(angles) + 1. Pair by pair the angle between the optical axes, to a thousandth
        of a degree, counts from one bound up to below the next; the first are below all, the last beyond.
      pairs: numbers of the views to compare, those in the rows first; None is each with each other.

    Raises ValueError: shapes do not fit, cameras are none, or masks have ids that are no class.
    """
    masks = np.asarray(masks)
    if unknown := sorted(set(np.unique(masks).tolist()) - {*range(num_classes), LabelMap.IGNORE}):
        raise ValueError(f"masks have the ids [{some(unknown, 12)}], expected 0 to {num_classes - 1} or 255 (ignore)")
    if pairs is None:
        pairs = list(itertools.permutations(range(len(masks)), 2))
    axes = np.asarray(camera.spread().cam2world, np.float64)[:, :3, 2]
    counts = np.zeros((len(angles) + 1, num_classes, num_classes), np.int64)
    for pair, (here, there) in zip(pairs, _seen_twice(masks, distance, camera, pairs), strict=True):
        cosine = np.sum(axes[pair[0]] * axes[pair[1]])
        place = np.searchsorted(angles, np.round(np.degrees(np.arccos(np.clip(cosine, -1, 1))), 3), side="right")
        known = (here != LabelMap.IGNORE) & (there != LabelMap.IGNORE)
        both = here[known].astype(np.int64) * num_classes + there[known]
        counts[place] += np.bincount(both, minlength=num_classes**2).reshape(num_classes, num_classes)
    return counts


def shares(counts: np.ndarray, names: Sequence[str], *, angles: Sequence[float] = ANGLES) -> dict[str, Any]:
    """Turns the counts of `confusion` into shares in [0, 1], all plain Python numbers ready for JSON.

    - "agreement": the share of the points that both views call the same; None where nothing was compared.
    - "pixels": how many were compared.
    - "per_class": by name, of the points that one view gives the class, the share that the other gives it too; None for
      a class that occurs nowhere.
    - "by_angle": for each range of angles {"from", "to", "agreement", "pixels"}, in degrees.

    Raises ValueError if the counts do not fit names and angles.
    """
    counts = np.asarray(counts)
    if counts.shape != (expected := (len(angles) + 1, len(names), len(names))):
        raise ValueError(f"counts have shape {counts.shape}, expected {expected}: angles, and names twice")

    def share(same: np.ndarray, of: np.ndarray) -> float | None:
        return int(same) / int(of) if of else None

    both = counts.sum(axis=0)
    bounds = zip([0, *angles], [*angles, 180], counts, strict=True)
    return {
        "agreement": share(np.trace(both), both.sum()),
        "pixels": int(both.sum()),
        "per_class": {name: share(both[c, c], both[c].sum()) for c, name in enumerate(names)},
        "by_angle": [
            {"from": low, "to": high, "agreement": share(np.trace(of), of.sum()), "pixels": int(of.sum())}
            for low, high, of in bounds
        ],
    }


def describe(found: dict[str, Any], *, worst: int = 3) -> str:
    """A line for people about what `shares` found: over all, of the worst classes, and by angle where that is there.

    Without class 0, the background: surface is called that at outlines only, by few pixels.
    """
    if found["agreement"] is None:
        return "no point is seen by two views"
    classes = sorted((share, name) for name, share in list(found["per_class"].items())[1:] if share is not None)
    angles = [(of["from"], of["to"], of["agreement"]) for of in found.get("by_angle", []) if of["pixels"]]
    parts = [
        f"two views agree on the labels of {found['agreement']:.4f} of {found['pixels']:,} common points",
        "least on " + ", ".join(f"{name} {share:.3f}" for share, name in classes[:worst]),
    ]
    if angles:
        parts.append("at " + ", ".join(f"{low:g}-{high:g} degrees {share:.4f}" for low, high, share in angles))
    return "; ".join(parts)


def sightings(
    points: ArrayLike,
    canonical: ArrayLike,
    masks: ArrayLike,
    distance: ArrayLike,
    shown: ArrayLike,
    camera: cameras.Camera,
) -> np.ndarray:
    """What V views of something that moves between them call N of its surface points: uint8 (N, V), 255 where unseen.

    A view sees a point where the nearest pixel has its depth, by `warping.TOLERANCE`, and shows what is within REACH of
    it in the canonical world, which has the same scale: another limb that is as far away is not the point.

    Args:
      points: (V, N, 3) where they are in the world of each view, NaN where they have no place in it.
      canonical: (N, 3) where they are in the canonical one.
      masks: (V, H, W) class ids, 255 where unknown.
      distance: (V, H, W) along the ray, in world units; infinite or 0 where empty.
      shown: (V, H, W, 3) the canonical points of the pixels, NaN where there is none.
      camera: the V cameras.
    """
    matrices = warping.matrices(camera)
    masks, shown, canonical, points = (np.asarray(x) for x in (masks, shown, canonical, points))
    depth = warping.depth_along_axis(np.asarray(distance), matrices)
    found = np.full((len(canonical), len(masks)), LabelMap.IGNORE, np.uint8)
    for view, pose in enumerate(zip(*matrices, strict=True)):
        index, pixel, z = warping.find(points[view].astype(np.float64), pose, masks.shape[1:])
        apart = np.linalg.norm(shown[view].reshape(-1, 3)[pixel] - canonical[index], axis=-1)
        width = z / (pose[1][0, 0] * masks.shape[2])
        seen = warping.same_depth(depth[view].ravel()[pixel], z) & (apart < REACH * width)
        found[index[seen], view] = masks[view].ravel()[pixel[seen]]
    return found


def recalled(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts what each two views call the points that both see, of `sightings` (N, V): int64 (1, C, C), for `shares`.

    Both ways round, as `confusion` counts; with `angles=()`.
    """
    seen = _per_point(labels, num_classes)
    return (seen.T @ seen - np.diag(seen.sum(axis=0)))[None]


def usual(labels: np.ndarray, num_classes: int) -> float | None:
    """Of `sightings` (N, V), the share of those that have the label of most of their point's; None of none.

    Of points that are seen twice at least.
    """
    seen = _per_point(labels, num_classes)
    seen = seen[seen.sum(axis=1) > 1]
    return int(seen.max(axis=1).sum()) / int(seen.sum()) if len(seen) else None


def _per_point(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """How often each point (N,) is seen as each class: (N, C)."""
    ids = np.where(labels == LabelMap.IGNORE, num_classes, labels).astype(np.int64)
    of_point = ids + (num_classes + 1) * np.arange(len(ids))[:, None]
    counted = np.bincount(of_point.ravel(), minlength=len(ids) * (num_classes + 1))
    return counted.reshape(-1, num_classes + 1)[:, :-1]


def warped_agreement(masks: ArrayLike, distance: ArrayLike, camera: cameras.Camera) -> tuple[float, int]:
    """The share of pixels whose label is that of the same surface point in the next frame.

    Counted are pixels that hit a surface which the next frame sees too, compared with its nearest pixel.

    Args:
      masks: (T, H, W) class ids.
      distance: (T, H, W) exact distance along the ray, in world units; infinite or 0 where empty.
      camera: the T cameras.

    Returns:
      The share in [0, 1], NaN if no point is seen twice, and how many were compared.
    """
    here, there = _in_next(np.asarray(masks), distance, camera)
    return (float(np.mean(here == there)) if len(here) else float("nan")), len(here)


def warped_psnr(images: ArrayLike, distance: ArrayLike, camera: cameras.Camera, *, peak: float = 2.0) -> float:
    """PSNR in dB between what the pixels of a frame and the same surface points in the next one show.

    As `warped_agreement`, of images (T, H, W, C) in a range of width `peak`; NaN if no point is seen twice. The nearest
    pixel lies up to half a pixel beside the point, so even exact renders have a finite value; compare with theirs.
    """
    here, there = _in_next(np.asarray(images, np.float32), distance, camera)
    return float(metrics.psnr(here[None], there[None], peak=peak)) if len(here) else float("nan")


def line_texture(frames: ArrayLike, row: int) -> np.ndarray:
    """Row `row` of every frame (T, H, W, ...), one below the other: (T, W, ...)."""
    return np.asarray(frames)[:, row]


def _in_next(values: np.ndarray, distance: ArrayLike, camera: cameras.Camera) -> tuple[np.ndarray, np.ndarray]:
    """What all frames (T, H, W, ...) but the last show, and what the next one shows of the same points: (n, ...)."""
    nothing = (values[:0, 0, 0], values[:0, 0, 0])
    pairs = [nothing, *_seen_twice(values, distance, camera, itertools.pairwise(range(len(values))))]
    here, there = zip(*pairs, strict=True)
    return np.concatenate(here), np.concatenate(there)


def _seen_twice(
    values: np.ndarray, distance: ArrayLike, camera: cameras.Camera, pairs: Iterable[tuple[int, int]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each pair of views, the values (n, ...) of the first at pixels whose surface the second sees too, and those of
    its pixels there."""
    matrices = warping.matrices(camera)
    distance = np.asarray(distance)
    if distance.shape[:-2] != camera.batch_shape or values.shape[: distance.ndim] != distance.shape:
        raise ValueError(
            f"the views have shape {values.shape}, distance {distance.shape}, cameras {camera.batch_shape}: expected"
            " (V, H, W, ...), (V, H, W), (V,)"
        )
    depth = warping.depth_along_axis(distance, matrices)
    solid = np.isfinite(depth) & (depth > 0)
    points, poses = warping.lift_some(depth, matrices, solid), list(zip(*matrices, strict=True))
    flat, flat_depth = values.reshape(len(values), -1, *values.shape[3:]), depth.reshape(len(depth), -1)
    for first, second in pairs:
        index, pixel, z = warping.find(points[first], poses[second], distance.shape[-2:])
        visible = warping.same_depth(flat_depth[second, pixel], z)
        yield values[first][solid[first]][index[visible]], flat[second, pixel[visible]]
