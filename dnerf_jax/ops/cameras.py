"""Cameras and the rays through their pixels.

World frame: x to the image's right in a frontal view, y up, z from the subject towards the frontal camera
(EG3D's frame). Cameras are OpenCV camera-to-world matrices (x right, y down, z forward). Intrinsics are
divided by the image size, so that one camera serves every resolution:

    [[fx, skew, cx],
     [ 0,   fy, cy],
     [ 0,    0,  1]]      pixel (row i, column j) of an R x R image sees u = (j + 0.5) / R, v = (i + 0.5) / R

Angles are radians. Lengths are world units: those in which the box of a generator's tri-planes has the side `box_warp`
(and stands to metres as its `metres_per_unit` says, where it has a scale). Leading batch dimensions are free.

What is given is checked (`checks`) where its values are known; under `jit`, `vmap` and `grad` they are not.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from numpy.typing import ArrayLike

from dnerf_jax.ops import checks, poses
from dnerf_jax.ops.batched import Batched
from dnerf_jax.ops.poses import flip_opengl as flip_opengl
from dnerf_jax.ops.poses import look_at as look_at
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
        """The same cameras with all leading dimensions on both matrices. Raises ValueError: these do not broadcast."""
        checks.matrices(self.cam2world, self.intrinsics)
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
    """Intrinsics (3, 3) with equal focal lengths and the principal point at `center`, in image sizes.

    Raises ValueError: the focal length is not positive, or in pixels.
    """
    checks.focal("focal", focal)
    return jnp.array([[focal, 0.0, center], [0.0, focal, center], [0.0, 0.0, 1.0]], jnp.float32)


def focal_from_fov(fov_degrees: float) -> float:
    """EG3D's focal length (in image sizes) for its field-of-view flag: 18.837 degrees gives 4.263.

    EG3D divides by `tan(fov / 2) * 1.414` and rounds pi to 3.14159, so this is not the exact pinhole relation.
    """
    focal = float(1.0 / (np.tan(fov_degrees * 3.14159 / 360) * 1.414))
    checks.focal(f"the focal length of {fov_degrees:g} degrees", focal)
    return focal


def orbit(
    yaw: ArrayLike, pitch: ArrayLike, *, radius: float = 2.7, pivot: ArrayLike = (0.0, 0.0, 0.0), focal: float = FOCAL
) -> Camera:
    """Cameras on a sphere around the origin, looking at the pivot: as EG3D's stand.

    Args:
      yaw: (...) radians; positive moves the camera towards +x.
      pitch: (...) radians above the horizon. Straight above or below the pivot, right stays what it was on the way.
      radius: distance from the origin.
      pivot: (3,) point looked at.
      focal: focal length in image sizes.

    Raises ValueError: yaw is beyond 2 pi or pitch beyond pi / 2, as degrees would be; a radius or focal length that is
    not positive, or one in pixels.
    """
    checks.angle("yaw", yaw, 2 * np.pi)
    checks.angle("pitch", pitch, np.pi / 2)
    checks.positive("radius", radius)
    yaw, pitch = jnp.broadcast_arrays(jnp.asarray(yaw, jnp.float32), jnp.asarray(pitch, jnp.float32))
    direction = jnp.stack([jnp.sin(yaw) * jnp.cos(pitch), jnp.sin(pitch), jnp.cos(yaw) * jnp.cos(pitch)], axis=-1)
    right = jnp.stack([jnp.cos(yaw), jnp.zeros_like(yaw), -jnp.sin(yaw)], axis=-1)
    cam2world = look_at(radius * direction, pivot, right=right)
    return Camera(cam2world, jnp.broadcast_to(pinhole(focal), (*yaw.shape, 3, 3)))


def eg3d_orbit(
    horizontal: ArrayLike,
    vertical: ArrayLike,
    *,
    radius: float = 2.7,
    pivot: ArrayLike = (0.0, 0.0, 0.0),
    focal: float = FOCAL,
) -> Camera:
    """EG3D's `LookAtPoseSampler`: `orbit` in its angles, where horizontal = vertical = pi / 2 is frontal.

    The height above the horizon is linear in `vertical`: pitch = arcsin(1 - 2 vertical / pi). Beyond 0 and pi it is
    clipped. Raises ValueError as `orbit`.
    """
    checks.angle("horizontal", horizontal, 2 * np.pi)
    checks.angle("vertical", vertical, 2 * np.pi)
    vertical = jnp.clip(jnp.asarray(vertical, jnp.float32), 1e-5, np.pi - 1e-5)
    yaw, pitch = jnp.asarray(horizontal, jnp.float32) - np.pi / 2, jnp.arcsin(1 - 2 * vertical / np.pi)
    return orbit(yaw, pitch, radius=radius, pivot=pivot, focal=focal)


def rays(camera: Camera, resolution: int) -> Rays:
    """Rays through all pixel centres of a square image, (..., resolution, resolution, 3) each; a static resolution.

    Raises ValueError: the resolution is not a positive integer, or the camera not one that `validate` accepts.
    """
    size = checks.count("resolution", resolution)
    centers = (jnp.arange(size, dtype=jnp.float32) + 0.5) / size
    u, v = jnp.meshgrid(centers, centers, indexing="xy")
    return rays_at(camera, jnp.broadcast_to(jnp.stack([u, v], -1), (*camera.batch_shape, size, size, 2)))


def rays_at(camera: Camera, uv: jax.Array) -> Rays:
    """Rays through image points uv (..., *grid, 2) in [0, 1], x to the right, y down.

    The camera's batch dimensions come first in `uv`; what lies between them and the last is the grid.
    Raises ValueError: the camera is not one that `validate` accepts.
    """
    camera = camera.spread()
    validate(camera)
    batch = camera.cam2world.ndim - 2
    grid = uv.ndim - 1 - batch
    arrays = camera.intrinsics, camera.cam2world
    k, pose = (x.reshape(x.shape[:batch] + (1,) * grid + x.shape[batch:]) for x in arrays)
    y = (uv[..., 1] - k[..., 1, 2]) / k[..., 1, 1]
    x = (uv[..., 0] - k[..., 0, 2] - k[..., 0, 1] * y) / k[..., 0, 0]
    local = jnp.stack([x, y, jnp.ones_like(x)], axis=-1)
    directions = poses.normalize(einsum("...ij,...j->...i", pose[..., :3, :3], local))
    return Rays(jnp.broadcast_to(pose[..., :3, 3], directions.shape), directions)


def project(camera: Camera, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Image coordinates (..., N, 2), in [0, 1] within the image, and z-depths (..., N) of world points (..., N, 3).

    Raises ValueError: the camera is not one that `validate` accepts, or points have another shape.
    """
    validate(camera)
    checks.shape("points", points, 3)
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
    camera = camera.spread()
    batch = camera.batch_shape
    return jnp.concatenate([camera.cam2world.reshape((*batch, 16)), camera.intrinsics.reshape((*batch, 9))], -1)


def from_eg3d(c: ArrayLike) -> Camera:
    """The camera of EG3D's 25 numbers (..., 25). Raises ValueError: it is not one that `validate` accepts."""
    c = jnp.asarray(c, jnp.float32)
    if c.shape[-1:] != (25,):
        raise ValueError(
            f"An EG3D camera has 25 numbers (16 of cam2world, 9 of intrinsics) in its last axis; got shape {c.shape}."
        )
    return _valid(Camera(c[..., :16].reshape((*c.shape[:-1], 4, 4)), c[..., 16:].reshape((*c.shape[:-1], 3, 3))))


def from_opencv(world2cam: ArrayLike, intrinsics: ArrayLike, image_size: float) -> Camera:
    """The camera of an OpenCV extrinsic matrix, (..., 4, 4) or (..., 3, 4), and intrinsics (..., 3, 3) in pixels.

    `image_size` is the side of the square image in pixels. OpenCV's pixel centres lie at integers, ours at
    halves, so half a pixel is added to the principal point. Raises ValueError: shapes are others, or the camera is not
    one that `validate` accepts.
    """
    checks.positive("image_size", image_size)
    checks.shape("intrinsics", intrinsics, 3, 3)
    matrix, k = jnp.asarray(world2cam, jnp.float32), jnp.asarray(intrinsics, jnp.float32)
    if matrix.shape[-2:] == (3, 4):
        matrix = poses.of_parts(matrix[..., :3], matrix[..., 3])
    checks.shape("world2cam", matrix, 4, 4)
    checks.pose(matrix)
    scale = jnp.array([1 / image_size, 1 / image_size, 1.0], jnp.float32)[:, None]
    return _valid(Camera(poses.inverse(matrix), k.at[..., :2, 2].add(0.5) * scale).spread())


def to_opencv(camera: Camera, image_size: float) -> tuple[jax.Array, jax.Array]:
    """World-to-camera (..., 4, 4) and pixel intrinsics (..., 3, 3): the inverse of `from_opencv`."""
    checks.positive("image_size", image_size)
    k = camera.intrinsics * jnp.array([image_size, image_size, 1.0], jnp.float32)[:, None]
    return poses.inverse(camera.cam2world), k.at[..., :2, 2].add(-0.5)


def from_colmap(
    quaternion: ArrayLike, translation: ArrayLike, model: str, params: Sequence[float], image_size: float
) -> Camera:
    """The camera of one COLMAP image: quaternion (w, x, y, z) and translation of world-to-camera.

    Args:
      quaternion, translation: (4,) and (3,), as in `images.txt`.
      model: "SIMPLE_PINHOLE" (f, cx, cy) or "PINHOLE" (fx, fy, cx, cy); others have distortion.
      params: the numbers after the size in `cameras.txt`, in pixels (COLMAP's pixel centres lie at halves).
      image_size: side of the square image in pixels.

    Raises ValueError: the model has distortion, the quaternion is zero, or the camera is not one that `validate`
    accepts.
    """
    if model not in _COLMAP_MODELS:
        raise ValueError(
            f"COLMAP camera model {model!r} is not a pinhole without distortion; expected one of "
            f"{sorted(_COLMAP_MODELS)}. Run `colmap image_undistorter` first."
        )
    if len(params) != _COLMAP_MODELS[model]:
        raise ValueError(f"COLMAP model {model} has {_COLMAP_MODELS[model]} parameters; got {len(params)}.")
    fx, fy, cx, cy = params if model == "PINHOLE" else (params[0], *params)
    checks.positive("image_size", image_size)
    checks.shape("translation", translation, 3)
    world2cam = poses.of_parts(
        poses.from_quaternion(quaternion).astype(np.float32), np.asarray(translation, np.float32)
    )
    k = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, image_size]]) / image_size
    return _valid(Camera(poses.inverse(world2cam), jnp.asarray(k, jnp.float32)))


def to_colmap(camera: Camera, image_size: float) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """COLMAP's (quaternion wxyz, translation, PINHOLE params in pixels) of one camera without skew."""
    if camera.batch_shape:
        raise ValueError(f"these are cameras {camera.batch_shape}, expected one: index them")
    if abs(float(camera.intrinsics[0, 1])) > 1e-6:
        raise ValueError("COLMAP's PINHOLE model has no skew; this camera has one.")
    pose = np.asarray(poses.inverse(camera.cam2world), np.float64)
    k = np.asarray(camera.intrinsics, np.float64) * image_size
    return poses.to_quaternion(pose[:3, :3]), pose[:3, 3], (k[0, 0], k[1, 1], k[0, 2], k[1, 2])


def validate(camera: Camera) -> None:
    """Raises ValueError, with the likely remedy, if a camera is not a sane pinhole camera.

    Checks shapes, finite numbers, a rotation (orthonormal, determinant +1), the last row, and intrinsics that are
    divided by the image size. Where values are traced, under `jit` say, only their shapes can be checked: validate
    cameras of your own before they go in.
    """
    checks.matrices(camera.cam2world, camera.intrinsics)
    checks.pose(camera.cam2world)
    checks.intrinsics(camera.intrinsics)


def _valid(camera: Camera) -> Camera:
    """The camera, validated."""
    validate(camera)
    return camera
