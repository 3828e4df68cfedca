"""Batches from rendered shards of the heads world: random rays of identities, and whole views."""

import jax
import numpy as np
from flax import struct

from dnerf_jax import cameras

NEAR = 5  # pixels
TRIES = 12


@struct.dataclass
class RayBatch:
    """Rays of several identities: z (B, Z), rays (B, N, 3), rgb (B, N, 3) in [0, 1], alpha and distance (B, N).

    guide: (B, N) where along the ray to look for density: its distance or, where it hits nothing, that of a surface
    which a ray at most NEAR pixels away hits; 0 if there is none.
    """

    z: jax.Array
    rays: cameras.Rays
    rgb: jax.Array
    alpha: jax.Array
    distance: jax.Array
    guide: jax.Array


def rays(shards, identities, draws, count):
    """`count` random pixels of random views of every identity (B,), drawn from the NumPy generator `draws`."""
    views, resolution = shards[0]["alpha"].shape[:2]
    shape = (len(identities), count)
    view, row, column = draws.integers(views, size=shape), *draws.integers(resolution, size=(2, *shape))
    entries = [shards[identity] for identity in identities]
    pick = lambda name: np.stack(  # noqa: E731
        [entry[name][view[i], row[i], column[i]] for i, entry in enumerate(entries)]
    )
    distance = pick("distance").astype(np.float32)
    poses = np.stack([entry["cam2world"][view[i]] for i, entry in enumerate(entries)])
    uv = (np.stack([column, row], axis=-1).astype(np.float32) + 0.5) / resolution
    return RayBatch(
        z=np.stack([entry["z"] for entry in entries]),
        rays=_rays_at(cameras.Camera(poses, np.broadcast_to(shards.intrinsics, poses.shape[:-2] + (3, 3))), uv),
        rgb=pick("image").astype(np.float32) / 255,
        alpha=pick("alpha").astype(np.float32) / 255,
        distance=distance,
        guide=np.where(distance > 0, distance, _distance_nearby(entries, view, row, column, draws)),
    )


def _distance_nearby(entries, view, row, column, draws):
    """Distance (B, N) of a surface seen within NEAR pixels of each pixel (B, N), 0 where TRIES draws find none."""
    shift = draws.integers(-NEAR, NEAR + 1, size=(2, *row.shape, TRIES))
    last = entries[0]["distance"].shape[-1] - 1
    row, column = (np.clip(x[..., None] + s, 0, last) for x, s in zip((row, column), shift, strict=True))
    near = np.stack([entry["distance"][view[i][:, None], row[i], column[i]] for i, entry in enumerate(entries)])
    first = np.argmax(near > 0, axis=-1)[..., None]
    return np.take_along_axis(near, first, axis=-1)[..., 0].astype(np.float32)


def views(shards, identities, numbers):
    """z, camera, image, alpha and distance of one view, by its number, of every identity."""
    entries = [(shards[identity], number) for identity, number in zip(identities, numbers, strict=True)]
    stack = lambda name: np.stack([np.asarray(entry[name][number]) for entry, number in entries])  # noqa: E731
    poses = stack("cam2world")
    camera = cameras.Camera(poses, np.broadcast_to(shards.intrinsics, (len(poses), 3, 3)))
    return np.stack([entry["z"] for entry, _ in entries]), camera, stack("image"), stack("alpha"), stack("distance")


_rays_at = jax.jit(cameras.rays_at)
