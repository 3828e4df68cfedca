"""Batches from rendered shards of a world: random rays of identities, and whole views."""

from collections.abc import Iterable, Sequence

import jax
import numpy as np
from flax import struct

from dnerf_jax.models.articulated import Pose
from dnerf_jax.ops import cameras
from dnerf_jax.worlds import labelled
from dnerf_jax.worlds.shards import Shards

NEAR = 8  # rendered pixels within which a passing ray looks for a surface
TRIES = 12  # how many of them it looks at
DRAWN = 4  # pixels looked at for every ray that is kept
SKIPPED = 0.9  # of those with nothing but background around
JUMP = 0.03  # world units; distances that differ by more are of two surfaces


@struct.dataclass
class RayBatch:
    """Rays of several identities: z (B, Z), rays (B, N, 3), rgb (B, N, 3) in [0, 1], alpha and distance (B, N).

    guide: (B, N) where along the ray to look for density: its distance or, where it hits nothing, that of a surface
    which a ray at most NEAR rendered pixels away hits; 0 if there is none.
    shape: (B, S) of bodies, their own, which these views do not show; else None.
    """

    z: jax.Array
    rays: cameras.Rays
    rgb: jax.Array
    alpha: jax.Array
    distance: jax.Array
    guide: jax.Array
    shape: jax.Array | None = None


@struct.dataclass
class TrueViews:
    """B views as the world renders them: z (B, Z), camera (B), image (B, R, R, 3) uint8, alpha (B, R, R) uint8.

    distance: (B, R, R) along the ray in world units, 0 where empty. pose: (B) of bodies, else None.
    """

    z: np.ndarray
    camera: cameras.Camera
    image: np.ndarray
    alpha: np.ndarray
    distance: np.ndarray
    pose: Pose | None = None


def rays(
    shards: Shards,
    identities: Iterable[int],
    draws: np.random.Generator,
    count: int,
    grid: int,
    details: Sequence[int],
) -> RayBatch:
    """`count` random rays of every identity (B,), drawn from the NumPy generator `draws`.

    Few of them are far from anything, and four times their share show what is small in a face or lies beside it.
    What lies on both sides of an edge keeps its share: with less background beside a silhouette, all that is unsure
    there would come out opaque.

    grid: the rays are those of views of grid x grid pixels; what such a pixel shows is the mean of the rendered
        pixels within it, so that what is learned is smooth at the scale at which it will be rendered
    details: class ids; all rays near these are kept
    """
    views, resolution = shards[0]["alpha"].shape[:2]
    within = np.arange(resolution // grid)
    entries = [shards[identity] for identity in identities]
    view, row, column = _draw(entries, draws, count, views, grid, details)
    rows, columns = row[..., None, None] * len(within) + within[:, None], column[..., None, None] * len(within) + within

    def pick(name: str) -> np.ndarray:
        picked = [entry[name][view[i][:, None, None], rows[i], columns[i]] for i, entry in enumerate(entries)]
        return np.stack(picked).astype(np.float32)

    distance = _middle(pick("distance"))
    poses = np.stack([entry["cam2world"][view[i]] for i, entry in enumerate(entries)])
    uv = (np.stack([column, row], axis=-1).astype(np.float32) + 0.5) / grid
    return RayBatch(
        z=np.stack([entry["z"] for entry in entries]),
        rays=_rays_at(cameras.Camera(poses, np.broadcast_to(shards.intrinsics, (*poses.shape[:-2], 3, 3))), uv),
        rgb=pick("image").mean((2, 3)) / 255,
        alpha=pick("alpha").mean((2, 3)) / 255,
        distance=distance,
        guide=np.where(distance > 0, distance, _distance_nearby(entries, view, rows, columns, draws)),
        shape=np.stack([entry["shape"] for entry in entries]) if "shape" in entries[0] else None,
    )


def _draw(entries, draws, count, views, grid, details):
    """View, row and column, each (B, count): DRAWN times as many are drawn evenly, and the best of them are kept."""
    shape = (len(entries), DRAWN * count)
    view, row, column = draws.integers(views, size=shape), *draws.integers(grid, size=(2, *shape))
    middle = [(2 * x + 1) * entries[0]["alpha"].shape[-1] // (2 * grid) for x in (row, column)]
    around = _labels_around(entries, view, *middle)
    detail = np.isin(around, details).any(axis=-1)
    last = ~around.any(axis=-1) & (draws.random(shape) < SKIPPED)
    chosen = np.argsort(np.where(last, 2, ~detail), axis=1, kind="stable")[:, :count]
    return tuple(np.take_along_axis(x, chosen, axis=1) for x in (view, row, column))


def _labels_around(entries, view, row, column):
    """Label ids (B, M, 17) at pixels (B, M), and NEAR and half as far from them in eight directions."""
    last = entries[0]["mask"].shape[-1] - 1
    reach = (-NEAR, -NEAR // 2, 0, NEAR // 2, NEAR)
    steps = np.array([(i, j) for i in reach for j in reach if abs(i) == abs(j) or not i * j]).T
    rows, columns = (np.clip(x[..., None] + step, 0, last) for x, step in zip((row, column), steps, strict=True))
    return np.stack([entry["mask"][view[i][:, None], rows[i], columns[i]] for i, entry in enumerate(entries)])


def _middle(distance):
    """Distance (B, N) of pixels (B, N, k, k), 0 where empty: their mean, or the nearest at a depth discontinuity."""
    hit = distance > 0
    nearest = np.where(hit, distance, np.inf).min((2, 3))
    mean = distance.sum((2, 3)) / np.maximum(hit.sum((2, 3)), 1)
    middle = np.where(distance.max((2, 3)) - nearest < JUMP, mean, nearest)
    return np.where(hit.any((2, 3)), middle, 0).astype(np.float32)


def _distance_nearby(entries, view, rows, columns, draws):
    """Distance (B, N) of a surface seen within NEAR pixels of each pixel (B, N, k, k), 0 where TRIES draws miss."""
    shift = draws.integers(-NEAR, NEAR + 1, size=(2, *view.shape, TRIES))
    last = entries[0]["distance"].shape[-1] - 1
    row, column = np.clip(rows[:, :, 0] + shift[0], 0, last), np.clip(columns[:, :, 0, :1] + shift[1], 0, last)
    near = np.stack([entry["distance"][view[i][:, None], row[i], column[i]] for i, entry in enumerate(entries)])
    first = np.argmax(near > 0, axis=-1)[..., None]
    return np.take_along_axis(near, first, axis=-1)[..., 0].astype(np.float32)


def views(shards: Shards, identities: Iterable[int], numbers: Iterable[int]) -> TrueViews:
    """One view, by its number, of every identity."""
    entries = [(shards[identity], number) for identity, number in zip(identities, numbers, strict=True)]

    def stack(name: str) -> np.ndarray:
        return np.stack([np.asarray(entry[name][number]) for entry, number in entries])

    poses = stack("cam2world")
    camera = cameras.Camera(poses, np.broadcast_to(shards.intrinsics, (len(poses), 3, 3)))
    z = np.stack([entry["z"] for entry, _ in entries])
    facts = [entry for entry, _ in entries]
    return TrueViews(z, camera, stack("image"), stack("alpha"), stack("distance"), labelled.pose_of(facts))


_rays_at = jax.jit(cameras.rays_at)
