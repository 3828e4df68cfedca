"""A mesh seen from a camera: what the rays of a picture's pixels meet, and the picture that is put together from it.

Colours are averaged over samples x samples places of a pixel; labels and depths are those of its centre.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from dnerf_jax.worlds.orbits import ray_directions


@dataclasses.dataclass(frozen=True)
class View:
    """A rendered view; mask, depths and points are exact at the pixel centres, image and alpha average over the pixel.

    image: (H, W, 3) uint8 on white, alpha: (H, W) float32 in [0, 1], mask: (H, W) uint8 ids of the world's classes.
    depth_z, distance: (H, W) float32 world units along the optical axis and along the ray, 0 where empty.
    canonical: (H, W, 3) float32, of bodies alone: where the visible point lies on the mean body in its canonical pose,
        world units, 0 where empty.
    """

    image: np.ndarray
    mask: np.ndarray
    depth_z: np.ndarray
    distance: np.ndarray
    alpha: np.ndarray
    canonical: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Hits:
    """What n of a picture's rays met: the numbers of the rays, and of the triangles; weights (n, 3) of their corners.

    directions: (n, 3) of the rays, of length 1 along the optical axis. depth_z: (n,). points: (n, 3) world positions.
    """

    ray: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray
    directions: np.ndarray
    depth_z: np.ndarray
    points: np.ndarray

    def interpolate(self, faces: np.ndarray, values: np.ndarray, of: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Values (n, C) of vertices (N, C) at the points that were met, or at those of these numbers."""
        corners, weights = faces[self.triangle[of]], self.weights[of]
        first, second, third = (values[corners[:, k]] * weights[:, k : k + 1] for k in range(3))
        return first + second + third


def render(
    scene: Any,
    cam2world: np.ndarray,
    intrinsics: np.ndarray,
    resolution: int,
    samples: int,
    shade: Callable[[Hits], np.ndarray],
    label: Callable[[Hits], np.ndarray],
    place: Callable[[Hits], np.ndarray] | None = None,
) -> View:
    """Renders a view of resolution x resolution pixels with samples x samples colour samples per pixel.

    scene: Embree's, see `meshes.structure`. cam2world: (4, 4) OpenCV camera-to-world, intrinsics: (3, 3) divided by
    the image size; the centre of pixel (i, j) is ((j + 0.5) / resolution, (i + 0.5) / resolution).
    shade: display colours (n, 3) in [0, 1]. label: class ids (n,) uint8. place: canonical points (n, 3).

    Raises ValueError for other shapes and sizes.
    """
    cam2world = _checked(cam2world, (4, 4), "cam2world")
    intrinsics = _checked(intrinsics, (3, 3), "intrinsics")
    if resolution < 1 or samples < 1:
        raise ValueError(f"resolution and samples must be at least 1, got {resolution} and {samples}.")
    fine = resolution * samples
    directions = np.concatenate(
        [ray_directions(cam2world, intrinsics, fine), ray_directions(cam2world, intrinsics, resolution)]
    )
    origins = np.broadcast_to(cam2world[:3, 3].astype(np.float32), directions.shape)
    hit = scene.run(np.ascontiguousarray(origins), directions, output=True)
    at = np.flatnonzero(hit["primID"] >= 0)
    split = np.searchsorted(at, fine * fine)  # before: colour samples; after: pixel centres
    coloured, centres = (_hits(hit, origins, directions, part) for part in (at[:split], at[split:]))

    rgba = np.ones((fine * fine, 4), np.float32)
    rgba[:, 3] = 0
    rgba[coloured.ray, :3] = shade(coloured)
    rgba[coloured.ray, 3] = 1
    rgba = rgba.reshape(fine, fine, 4)
    rgba = sum(rgba[i::samples, j::samples] for i in range(samples) for j in range(samples))
    rgba = rgba / np.float32(samples**2)

    pixel, square = centres.ray - fine * fine, (resolution, resolution)
    depth_z = np.zeros(resolution**2, np.float32)
    depth_z[pixel] = centres.depth_z
    distance = depth_z * np.linalg.norm(directions[fine * fine :], axis=1)
    mask = np.zeros(resolution**2, np.uint8)
    mask[pixel] = label(centres)
    canonical = None
    if place is not None:
        canonical = np.zeros((resolution**2, 3), np.float32)
        canonical[pixel] = place(centres)
    return View(
        image=(rgba[..., :3] * 255 + 0.5).astype(np.uint8),
        mask=mask.reshape(square),
        depth_z=depth_z.reshape(square),
        distance=distance.reshape(square),
        alpha=rgba[..., 3],
        canonical=None if canonical is None else canonical.reshape(*square, 3),
    )


def _hits(hit, origins, directions, at):
    u, v, depth = hit["u"][at], hit["v"][at], hit["tfar"][at]
    weights = np.stack([1 - u - v, u, v], axis=1)
    return Hits(at, hit["primID"][at], weights, directions[at], depth, origins[at] + depth[:, None] * directions[at])


def _checked(matrix, shape, name):
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != shape or not np.isfinite(matrix).all():
        raise ValueError(
            f"{name}: expected finite numbers of shape {shape}, got shape {matrix.shape}. Render one view at a time."
        )
    return matrix
