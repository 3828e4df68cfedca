"""A camera as the numbers people turn: yaw, pitch, roll, radius, pivot, focal length; what a pose is optimised in.

`cameras.Camera` is two matrices, whose entries depend on each other. An `Orbit` has the numbers they are made of, each
of which may be free or fixed, and is a pytree of arrays, so that an optimiser moves it as it moves a latent:

    position = radius (sin yaw cos pitch, sin pitch, cos yaw cos pitch), around the origin, as EG3D's cameras stand
    forward  = from the position to the pivot
    roll     turns the camera about `forward`, clockwise as its photographer sees it, so what is in the picture turns
             counter-clockwise; at roll 0 right is level

Angles are radians, lengths world units, focal length and centre image sizes; see `cameras` for the frame. Leading
batch dimensions are free, and those of an orbit's fields broadcast.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from numpy.typing import ArrayLike

from dnerf_jax.ops import cameras, checks, poses
from dnerf_jax.ops.batched import Batched
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.precision import einsum

_NEAREST = 1e-3  # of its radius, that a pivot lies before a camera at least
_SQUARE = 1e-3  # of the focal length, by which pixels may not be square


@struct.dataclass(repr=False)
class Orbit(Batched):
    """Cameras on spheres around the origin, looking at a pivot.

    yaw, pitch, roll: (...) radians. radius: (...) distance from the origin. pivot: (..., 3) point looked at.
    focal: (...) focal length of both axes. center: (..., 2) the principal point (cx, cy), 0.5 in the middle: that of a
    picture that was not cut around it is known, not sought, so optimisers leave it alone.
    """

    yaw: jax.Array
    pitch: jax.Array
    roll: jax.Array
    radius: jax.Array
    pivot: jax.Array
    focal: jax.Array
    center: jax.Array

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading dimensions: those of all fields, broadcast."""
        numbers = self.yaw, self.pitch, self.roll, self.radius, self.focal
        shapes = [np.shape(x) for x in numbers] + [np.shape(x)[:-1] for x in (self.pivot, self.center)]
        return np.broadcast_shapes(*shapes)

    def spread(self) -> "Orbit":
        """The same, float32, with all leading dimensions on every field. Raises ValueError: these do not broadcast."""
        checks.shape("pivot", self.pivot, 3)
        checks.shape("center", self.center, 2)
        batch = self.batch_shape
        ends = {"pivot": (3,), "center": (2,)}
        fields = {name: jnp.asarray(getattr(self, name), jnp.float32) for name in self.__dataclass_fields__}
        return Orbit(**{name: jnp.broadcast_to(x, batch + ends.get(name, ())) for name, x in fields.items()})

    def __getitem__(self, index: object) -> "Orbit":
        """The orbits at `index` of the leading dimensions; see `Batched`."""
        return Batched.__getitem__(self.spread(), index)


class Angles(NamedTuple):
    """Differences of two cameras' angles, (...) degrees each, from -180 to 180."""

    yaw: jax.Array
    pitch: jax.Array
    roll: jax.Array


def default(
    *, radius: ArrayLike, pivot: ArrayLike, focal: ArrayLike, yaw: ArrayLike = 0.0, pitch: ArrayLike = 0.0
) -> Orbit:
    """The orbit of `cameras.orbit` with these numbers, every one of which may have leading dimensions.

    With a generator's `avg_camera_radius`, `avg_camera_pivot` and `avg_camera_focal` its `camera` is exactly
    `scenes.default_camera` at the yaw and pitch (...) in radians. Raises ValueError as `camera`.
    """
    numbers = [jnp.asarray(x, jnp.float32) for x in (yaw, pitch, 0.0, radius, pivot, focal, (0.5, 0.5))]
    orbit = Orbit(*numbers).spread()
    _check(orbit)
    return orbit


def camera(orbit: Orbit) -> Camera:
    """The cameras (...) of orbits (...): differentiable in every field.

    Raises ValueError, where values are known: yaw or roll beyond 2 pi or pitch beyond pi / 2, as degrees would be; a
    radius or focal length that is not positive, or one in pixels; a camera at its own pivot.
    """
    orbit = orbit.spread()
    _check(orbit)
    level = _level(orbit)
    cos, sin = jnp.cos(orbit.roll)[..., None], jnp.sin(orbit.roll)[..., None]
    right, down, forward, position = (level[..., :3, axis] for axis in range(4))
    rotation = jnp.stack([cos * right + sin * down, cos * down - sin * right, forward], axis=-1)
    zero, one = jnp.zeros_like(orbit.focal), jnp.ones_like(orbit.focal)
    rows = [(orbit.focal, zero, orbit.center[..., 0]), (zero, orbit.focal, orbit.center[..., 1]), (zero, zero, one)]
    intrinsics = jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
    return Camera(poses.of_parts(rotation, position), intrinsics)


def of_camera(camera: Camera, *, pivot: ArrayLike = (0.0, 0.0, 0.0)) -> Orbit:
    """The orbits (...) of cameras (...) with square pixels: `camera` makes the same cameras of them again.

    Many pivots give one camera. The one taken is the point on the optical axis that is nearest to `pivot` (..., 3), so
    that an orbit made with this pivot comes back as it was; where a camera looks away from `pivot`, it is the point one
    radius before the camera. Straight above or below the origin yaw is open: what it leaves, roll takes.

    Raises ValueError, where values are known: a camera that `cameras.validate` refuses, or one at the origin; focal
    lengths that differ by more than a thousandth, or skew.
    """
    camera = camera.spread()
    cameras.validate(camera)
    checks.shape("pivot", pivot, 3)
    k = checks.known(camera.intrinsics)
    if k is not None and k.size:
        focals = k[..., [0, 1], [0, 1]].reshape(-1, 2)
        off = np.maximum(np.abs(focals[:, 0] - focals[:, 1]), np.abs(k[..., 0, 1]).reshape(-1)) / focals.mean(axis=-1)
        if off.max() > _SQUARE:
            fx, fy = focals[off.argmax()]
            raise ValueError(
                f"a camera has focal lengths {fx:g} and {fy:g} and skew {k.reshape(-1, 9)[off.argmax(), 1]:g}, expected"
                " square pixels: resize its picture so that both focal lengths are equal in pixels, then divide by its"
                " side"
            )
    focal = (camera.intrinsics[..., 0, 0] + camera.intrinsics[..., 1, 1]) / 2
    return _of_pose(camera.cam2world, pivot, focal, camera.intrinsics[..., :2, 2])


def angles_between(a: Camera, b: Camera) -> Angles:
    """By how much b's yaw, pitch and roll exceed a's, in degrees, (...): errors of a pose, b's, if a is the truth.

    Yaw and pitch are of where cameras stand around the origin, roll is about their optical axes; distances, directions
    and intrinsics do not count. Raises ValueError: a camera that `cameras.validate` refuses, or one at the origin.
    """
    found = []
    for one in (a, b):
        cameras.validate(one)
        batch = jnp.ones(one.cam2world.shape[:-2])
        found.append(_of_pose(one.cam2world, (0.0, 0.0, 0.0), batch, batch[..., None] * jnp.full(2, 0.5)))
    differences = (getattr(found[1], name) - getattr(found[0], name) for name in Angles._fields)
    return Angles(*(jnp.degrees(jnp.arctan2(jnp.sin(x), jnp.cos(x))) for x in differences))


def _check(orbit: Orbit) -> None:
    checks.angle("yaw", orbit.yaw, 2 * np.pi)
    checks.angle("pitch", orbit.pitch, np.pi / 2)
    checks.angle("roll", orbit.roll, 2 * np.pi)
    checks.positive("radius", orbit.radius)
    checks.finite("pivot", orbit.pivot)
    checks.focal("focal", orbit.focal)


def _level(orbit: Orbit) -> jax.Array:
    """Camera-to-world matrices without roll, computed as `cameras.orbit` does, so that they are the same numbers."""
    yaw, pitch = orbit.yaw, orbit.pitch
    direction = jnp.stack([jnp.sin(yaw) * jnp.cos(pitch), jnp.sin(pitch), jnp.cos(yaw) * jnp.cos(pitch)], axis=-1)
    right = jnp.stack([jnp.cos(yaw), jnp.zeros_like(yaw), -jnp.sin(yaw)], axis=-1)
    return poses.look_at(orbit.radius[..., None] * direction, orbit.pivot, right=right)


def _of_pose(cam2world: jax.Array, pivot: ArrayLike, focal: jax.Array, center: jax.Array) -> Orbit:
    """The orbit of camera-to-world matrices (..., 4, 4); see `of_camera`."""
    position, forward, right = (cam2world[..., :3, axis] for axis in (3, 2, 0))
    radius = jnp.linalg.norm(position, axis=-1)
    known = checks.known(radius)
    if known is not None and known.size and known.min() < 1e-6:
        raise ValueError(
            "a camera stands at the origin, where the subject is, expected one outside of it: is its cam2world the"
            " inverse, world to camera, or a rotation alone?"
        )
    x, y, z = (position[..., axis] for axis in range(3))
    yaw, pitch = jnp.arctan2(x, z), jnp.arctan2(y, jnp.hypot(x, z))
    along = jnp.sum((jnp.asarray(pivot, jnp.float32) - position) * forward, axis=-1)
    along = jnp.where(along > _NEAREST * radius, along, radius)
    target = position + along[..., None] * forward
    orbit = Orbit(yaw, pitch, jnp.zeros_like(yaw), radius, target, focal, center).spread()
    level = _level(orbit)
    cos, sin = (einsum("...i,...i->...", right, level[..., :3, axis]) for axis in (0, 1))
    return orbit.replace(roll=jnp.arctan2(sin, cos))  # type: ignore[attr-defined]
