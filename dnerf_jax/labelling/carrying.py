"""Labels of some views of a scene carried to another view of it by depth, and where depth jumps.

A pixel of the new view shows a surface point; where an old view sees that point too, the point's label there is its
label here. Points that no old view sees, or only beside the border of two labels, where half a pixel decides, stay 255,
"ignore". Nothing is averaged: labels are ids.

Notation: S old views, pictures of H x W pixels; depth_z as in `ops.warping`, infinite or 0 where empty.
"""

import numpy as np

from dnerf_jax.ops import warping
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.warping import Matrices

# Relative to depth: where it changes by more between neighbours, one lies before the other.
STEP = 0.02


def carry(
    labels: np.ndarray, depth_z: np.ndarray, camera: Matrices, new_depth_z: np.ndarray, new_camera: Matrices
) -> np.ndarray:
    """The labels, uint8 (H, W), that a new view of the scene has from others; 255 where they do not tell.

    Where several see a point, the one nearest to the new camera tells. What is empty, and away from the outline, takes
    the label of more than half of the empty pixels of an old view, of the nearest that has such a label: usually the
    background. A stroke that leaves the outline labels too few of them.

    Args:
      labels: (S, H, W) uint8 ids. depth_z: (S, H, W). camera: of S views, as from `warping.matrices`.
      new_depth_z: (H, W). new_camera: of one view.
    """
    size = new_depth_z.shape
    solid = np.isfinite(new_depth_z) & (new_depth_z > 0)
    points = warping.lift(new_depth_z, new_camera)[solid]
    found = np.full(len(points), LabelMap.IGNORE, np.uint8)
    far = np.linalg.norm(camera[0][:, :3, 3] - new_camera[0][:3, 3], axis=-1)
    nearest = np.argsort(far, kind="stable")
    for view in nearest:
        own = inner(labels[view]).ravel()
        index, pixel, z = warping.find(points, (camera[0][view], camera[1][view]), size)
        seen = warping.same_depth(depth_z[view].ravel()[pixel], z) & (found[index] == LabelMap.IGNORE)
        found[index[seen]] = own[pixel[seen]]
    made = np.full(size, LabelMap.IGNORE, np.uint8)
    made[solid] = found
    told = [_of_empty(labels[view], depth_z[view]) for view in nearest]
    outside = next((label for label in told if label != LabelMap.IGNORE), LabelMap.IGNORE)
    made[~warping.around(solid, np.maximum)] = outside
    return made


def _of_empty(labels: np.ndarray, depth_z: np.ndarray) -> int:
    """The label of more than half of a view's empty pixels, 255 where none is."""
    empty = labels[~np.isfinite(depth_z) | (depth_z <= 0)]
    counts = np.bincount(empty, minlength=1)
    return int(counts.argmax()) if 2 * counts.max() > len(empty) else LabelMap.IGNORE


def inner(labels: np.ndarray) -> np.ndarray:
    """Labels (..., H, W), 255 where one of the 8 pixels around has another."""
    same = warping.around(labels, np.minimum) == warping.around(labels, np.maximum)
    return np.where(same, labels, LabelMap.IGNORE).astype(np.uint8)


def jumps(depth_z: np.ndarray) -> np.ndarray:
    """Where the surface breaks off: uint8 (..., H, W), bit 1 between a pixel and that to its right, 2 that below it."""
    depth = np.where(np.isfinite(depth_z) & (depth_z > 0), depth_z, np.inf)
    made = np.zeros(depth.shape, np.uint8)
    for bit, axis in ((1, -1), (2, -2)):
        own, next_to = np.moveaxis(depth, axis, 0)[:-1], np.moveaxis(depth, axis, 0)[1:]
        far, near = np.maximum(own, next_to), np.minimum(own, next_to)
        np.moveaxis(made, axis, 0)[:-1] |= np.where((far > near * (1 + STEP)) & (near < far), bit, 0).astype(np.uint8)
    return made
