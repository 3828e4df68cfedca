"""Surface points of one view found in another: back-projection and projection, in NumPy and float64.

Notation: V views of H x W pixels. depth_z (V, H, W) is the depth along the cameras' axes, infinite where empty (0 is
taken for empty too, as files have it). Lengths are world units, the frame that of `cameras`.

All is arithmetic element by element: no matrix product, whose sums a library may order as it likes, and nothing is
compiled, so the same input gives the same bits on every machine.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from dnerf_jax.ops import cameras

# Relative to depth: by more than this, a point is behind what another view sees, and hidden there, or before it.
TOLERANCE = 0.01

Matrices = tuple[Any, Any]  # cam2world (..., 4, 4) and intrinsics (..., 3, 3) of cameras


def matrices(camera: cameras.Camera) -> Matrices:
    """The matrices of cameras (...), float64. Raises ValueError: one is none that `cameras.validate` accepts."""
    camera = camera.spread()
    cameras.validate(camera)
    return np.asarray(camera.cam2world, np.float64), np.asarray(camera.intrinsics, np.float64)


def lift(depth_z: Any, camera: Matrices, *, xp: ModuleType = np) -> Any:
    """The world points (..., H, W, 3) of pixels of depth (..., H, W); the cameras' centres where empty.

    xp: the module whose arrays these are, NumPy or jax.numpy.
    """
    x, y = _plane(depth_z.shape[-2:], camera, xp)
    z = xp.where(xp.isfinite(depth_z) & (depth_z > 0), depth_z, 0.0)
    return xp.stack(_placed(camera[0][..., None, None, :, :], x * z, y * z, z), axis=-1)


def lift_some(depth_z: np.ndarray, camera: Matrices, kept: np.ndarray) -> list[np.ndarray]:
    """Of each of V views, the world points (n, 3) of the pixels that are kept (V, H, W), as `lift` has them."""
    lifted = []
    for depth, keep, pose, k in zip(depth_z, kept, *camera, strict=True):
        x, y = (np.broadcast_to(part, keep.shape)[keep] for part in _plane(keep.shape, (pose, k), np))
        z = depth[keep].astype(np.float64)
        lifted.append(np.stack(_placed(pose, x * z, y * z, z), axis=-1))
    return lifted


def depth_along_axis(distance: np.ndarray, camera: Matrices) -> np.ndarray:
    """depth_z of distances (..., H, W) along the rays; what is infinite or 0 stays so."""
    x, y = _plane(distance.shape[-2:], camera, np)
    return distance / np.sqrt(x * x + y * y + 1)


def find(points: np.ndarray, camera: Matrices, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where one camera sees world points (N, 3): the numbers of those in its picture, their pixels, their depths.

    size: (H, W) of the picture. Pixels are the nearest, as indices into the flat picture. All are (n,).
    """
    pose, k = camera
    offset = [column - pose[i, 3] for i, column in enumerate(points.T)]
    x, y, z = (pose[0, j] * offset[0] + pose[1, j] * offset[1] + pose[2, j] * offset[2] for j in range(3))
    ahead = z > 0
    z = np.where(ahead, z, 1.0)
    column = np.floor(((k[0, 0] * x + k[0, 1] * y) / z + k[0, 2]) * size[1])
    row = np.floor((k[1, 1] * y / z + k[1, 2]) * size[0])
    inside = np.flatnonzero(ahead & (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0]))
    return inside, (row[inside] * size[1] + column[inside]).astype(np.int64), z[inside]


def same_depth(seen: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Whether a view that sees depths (n,) at some pixels sees the points of depths z (n,) there, by TOLERANCE.

    Empty pixels, of infinite or no depth, show no point.
    """
    return np.abs(np.where(seen > 0, seen, np.inf) - z) < TOLERANCE * z


def see_through(
    points: Sequence[np.ndarray], depth_z: np.ndarray, camera: Matrices, *, tolerance: float = TOLERANCE
) -> list[np.ndarray]:
    """Which surface points of each of V views other views look through: these float before what is seen there.

    A view contradicts a point that is nearer to it, by more than `tolerance` of its depth, than all that it sees
    within a pixel around; where it sees nothing, that is infinitely far. Points that it cannot see because they are
    hidden or outside its picture, it does not contradict. One view that contradicts is enough.

    points: of each view (n, 3), as from `lift_some`; the result is (n,) for each. depth_z: (V, H, W).
    """
    size, poses = depth_z.shape[-2:], list(zip(*camera, strict=True))
    nearest = around(np.where(depth_z > 0, depth_z, np.inf), np.minimum).reshape(len(depth_z), -1)
    found = [np.zeros(len(mine), bool) for mine in points]
    for view, mine in enumerate(points):
        for other in range(len(points)):
            if other != view:
                index, pixel, z = find(mine, poses[other], size)
                found[view][index[z * (1 + tolerance) < nearest[other, pixel]]] = True
    return found


def around(values: np.ndarray, extreme: np.ufunc) -> np.ndarray:
    """The extreme, `np.minimum` or `np.maximum`, of the 3 x 3 pixels around each of pictures (..., H, W)."""
    for axis in (-2, -1):
        wider = values.copy()
        old, new = np.moveaxis(values, axis, 0), np.moveaxis(wider, axis, 0)
        extreme(new[1:], old[:-1], out=new[1:])
        extreme(new[:-1], old[1:], out=new[:-1])
        values = wider
    return values


def _plane(size: tuple[int, ...], camera: Matrices, xp: ModuleType) -> tuple[Any, Any]:
    """Where the rays of pixels meet the plane at depth 1: x (..., H, W) and y (..., H, 1), camera's axes."""
    _, k = (x[..., None, None, :, :] for x in camera)
    v, u = ((xp.arange(count) + 0.5) / count for count in size)
    y = (v[:, None] - k[..., 1, 2]) / k[..., 1, 1]
    return (u - k[..., 0, 2] - k[..., 0, 1] * y) / k[..., 0, 0], y


def _placed(pose: Any, x: Any, y: Any, z: Any) -> list[Any]:
    """World coordinates, one by one, of points in camera's axes."""
    return [pose[..., i, 0] * x + pose[..., i, 1] * y + pose[..., i, 2] * z + pose[..., i, 3] for i in range(3)]
