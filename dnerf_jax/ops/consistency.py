"""How consistent the frames of a video are: what warping by exact depth finds, and spatiotemporal line textures.

Frames (T, H, W, ...) show a still scene from a moving camera (T). With the scene's distance along every ray, a pixel of
one frame can be found in the next, and what the two say about it compared. The distance is in world units, infinite
where a frame is empty (0 is taken for empty too, as files have it). A line texture (paper, figure S10) stacks the same
row of every frame: whatever is fixed in 3D draws smooth curves, what flickers is ragged.
"""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dnerf_jax.ops import cameras, metrics

OCCLUDED = 0.01  # relative; a point whose distance in the next frame differs by more is hidden there


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
    here, there = _seen_twice(np.asarray(masks), distance, camera)
    return (float(np.mean(here == there)) if len(here) else float("nan")), len(here)


def warped_psnr(images: ArrayLike, distance: ArrayLike, camera: cameras.Camera, *, peak: float = 2.0) -> float:
    """PSNR in dB between what the pixels of a frame and the same surface points in the next one show.

    As `warped_agreement`, of images (T, H, W, C) in a range of width `peak`; NaN if no point is seen twice. The nearest
    pixel lies up to half a pixel beside the point, so even exact renders have a finite value; compare with theirs.
    """
    here, there = _seen_twice(np.asarray(images, np.float32), distance, camera)
    return float(metrics.psnr(here[None], there[None], peak=peak)) if len(here) else float("nan")


def line_texture(frames: ArrayLike, row: int) -> np.ndarray:
    """Row `row` of every frame (T, H, W, ...), one below the other: (T, W, ...)."""
    return np.asarray(frames)[:, row]


def _seen_twice(frames: np.ndarray, distance: ArrayLike, camera: cameras.Camera) -> tuple[np.ndarray, np.ndarray]:
    """The values (n, ...) of frames at pixels whose surface the next frame sees too, and those of its pixels there."""
    distance = np.asarray(distance, np.float32)
    size = distance.shape[-1]
    rays = cameras.rays(camera, size)
    solid = np.isfinite(distance) & (distance > 0)
    points = np.asarray(rays.origins + np.where(solid, distance, 0)[..., None] * rays.directions)
    first, second = [frames[:0, 0, 0]], [frames[:0, 0, 0]]
    for t in range(len(frames) - 1):
        seen = points[t][solid[t]]
        uv = np.asarray(cameras.project(camera[t + 1], jnp.asarray(seen))[0])
        column, row = np.floor(uv * size).astype(int).T
        inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
        row, column = row.clip(0, size - 1), column.clip(0, size - 1)
        there = np.linalg.norm(seen - np.asarray(camera.cam2world[t + 1])[:3, 3], axis=-1)
        visible = inside & solid[t + 1, row, column]
        visible &= np.abs(distance[t + 1, row, column] - there) < OCCLUDED * there
        first.append(frames[t][solid[t]][visible])
        second.append(frames[t + 1, row, column][visible])
    return np.concatenate(first), np.concatenate(second)
