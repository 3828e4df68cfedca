"""Labelled point clouds of views: back-projection, fusion and thinning (paper, section 3.3 and figure 3).

    cloud = from_views(views, label_map=label_map, voxel_size=0.005, num_points=2048)

Positions are in the world frame, x to the image's right in a frontal view, y up, z from the subject towards the frontal
camera, and in world units (of `cameras`: a generator's box has the side `box_warp` in them). `depth_z` is the depth
along the camera's axis, not along the ray; it is infinite where a view is empty (0 is taken for empty too, as files
have it). The depth of a view has the resolution of its mask. Clouds are functions of the views alone, bit by bit (see
`warping`); what else there is to them is in `clouds`.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.ops import cameras, checks, clouds, images, thinning, warping
from dnerf_jax.ops.clouds import PointCloud as PointCloud
from dnerf_jax.ops.clouds import agreement as agreement
from dnerf_jax.ops.clouds import fuse as fuse
from dnerf_jax.ops.labels import LabelMap

BACKGROUND = 0


class VisibleSurface(Protocol):
    """What `from_view` reads of a view: image (..., H, W, 3) in [-1, 1] or uint8, the rest (..., H, W), camera (...).

    mask: class ids, or None. depth_z: world units, infinite where empty. opacity: in [0, 1]. A view may also have
    normal (..., H, W, 3), unit vectors, and confidence (..., H, W), in [0, 1]; either may be None.
    """

    @property
    def image(self) -> Any: ...
    @property
    def mask(self) -> Any: ...
    @property
    def depth_z(self) -> Any: ...
    @property
    def opacity(self) -> Any: ...
    @property
    def camera(self) -> cameras.Camera: ...


def backproject(depth_z: jax.Array, camera: cameras.Camera) -> jax.Array:
    """The world points (..., H, W, 3) that the pixels of a depth image see.

    depth_z: (..., H, W), depth along the camera's axis, world units; infinite, or 0, where empty. camera: batch
    dimensions as those of depth_z. Rays are those of `cameras.rays`, through pixel centres, so this inverts rendering
    exactly, skew included. The point of an empty pixel is the camera's centre, as in a rendered view, and means
    nothing: choose points by the depth. Differentiable, under `jit` too.

    Raises ValueError if the batch dimensions differ.
    """
    depth_z, camera = jnp.asarray(depth_z), camera.spread()
    _require_cameras(depth_z.shape, camera)
    cameras.validate(camera)
    return warping.lift(depth_z, (jnp.asarray(camera.cam2world), jnp.asarray(camera.intrinsics)), xp=jnp)


def from_view(
    view: VisibleSurface,
    *,
    label_map: LabelMap | None = None,
    stride: int = 1,
    min_opacity: float = 0.5,
    max_jump: float = 0.02,
) -> PointCloud:
    """One cloud of the surface points that rendered views show, with normals and confidence where they have these.

    view: a rendered or measured one; leading dimensions are several views of one scene, whose points are joined.
    label_map: kept with the cloud.
    stride: keep every stride-th row and column.

    Left out are pixels

    - without finite positive depth, or with less opacity than `min_opacity`: the rest of the ray is empty;
    - labelled background (0) or ignore (255). A view without a mask keeps all, labelled 255, unknown;
    - at a depth discontinuity ("flying pixels", whose depth lies between two surfaces): where depths in the
      3 x 3 neighbourhood differ by more than `max_jump` times the pixel's own, or one of them is empty. The
      default, at 128 pixels and EG3D's focal length, keeps surfaces turned up to 79 degrees from the camera.

    Raises ValueError if image, depth, opacity and mask differ in size.
    """
    if stride < 1:
        raise ValueError(f"stride is {stride}, expected 1 (every pixel) or more")
    keep = _surface(view, min_opacity, max_jump)
    on_stride = np.zeros(keep.shape[-2:], bool)
    on_stride[::stride, ::stride] = True
    return _labelled(view, keep & on_stride, _lifted(view, keep & on_stride), label_map)


def from_views(
    views: VisibleSurface,
    *,
    label_map: LabelMap | None = None,
    voxel_size: float,
    num_points: int | None = None,
    tolerance: float | None = warping.TOLERANCE,
    min_opacity: float = 0.5,
    max_jump: float = 0.02,
) -> PointCloud:
    """One cloud of the surface that several views of a scene show, each place once: the factory's cloud.

    The points of `from_view` of all views, without those that float: that another view looks through, because all that
    it sees there is farther by more than `tolerance` of the depth (`warping.see_through`). Then `fuse`, a point for
    each voxel. Then, of these, `num_points` that lie far apart (`thinning.farthest`), in such an order that the first
    so many of them are spread evenly too. A surface of fewer gives exactly `num_points` as well: from the first on they
    are repeated, with a warning.

    Args:
      views: (V), NumPy or JAX, as from `scenes.render` or from files.
      label_map: kept with the cloud.
      voxel_size: side of the voxels, world units.
      num_points: how many points; None is one for each voxel, ordered by voxel.
      tolerance: relative; None keeps what floats.
      min_opacity, max_jump: see `from_view`.

    Raises ValueError: views have no single leading dimension, or differ in size; num_points is not positive, or asked
    of views that show no surface.
    """
    if np.ndim(views.depth_z) != 3:
        raise ValueError(f"depth_z has shape {np.shape(views.depth_z)}, expected (V, H, W): the views of one scene")
    if num_points is not None:
        checks.count("num_points", num_points)
    keep = _surface(views, min_opacity, max_jump)
    points = _lifted(views, keep)
    if tolerance is not None:
        camera = warping.matrices(views.camera)
        floats = warping.see_through(points, np.asarray(views.depth_z), camera, tolerance=tolerance)
        keep, points = _some(keep, points, ~np.concatenate(floats))
    if num_points is None:
        return fuse([_labelled(views, keep, points, label_map)], voxel_size=voxel_size)
    # Which voxels are chosen depends on positions alone: all else is looked up in the chosen ones only.
    every = np.concatenate(points).astype(np.float32)
    voxel = thinning.voxels(every, voxel_size)
    if not len(every):
        raise ValueError(
            f"the {len(keep)} views show no surface, so there are no {num_points} points to choose: leave clouds out "
            "(of a dataset: points in config.modalities), or name views that show one"
        )
    chosen = thinning.farthest(thinning.means(voxel, every).astype(np.float32), num_points)
    if len(chosen) < num_points:
        warnings.warn(
            f"a surface has fewer than {num_points} voxels of {voxel_size:g}: its points are repeated; make them"
            " smaller",
            stacklevel=2,
        )
    keep, points = _some(keep, points, np.isin(voxel, chosen))
    cloud = fuse([_labelled(views, keep, points, label_map)], voxel_size=voxel_size)  # ordered by voxel
    return cloud[np.resize(np.searchsorted(np.sort(chosen), chosen), num_points)]


def _require_cameras(shape: tuple[int, ...], camera: cameras.Camera) -> None:
    if shape[:-2] != camera.batch_shape:
        raise ValueError(
            f"depth_z has shape {shape}, the camera batch dimensions {camera.batch_shape}: expected (..., H, W) with"
            " the camera's batch dimensions in front"
        )


def _surface(view: VisibleSurface, min_opacity: float, max_jump: float) -> np.ndarray:
    """The pixels (..., H, W) that show a labelled surface: see `from_view`."""
    depth, opacity = np.asarray(view.depth_z), np.asarray(view.opacity)
    mask = None if view.mask is None else np.asarray(view.mask)
    _require_cameras(depth.shape, view.camera)
    for name, shape in (
        ("image", np.shape(view.image)[:-1]),
        ("opacity", opacity.shape),
        ("mask", depth.shape if mask is None else mask.shape),
    ):
        if shape != depth.shape:
            raise ValueError(
                f"{name} has the pixels {shape}, depth_z {depth.shape}: expected equal ones;"
                " render both at one resolution"
            )
    keep = np.isfinite(depth) & (depth > 0) & (opacity >= min_opacity)
    depth = np.where(depth > 0, depth, np.inf)  # beside empty pixels the largest is infinite
    largest, smallest = (warping.around(depth, extreme)[keep] for extreme in (np.maximum, np.minimum))
    keep[keep] = (largest - smallest) / depth[keep] <= max_jump
    return keep if mask is None else keep & (mask != BACKGROUND) & (mask != LabelMap.IGNORE)


def _lifted(view: VisibleSurface, keep: np.ndarray) -> list[np.ndarray]:
    """Of each view, however many leading dimensions they have, the points (n, 3) of the pixels to keep."""
    size = keep.shape[-2:]
    depth, kept = (x.reshape(-1, *size) for x in (np.asarray(view.depth_z), keep))
    pose, k = (x.reshape(-1, *x.shape[-2:]) for x in warping.matrices(view.camera))
    return warping.lift_some(depth, (pose, k), kept)


def _some(keep: np.ndarray, points: Sequence[np.ndarray], wanted: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Of the pixels (V, H, W) that are kept, and of each view's points, those that are wanted (n,)."""
    fewer = np.zeros_like(keep)
    fewer[keep] = wanted
    ends = np.cumsum([len(some) for some in points])
    return fewer, [some[part] for some, part in zip(points, np.split(wanted, ends[:-1]), strict=True)]


def _labelled(
    view: VisibleSurface, keep: np.ndarray, lifted: Sequence[np.ndarray], label_map: LabelMap | None
) -> PointCloud:
    """The cloud of the pixels (..., H, W) that are kept, from their points, with what the view says of them."""
    points = np.concatenate(lifted)
    labels = np.full(len(points), LabelMap.IGNORE, np.uint8) if view.mask is None else np.asarray(view.mask)[keep]
    normals, confidence = (getattr(view, name, None) for name in ("normal", "confidence"))
    if normals is not None:
        # Where a density has no direction, what a camera sees faces it.
        centres = warping.matrices(view.camera)[0].reshape(-1, 4, 4)[:, :3, 3]
        towards = np.concatenate([centre - some for centre, some in zip(centres, lifted, strict=True)])
        normals = clouds.unit(np.asarray(normals)[keep].astype(np.float64), towards)
    if confidence is not None:
        confidence = np.clip(np.asarray(confidence)[keep], 0, 1)
    colors = np.asarray(view.image)[keep]
    colors = colors if colors.dtype == np.uint8 else images.to_uint8(colors, span=(-1, 1))
    return PointCloud(points, colors, labels, label_map, normals, confidence)
