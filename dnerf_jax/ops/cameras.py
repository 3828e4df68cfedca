"""Cameras and the rays through their pixels.

World frame: x to the image's right in a frontal view, y up, z from the subject towards the frontal camera
(EG3D's frame). Cameras are OpenCV camera-to-world matrices (x right, y down, z forward). Intrinsics are
divided by the image size, so that one camera serves every resolution:

    [[fx, skew, cx],
     [ 0,   fy, cy],
     [ 0,    0,  1]]      pixel (row i, column j) of an R x R image sees u = (j + 0.5) / R, v = (i + 0.5) / R

Angles are radians, lengths world units. Leading batch dimensions are free.
"""

from collections.abc import Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from numpy.typing import ArrayLike

from dnerf_jax.ops.batched import Batched
from dnerf_jax.ops.precision import einsum

FOCAL = 4.2647  # in image sizes, of EG3D's cameras of faces

# COLMAP camera models that map to a pinhole without distortion.
_COLMAP_MODELS = {"SIMPLE_PINHOLE": 3, "PINHOLE": 4}


@struct.dataclass(repr=False)
class Camera(Batched):
    """A pinhole camera: cam2world (..., 4, 4) in OpenCV axes, intrinsics (..., 3, 3) divided by image size."""

    cam2world: jax.Array
    intrinsics: jax.Array

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading dimensions: both matrices', broadcast."""
        return np.broadcast_shapes(self.cam2world.shape[:-2], self.intrinsics.shape[:-2])

    def spread(self) -> "Camera":
        """The same cameras with all leading dimensions on both matrices."""
        batch = self.batch_shape
        if self.cam2world.shape[:-2] == self.intrinsics.shape[:-2]:
            return self
        return Camera(*(jnp.broadcast_to(x, batch + x.shape[-2:]) for x in (self.cam2world, self.intrinsics)))

    def __getitem__(self, index: Any) -> "Camera":
        """The cameras at `index` of the leading dimensions; see `Batched`."""
        return Batched.__getitem__(self.spread(), index)


@struct.dataclass(repr=False)
class Rays(Batched):
    """Rays in the world frame: origins (..., 3) and unit directions (..., 3)."""

    origins: jax.Array
    directions: jax.Array

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading dimensions."""
        return self.directions.shape[:-1]


def pinhole(focal: float | jax.Array = FOCAL, center: float = 0.5) -> jax.Array:
    """Intrinsics (3, 3) with equal focal lengths and the principal point at `center`, in image sizes."""
    return jnp.array([[focal, 0.0, center], [0.0, focal, center], [0.0, 0.0, 1.0]], jnp.float32)


def focal_from_fov(fov_degrees: float) -> float:
    """EG3D's focal length (in image sizes) for its field-of-view flag: 18.837 degrees gives 4.263.

    EG3D divides by `tan(fov / 2) * 1.414` and rounds pi to 3.14159, so this is not the exact pinhole relation.
    """
    return 1.0 / (np.tan(fov_degrees * 3.14159 / 360) * 1.414)


def look_at(origin: ArrayLike, target: ArrayLike, up: ArrayLike = (0.0, 1.0, 0.0)) -> jax.Array:
    """Camera-to-world matrices (..., 4, 4) at `origin` (..., 3) looking at `target` (..., 3), without roll."""
    origin, target = jnp.asarray(origin, jnp.float32), jnp.asarray(target, jnp.float32)
    forward = _normalize(target - origin)
    right = _normalize(jnp.cross(forward, jnp.asarray(up, jnp.float32)))
    down = jnp.cross(forward, right)
    rotation = jnp.stack([right, down, forward], axis=-1)
    origin = jnp.broadcast_to(origin, forward.shape)
    top = jnp.concatenate([rotation, origin[..., None]], axis=-1)
    bottom = jnp.broadcast_to(jnp.array([0.0, 0.0, 0.0, 1.0]), (*top.shape[:-2], 1, 4))
    return jnp.concatenate([top, bottom], axis=-2)


def orbit(
    yaw: ArrayLike, pitch: ArrayLike, *, radius: float = 2.7, pivot: ArrayLike = (0.0, 0.0, 0.0), focal: float = FOCAL
) -> Camera:
    """Cameras on a sphere around `pivot`, looking at it.

    Args:
      yaw: (...) radians; positive moves the camera towards +x.
      pitch: (...) radians above the horizon.
      radius: distance to the pivot.
      pivot: (3,) point looked at.
      focal: focal length in image sizes.
    """
    yaw, pitch = jnp.broadcast_arrays(jnp.asarray(yaw, jnp.float32), jnp.asarray(pitch, jnp.float32))
    pivot = jnp.asarray(pivot, jnp.float32)
    offset = jnp.stack([jnp.sin(yaw) * jnp.cos(pitch), jnp.sin(pitch), jnp.cos(yaw) * jnp.cos(pitch)], axis=-1)
    cam2world = look_at(pivot + radius * offset, pivot)
    return Camera(cam2world, jnp.broadcast_to(pinhole(focal), (*yaw.shape, 3, 3)))


def eg3d_orbit(
    horizontal: ArrayLike,
    vertical: ArrayLike,
    *,
    radius: float = 2.7,
    pivot: ArrayLike = (0.0, 0.0, 0.0),
    focal: float = FOCAL,
) -> Camera:
    """EG3D's `LookAtPoseSampler`: horizontal = vertical = pi / 2 is frontal.

    The camera circles the origin, not the pivot, and the polar angle is arccos(1 - 2 vertical / pi), not
    `vertical` itself.
    """
    vertical = jnp.clip(jnp.asarray(vertical, jnp.float32), 1e-5, np.pi - 1e-5)
    horizontal, vertical = jnp.broadcast_arrays(jnp.asarray(horizontal, jnp.float32), vertical)
    polar = jnp.arccos(1 - 2 * vertical / np.pi)
    origin = radius * jnp.stack(
        [-jnp.sin(polar) * jnp.cos(horizontal), jnp.cos(polar), jnp.sin(polar) * jnp.sin(horizontal)], axis=-1
    )
    cam2world = look_at(origin, jnp.asarray(pivot, jnp.float32))
    return Camera(cam2world, jnp.broadcast_to(pinhole(focal), (*horizontal.shape, 3, 3)))


def rays(camera: Camera, resolution: int) -> Rays:
    """Rays through all pixel centres of a square image, (..., resolution, resolution, 3) each; a static resolution."""
    centers = (jnp.arange(resolution, dtype=jnp.float32) + 0.5) / resolution
    u, v = jnp.meshgrid(centers, centers, indexing="xy")
    batch = camera.cam2world.shape[:-2]
    return rays_at(camera, jnp.broadcast_to(jnp.stack([u, v], -1), (*batch, resolution, resolution, 2)))


def rays_at(camera: Camera, uv: jax.Array) -> Rays:
    """Rays through image points uv (..., *grid, 2) in [0, 1], x to the right, y down.

    The camera's batch dimensions come first in `uv`; what lies between them and the last is the grid.
    """
    chex.assert_shape(camera.cam2world, (..., 4, 4))
    chex.assert_shape(camera.intrinsics, (*camera.cam2world.shape[:-2], 3, 3))
    batch = camera.cam2world.ndim - 2
    grid = uv.ndim - 1 - batch
    arrays = camera.intrinsics, camera.cam2world
    k, pose = (x.reshape(x.shape[:batch] + (1,) * grid + x.shape[batch:]) for x in arrays)
    y = (uv[..., 1] - k[..., 1, 2]) / k[..., 1, 1]
    x = (uv[..., 0] - k[..., 0, 2] - k[..., 0, 1] * y) / k[..., 0, 0]
    local = jnp.stack([x, y, jnp.ones_like(x)], axis=-1)
    directions = _normalize(einsum("...ij,...j->...i", pose[..., :3, :3], local))
    return Rays(jnp.broadcast_to(pose[..., :3, 3], directions.shape), directions)


def project(camera: Camera, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Image coordinates (..., N, 2) in [0, 1] and z-depths (..., N) of world points (..., N, 3)."""
    rotation, origin = camera.cam2world[..., :3, :3], camera.cam2world[..., :3, 3]
    local = einsum("...ji,...nj->...ni", rotation, points - origin[..., None, :])
    homogeneous = einsum("...ij,...nj->...ni", camera.intrinsics, local)
    return homogeneous[..., :2] / homogeneous[..., 2:], local[..., 2]


def z_per_distance(camera: Camera, resolution: int) -> jax.Array:
    """z-depth per unit of ray distance at every pixel, (..., resolution, resolution)."""
    forward = camera.cam2world[..., :3, 2]
    return einsum("...hwi,...i->...hw", rays(camera, resolution).directions, forward)


def to_eg3d(camera: Camera) -> jax.Array:
    """EG3D's 25 numbers: the row-major camera-to-world matrix, then the row-major intrinsics, (..., 25)."""
    batch = camera.cam2world.shape[:-2]
    return jnp.concatenate([camera.cam2world.reshape((*batch, 16)), camera.intrinsics.reshape((*batch, 9))], -1)


def from_eg3d(c: ArrayLike) -> Camera:
    """The camera of EG3D's 25 numbers (..., 25)."""
    c = jnp.asarray(c, jnp.float32)
    if c.shape[-1:] != (25,):
        raise ValueError(
            f"An EG3D camera has 25 numbers (16 of cam2world, 9 of intrinsics) in its last axis; got shape {c.shape}."
        )
    return Camera(c[..., :16].reshape((*c.shape[:-1], 4, 4)), c[..., 16:].reshape((*c.shape[:-1], 3, 3)))


def from_opencv(world2cam: ArrayLike, intrinsics: ArrayLike, image_size: float) -> Camera:
    """The camera of an OpenCV extrinsic matrix (..., 4, 4) and intrinsics (..., 3, 3) in pixels.

    `image_size` is the side of the square image in pixels. OpenCV's pixel centres lie at integers, ours at
    halves, so half a pixel is added to the principal point.
    """
    k = jnp.asarray(intrinsics, jnp.float32)
    k = k.at[..., :2, 2].add(0.5)
    scale = jnp.array([1 / image_size, 1 / image_size, 1.0])[:, None]
    return Camera(_invert_rigid(jnp.asarray(world2cam, jnp.float32)), k * scale)


def to_opencv(camera: Camera, image_size: float) -> tuple[jax.Array, jax.Array]:
    """World-to-camera (..., 4, 4) and pixel intrinsics (..., 3, 3): the inverse of `from_opencv`."""
    k = camera.intrinsics * jnp.array([image_size, image_size, 1.0])[:, None]
    return _invert_rigid(camera.cam2world), k.at[..., :2, 2].add(-0.5)


def flip_opengl(cam2world: ArrayLike) -> jax.Array:
    """Between OpenCV and OpenGL/Blender camera axes, both ways: y and z of the camera are negated."""
    return jnp.asarray(cam2world) * jnp.array([1.0, -1.0, -1.0, 1.0])


def from_colmap(
    quaternion: ArrayLike, translation: ArrayLike, model: str, params: Sequence[float], image_size: float
) -> Camera:
    """The camera of one COLMAP image: quaternion (w, x, y, z) and translation of world-to-camera.

    Args:
      quaternion, translation: (4,) and (3,), as in `images.txt`.
      model: "SIMPLE_PINHOLE" (f, cx, cy) or "PINHOLE" (fx, fy, cx, cy); others have distortion.
      params: the numbers after the size in `cameras.txt`, in pixels (COLMAP's pixel centres lie at halves).
      image_size: side of the square image in pixels.
    """
    if model not in _COLMAP_MODELS:
        raise ValueError(
            f"COLMAP camera model {model!r} is not a pinhole without distortion; expected one of "
            f"{sorted(_COLMAP_MODELS)}. Run `colmap image_undistorter` first."
        )
    if len(params) != _COLMAP_MODELS[model]:
        raise ValueError(f"COLMAP model {model} has {_COLMAP_MODELS[model]} parameters; got {len(params)}.")
    fx, fy, cx, cy = params if model == "PINHOLE" else (params[0], *params)
    w, x, y, z = np.asarray(quaternion, np.float64) / np.linalg.norm(quaternion)
    world2cam = np.eye(4)
    world2cam[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    world2cam[:3, 3] = translation
    k = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, image_size]]) / image_size
    return Camera(_invert_rigid(jnp.asarray(world2cam, jnp.float32)), jnp.asarray(k, jnp.float32))


def to_colmap(camera: Camera, image_size: float) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """COLMAP's (quaternion wxyz, translation, PINHOLE params in pixels) of one camera without skew."""
    if abs(float(camera.intrinsics[0, 1])) > 1e-6:
        raise ValueError("COLMAP's PINHOLE model has no skew; this camera has one.")
    pose = np.asarray(_invert_rigid(camera.cam2world), np.float64)
    r = pose[:3, :3]
    # The largest of the four squared components is the safe one to divide by.
    squares = np.array([1 + np.trace(r), *(1 + 2 * np.diag(r) - np.trace(r))])
    largest = int(np.argmax(squares))
    antisymmetric = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    quaternion = np.empty(4)
    if largest == 0:
        quaternion[0], quaternion[1:] = squares[0], antisymmetric
    else:
        axis = largest - 1
        quaternion[0], quaternion[1:] = antisymmetric[axis], r[axis] + r[:, axis]
        quaternion[largest] = squares[largest]
    quaternion /= np.linalg.norm(quaternion)
    k = np.asarray(camera.intrinsics, np.float64) * image_size
    return quaternion * (1 if quaternion[0] >= 0 else -1), pose[:3, 3], (k[0, 0], k[1, 1], k[0, 2], k[1, 2])


def validate(camera: Camera) -> None:
    """Raises ValueError, with the likely remedy, if a (concrete) camera is not a sane pinhole camera.

    Checks shapes, finite numbers, a rotation (orthonormal, determinant +1), the last row, and intrinsics that are
    divided by the image size.
    """
    pose, k = np.asarray(camera.cam2world, np.float64), np.asarray(camera.intrinsics, np.float64)
    if pose.shape[-2:] != (4, 4) or k.shape[-2:] != (3, 3) or pose.shape[:-2] != k.shape[:-2]:
        raise ValueError(
            f"A camera has cam2world (..., 4, 4) and intrinsics (..., 3, 3) with equal leading dimensions; got "
            f"{pose.shape} and {k.shape}. One camera for all: broadcast it first."
        )
    if not (np.isfinite(pose).all() and np.isfinite(k).all()):
        raise ValueError("The camera holds numbers that are not finite.")
    rotation = pose[..., :3, :3]
    deviation = np.abs(np.swapaxes(rotation, -1, -2) @ rotation - np.eye(3)).max()
    if deviation > 1e-3:
        raise ValueError(
            f"The rotation of cam2world is not orthonormal (off by {deviation:.3g}). If it carries a scale, divide it "
            "out; if it is a transposed or partial matrix, pass the full camera-to-world."
        )
    if (np.linalg.det(rotation) < 0).any():
        raise ValueError("The rotation of cam2world mirrors (determinant -1): one axis has the wrong sign.")
    if np.abs(pose[..., 3, :] - [0, 0, 0, 1]).max() > 1e-6:
        raise ValueError(f"The last row of cam2world must be 0 0 0 1; got {pose[..., 3, :].reshape(-1, 4)[0]}.")
    if (np.abs(k[..., 2, :] - [0, 0, 1]) > 1e-6).any() or (np.abs(k[..., 1, 0]) > 1e-6).any():
        raise ValueError(f"Intrinsics must be [[fx, skew, cx], [0, fy, cy], [0, 0, 1]]; got\n{k.reshape(-1, 3, 3)[0]}")
    if (k[..., [0, 1], [0, 1]] <= 0).any():
        raise ValueError("Focal lengths must be positive: these are OpenCV cameras (flip OpenGL's with flip_opengl).")
    if (np.abs(k[..., :2, 2] - 0.5) > 2).any() or (k[..., [0, 1], [0, 1]] > 40).any():
        raise ValueError(
            f"Intrinsics must be divided by the image size (cx near 0.5); got\n{k.reshape(-1, 3, 3)[0]}\n"
            "For pixels use from_opencv(world2cam, intrinsics, image_size)."
        )


def _normalize(x: jax.Array) -> jax.Array:
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def _invert_rigid(pose: jax.Array) -> jax.Array:
    """The inverse of rigid transforms (..., 4, 4)."""
    rotation = jnp.swapaxes(pose[..., :3, :3], -1, -2)
    translation = -einsum("...ij,...j->...i", rotation, pose[..., :3, 3])
    top = jnp.concatenate([rotation, translation[..., None]], -1)
    return jnp.concatenate([top, pose[..., 3:, :]], -2)
