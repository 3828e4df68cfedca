"""Labelled point clouds: back-projection of views, fusion, and how well two clouds agree.

Positions are in the world frame, x to the image's right in a frontal view, y up, z from the subject towards the frontal
camera, and in world units (of `cameras`: a generator's box has the side `box_warp` in them). `depth_z` is the depth
along the camera's axis, not along the ray; it is infinite where a view is empty (0 is taken for empty too, as files
have it). Clouds are NumPy arrays on the host; `io.ply` writes and reads them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from scipy import spatial

from dnerf_jax.ops import cameras, images
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.precision import einsum

BACKGROUND = 0


class VisibleSurface(Protocol):
    """What `from_view` reads of a view: image (..., H, W, 3) in [-1, 1], the rest (..., H, W), and the camera (...).

    mask: class ids, or None. depth_z: world units, infinite where empty. opacity: in [0, 1].
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


@dataclasses.dataclass(frozen=True, eq=False)
class PointCloud:
    """N labelled and coloured points.

    points: (N, 3) float32, world frame.
    colors: (N, 3) uint8 RGB.
    labels: (N,) uint8 class ids, 255 where unknown.
    label_map: names and colours of the classes, if known.

    Converts what it is given to these types. Raises ValueError on other shapes, on values that are not
    finite, on colours or labels that are no bytes.
    """

    points: np.ndarray
    colors: np.ndarray
    labels: np.ndarray
    label_map: LabelMap | None = None

    def __post_init__(self) -> None:
        points, colors, labels = np.asarray(self.points), np.asarray(self.colors), np.asarray(self.labels)
        shapes = (points.shape, colors.shape, labels.shape)
        if shapes != ((points.size // 3, 3), (points.size // 3, 3), (points.size // 3,)):
            raise ValueError(f"points, colors, labels have shapes {shapes}, expected (N, 3), (N, 3), (N,)")
        for name, values in (("colors", colors), ("labels", labels)):
            if values.dtype != np.uint8 and (
                values.dtype.kind not in "iu" or (values.size and not 0 <= values.min() <= values.max() <= 255)
            ):
                raise ValueError(f"{name} have type {values.dtype}, expected integers 0 to 255")
        if not np.isfinite(points).all():
            lost = int((~np.isfinite(points)).any(axis=-1).sum())
            raise ValueError(f"{lost} of {len(points)} points are not finite: drop the empty pixels first")
        object.__setattr__(self, "points", points.astype(np.float32))
        object.__setattr__(self, "colors", colors.astype(np.uint8))
        object.__setattr__(self, "labels", labels.astype(np.uint8))

    def __repr__(self) -> str:
        named = "" if self.label_map is None else f", {self.label_map.num_classes} classes"
        return f"PointCloud({len(self.points):,} points{named})"

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: Any) -> "PointCloud":
        """The points chosen by a mask, slice or integer array (N,), the label map kept."""
        return dataclasses.replace(
            self, points=self.points[index], colors=self.colors[index], labels=self.labels[index]
        )


def backproject(depth_z: jax.Array, camera: cameras.Camera) -> jax.Array:
    """The world points (..., H, W, 3) that the pixels of a depth image see.

    depth_z: (..., H, W), depth along the camera's axis, world units; infinite, or 0, where empty. camera: batch
    dimensions as those of depth_z. Rays are those of `cameras.rays`, through pixel centres, so this inverts rendering
    exactly, skew included. The point of an empty pixel is the camera's centre, as in a rendered view, and means
    nothing: choose points by the depth. Differentiable, under `jit` too.

    Raises ValueError if the batch dimensions differ.
    """
    depth_z = jnp.asarray(depth_z)
    height, width = depth_z.shape[-2:]
    if depth_z.shape[:-2] != camera.cam2world.shape[:-2]:
        raise ValueError(
            f"depth_z has shape {depth_z.shape}, the camera batch dimensions {camera.cam2world.shape[:-2]}:"
            " expected (..., H, W) with the camera's batch dimensions in front"
        )
    rows, columns = ((jnp.arange(size, dtype=jnp.float32) + 0.5) / size for size in (height, width))
    v, u = jnp.meshgrid(rows, columns, indexing="ij")
    uv = jnp.broadcast_to(jnp.stack([u, v], axis=-1), (*depth_z.shape, 2))
    rays = cameras.rays_at(camera, uv)
    z_per_distance = einsum("...hwi,...i->...hw", rays.directions, camera.cam2world[..., :3, 2])
    seen = jnp.isfinite(depth_z) & (depth_z > 0)
    distance = jnp.where(seen, depth_z, 0.0) / z_per_distance
    return rays.origins + rays.directions * distance[..., None]


def from_view(
    view: VisibleSurface,
    *,
    label_map: LabelMap | None = None,
    stride: int = 1,
    min_opacity: float = 0.5,
    max_jump: float = 0.02,
) -> PointCloud:
    """One cloud of the surface points that rendered views show.

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
    depth, opacity = np.asarray(view.depth_z), np.asarray(view.opacity)
    image, mask = np.asarray(view.image), None if view.mask is None else np.asarray(view.mask)
    for name, shape in (
        ("image", image.shape[:-1]),
        ("opacity", opacity.shape),
        ("mask", depth.shape if mask is None else mask.shape),
    ):
        if shape != depth.shape:
            raise ValueError(
                f"{name} has the pixels {shape}, depth_z {depth.shape}: expected equal ones;"
                " render both at one resolution"
            )
    keep = np.isfinite(depth) & (depth > 0) & (opacity >= min_opacity)
    keep &= _relative_jump(np.where(depth > 0, depth, np.inf)) <= max_jump
    if mask is None:
        mask = np.full(depth.shape, LabelMap.IGNORE, np.uint8)
    else:
        keep &= (mask != BACKGROUND) & (mask != LabelMap.IGNORE)
    on_stride = np.zeros(depth.shape[-2:], bool)
    on_stride[::stride, ::stride] = True
    keep &= on_stride
    points = np.asarray(backproject(jnp.asarray(depth), view.camera))[keep]
    return PointCloud(points, images.to_uint8(image[keep], span=(-1, 1)), mask[keep], label_map)


def fuse(clouds: Sequence[PointCloud], *, voxel_size: float | None = None) -> PointCloud:
    """Joins clouds; with a voxel size, replaces the points of each occupied voxel by one.

    voxel_size: side of the cubes of a grid through the origin, world units. Position and colour become the
    means of the voxel's points, the label the most frequent one (of equals, the smallest id; 255 only if no
    point has another), and the points are ordered by voxel.

    Raises ValueError without clouds, on different label maps, or on a voxel size that is not positive or too
    small.
    """
    clouds = list(clouds)
    if not clouds:
        raise ValueError("there are no clouds to fuse: give at least one")
    label_maps = {cloud.label_map for cloud in clouds if cloud.label_map is not None}
    if len(label_maps) > 1:
        names = [label_map.names for label_map in label_maps]
        raise ValueError(f"the clouds have {len(names)} different label maps, expected one; their names: {names}")
    points = np.concatenate([cloud.points for cloud in clouds])
    colors = np.concatenate([cloud.colors for cloud in clouds])
    labels = np.concatenate([cloud.labels for cloud in clouds])
    label_map = next(iter(label_maps), None)
    if voxel_size is None or not len(points):
        return PointCloud(points, colors, labels, label_map)

    voxel = _voxel_indices(points, voxel_size)
    _, voxel, counts = np.unique(voxel, return_inverse=True, return_counts=True)
    positions_and_colors = np.concatenate([points, colors], axis=1).astype(np.float64)
    sums = [np.bincount(voxel, weights=column, minlength=len(counts)) for column in positions_and_colors.T]
    means = np.stack(sums, axis=1) / counts[:, None]
    return PointCloud(means[:, :3], np.round(means[:, 3:]).astype(np.uint8), _majority(voxel, labels), label_map)


def agreement(a: PointCloud, b: PointCloud, *, radius: float = 0.05) -> dict[str, float | None]:
    """Compares two clouds of one scene by nearest neighbours, from a to b and from b to a together.

    radius: world units; a point whose nearest neighbour is farther has no partner: the other cloud does not
    show it. Take it well above the distances expected, since the median cannot exceed it, and read the
    overlap beside the median.

    - "overlap": part of all points that have a partner.
    - "median_distance": median distance of partners, world units; None without partners.
    - "label_agreement": part of the partners with equal labels, among those where both are known (not 255);
      None if there are none.

    Raises ValueError if the radius is not positive.
    """
    if not radius > 0:
        raise ValueError(f"radius is {radius}, expected a positive distance in world units")
    parts = []
    for source, target in ((a, b), (b, a)):
        distance, index = spatial.cKDTree(target.points).query(source.points, distance_upper_bound=radius)
        found = np.isfinite(distance)
        parts.append((distance[found], source.labels[found], target.labels[index[found]]))
    distance, own, partner = (np.concatenate(part) for part in zip(*parts, strict=True))
    known = (own != LabelMap.IGNORE) & (partner != LabelMap.IGNORE)
    return {
        "median_distance": float(np.median(distance)) if distance.size else None,
        "label_agreement": float((own == partner)[known].mean()) if known.any() else None,
        "overlap": distance.size / max(len(a) + len(b), 1),
    }


def _relative_jump(depth: np.ndarray) -> np.ndarray:
    """(largest - smallest) / own depth over 3 x 3 pixels, (..., H, W); infinite beside empty ones."""
    padded = np.pad(depth, [(0, 0)] * (depth.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(-2, -1))
    largest, smallest = windows.max(axis=(-2, -1)), windows.min(axis=(-2, -1))
    empty = ~np.isfinite(largest)
    largest, smallest, depth = (np.where(empty, 1.0, x) for x in (largest, smallest, depth))
    return np.where(empty, np.inf, (largest - smallest) / depth)


def _voxel_indices(points: np.ndarray, voxel_size: float) -> np.ndarray:
    """Numbers the voxels of points (N, 3), ordered by x, then y, then z: int64 (N,)."""
    if not (np.isfinite(voxel_size) and voxel_size > 0):
        raise ValueError(f"voxel_size is {voxel_size}, expected a positive length in world units")
    cells = np.floor(points.astype(np.float64) / voxel_size)
    cells -= cells.min(axis=0)
    extent = cells.max(axis=0) + 1
    if np.prod(extent) >= 2.0**62:
        raise ValueError(
            f"voxel_size is {voxel_size}, too small for points that span {np.ptp(points, axis=0)}: enlarge it"
        )
    x, y, z = cells.astype(np.int64).T
    return (x * int(extent[1]) + y) * int(extent[2]) + z


def _majority(group: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The most frequent label of each group; of equals the smallest, 255 only where it is alone."""
    pairs, votes = np.unique(group * 256 + labels, return_counts=True)
    owner, label = pairs // 256, pairs % 256
    order = np.lexsort((label, -votes, label == LabelMap.IGNORE, owner))
    _, first = np.unique(owner[order], return_index=True)
    return label[order][first].astype(np.uint8)
