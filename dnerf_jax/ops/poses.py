"""Rigid transforms (..., 4, 4), camera to world or back: rotation and translation, the last row 0 0 0 1.

The columns of a camera's rotation are its axes in the world: right, down and forward in OpenCV's convention. Numbers
are float32. Leading batch dimensions are free.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dnerf_jax.ops import checks
from dnerf_jax.ops.precision import einsum


def look_at(
    origin: ArrayLike, target: ArrayLike, up: ArrayLike = (0.0, 1.0, 0.0), *, right: ArrayLike | None = None
) -> jax.Array:
    """Camera-to-world matrices (..., 4, 4) at `origin` (..., 3) looking at `target` (..., 3), without roll.

    right: (..., 3) what is to the image's right where the camera looks along `up`, which leaves that open. None is the
    axis of the world least along `up`: straight down, a camera has +x to the right, as an orbit's does at yaw 0.

    Raises ValueError: a camera would look at itself, or `up` has no length.
    """
    for name, value in (("origin", origin), ("target", target), ("up", up)):
        checks.shape(name, value, 3)
    ends = checks.known(origin), checks.known(target), checks.known(up)
    if ends[0] is not None and ends[1] is not None and (ends[0] == ends[1]).all(axis=-1).any():
        raise ValueError("a camera would look at itself: its origin is its target")
    if ends[2] is not None and not ends[2].any(axis=-1).all():
        raise ValueError("up has no length")
    origin, target = jnp.asarray(origin, jnp.float32), jnp.asarray(target, jnp.float32)
    up, forward = normalize(jnp.asarray(up, jnp.float32)), normalize(target - origin)
    sideways = jnp.cross(forward, up)
    along = jnp.sum(jnp.square(sideways), axis=-1, keepdims=True) < 1e-12
    if right is None:
        right = jax.nn.one_hot(jnp.argmin(jnp.abs(up), axis=-1), 3, dtype=jnp.float32)
    right = jnp.asarray(right, jnp.float32)
    right = right - forward * jnp.sum(right * forward, axis=-1, keepdims=True)
    right, forward = jnp.broadcast_arrays(normalize(jnp.where(along, right, sideways)), forward)
    rotation = jnp.stack([right, jnp.cross(forward, right), forward], axis=-1)
    return of_parts(rotation, jnp.broadcast_to(origin, forward.shape))


def of_parts(rotation: ArrayLike, translation: ArrayLike) -> jax.Array:
    """Transforms (..., 4, 4) of rotations (..., 3, 3) and translations (..., 3)."""
    top = jnp.concatenate([jnp.asarray(rotation), jnp.asarray(translation)[..., None]], axis=-1)
    bottom = jnp.array([0.0, 0.0, 0.0, 1.0], top.dtype)
    return jnp.concatenate([top, jnp.broadcast_to(bottom, (*top.shape[:-2], 1, 4))], axis=-2)


def inverse(pose: jax.Array) -> jax.Array:
    """The inverse transforms (..., 4, 4)."""
    rotation = jnp.swapaxes(pose[..., :3, :3], -1, -2)
    return of_parts(rotation, -einsum("...ij,...j->...i", rotation, pose[..., :3, 3]))


def flip_opengl(cam2world: ArrayLike) -> jax.Array:
    """Between OpenCV and OpenGL/Blender camera axes, both ways: y and z of the camera are negated."""
    checks.shape("cam2world", cam2world, 4, 4)
    return jnp.asarray(cam2world, jnp.float32) * jnp.array([1.0, -1.0, -1.0, 1.0], jnp.float32)


def from_quaternion(quaternion: ArrayLike) -> np.ndarray:
    """The rotation (3, 3), float64, of a quaternion (w, x, y, z) of any length but 0."""
    checks.shape("quaternion", quaternion, 4)
    numbers = np.asarray(quaternion, np.float64)
    length = np.linalg.norm(numbers)
    if not 0 < length < np.inf:
        raise ValueError(f"the quaternion is {numbers}, expected w, x, y, z of a rotation: not all zero, and finite")
    w, x, y, z = numbers / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def to_quaternion(rotation: ArrayLike) -> np.ndarray:
    """The unit quaternion (w, x, y, z), float64, of a rotation (3, 3), w not negative."""
    r = np.asarray(rotation, np.float64)
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
    return quaternion / np.linalg.norm(quaternion) * (1 if quaternion[0] >= 0 else -1)


def normalize(x: jax.Array) -> jax.Array:
    """Vectors (..., 3) at unit length; those of no length are NaN."""
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)
