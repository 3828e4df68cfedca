"""Makes renderings look like photos that nobody framed: turned, shifted, zoomed, blurred, noisy, of other colours.

What moves an image moves its camera: it is turned by `roll` (radians, clockwise as seen), zoomed about the middle by
exp(`zoom`), then moved `right` and `down` (in image sizes): p' = exp(zoom) R(roll) p + (right, down) for places p from
the middle. So framed, no rendering is needed for these four; they are what an encoder has to guess besides yaw and
pitch.
"""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from dnerf_jax.training.encoders.plan import Disturbances


def disturb(
    key: jax.Array, settings: Disturbances, image: jax.Array, resolution: int, *, background: float
) -> tuple[jax.Array, jax.Array]:
    """An image (r, r, 3) in [-1, 1], r a multiple of `resolution`, as if photographed, and how it was moved.

    background: the value of what is empty, which is told by it.

    Returns the disturbed image (R, R, 3), and roll, right, down, zoom as (4,).
    """
    keys = jax.random.split(key, 8)
    moved = framing(keys[0], settings)
    image = move(image, moved, resolution, background=background)
    image = _new_background(keys[1], settings, image, background)
    image = _recolored(keys[2], settings, image)
    image = _blurred(keys[3], settings, image)
    image = _occluded(keys[4], settings, image)
    deviation = settings.noise * jax.random.uniform(keys[5])
    return jnp.clip(image + deviation * jax.random.normal(keys[6], image.shape), -1, 1), moved


def framing(key: jax.Array, settings: Disturbances) -> jax.Array:
    """Draws roll, right, down, zoom (4,)."""
    of_values, of_share = jax.random.split(key)
    limits = jnp.array([jnp.radians(settings.roll), settings.shift, settings.shift, settings.zoom], jnp.float32)
    values = jax.random.uniform(of_values, (4,), jnp.float32, minval=-1.0, maxval=1.0) * limits
    return jnp.where(jax.random.uniform(of_share) < settings.aligned, 0.0, values)


def move(image: jax.Array, moved: jax.Array, resolution: int, *, background: float) -> jax.Array:
    """The image (r, r, 3) turned, zoomed and shifted by `moved` (4,), at R x R; what comes into view is background."""
    size = image.shape[0]
    roll, right, down, zoom = moved
    places = (jnp.arange(size, dtype=jnp.float32) + 0.5) / size - 0.5
    x, y = places[None, :] - right, places[:, None] - down
    cos, sin, scale = jnp.cos(roll), jnp.sin(roll), jnp.exp(-zoom)
    source = jnp.stack([cos * y - sin * x, cos * x + sin * y]) * scale
    source = (source + 0.5) * size - 0.5
    channels = [map_coordinates(image[..., i], list(source), order=1, cval=background) for i in range(3)]
    factor = size // resolution
    return jnp.stack(channels, -1).reshape((resolution, factor, resolution, factor, 3)).mean((1, 3))


def _new_background(key: jax.Array, settings: Disturbances, image: jax.Array, background: float) -> jax.Array:
    """Other colours, one at each corner, in the place of what is empty."""
    of_share, of_corners = jax.random.split(key)
    corners = jax.random.uniform(of_corners, (2, 2, 3), minval=-1.0, maxval=1.0)
    colors = jax.image.resize(corners, image.shape, "linear")
    empty = jnp.all(jnp.abs(image - background) < 0.02, axis=-1, keepdims=True)
    return jnp.where(empty & (jax.random.uniform(of_share) < settings.background), colors, image)


def _recolored(key: jax.Array, settings: Disturbances, image: jax.Array) -> jax.Array:
    """Gain and offset of every channel, and contrast."""
    gain, offset, contrast = jax.random.uniform(key, (3, 3), minval=-1.0, maxval=1.0) * settings.color
    mean = jnp.mean(image, axis=(0, 1))
    image = mean + (image - mean) * (1 + contrast[0])
    return (image + 1) * (1 + gain) - 1 + offset


def _blurred(key: jax.Array, settings: Disturbances, image: jax.Array) -> jax.Array:
    deviation = jnp.maximum(settings.blur * jax.random.uniform(key), 1e-3)
    taps = jnp.exp(-jnp.square(jnp.arange(-3, 4) / deviation) / 2)
    taps = taps / jnp.sum(taps)
    for axis in (0, 1):
        padded = jnp.pad(image, [(3, 3) if axis == i else (0, 0) for i in range(3)], mode="edge")
        shifted = [jax.lax.dynamic_slice_in_dim(padded, i, image.shape[axis], axis) for i in range(7)]
        image = sum(tap * part for tap, part in zip(taps, shifted, strict=True))
    return image


def _occluded(key: jax.Array, settings: Disturbances, image: jax.Array) -> jax.Array:
    """A rectangle of one colour over a part of the image."""
    of_share, of_box, of_color = jax.random.split(key, 3)
    middle, half = jax.random.uniform(of_box, (2, 2)) * jnp.array([[1.0], [0.2]])
    places = (jnp.arange(image.shape[0]) + 0.5) / image.shape[0]
    inside = [jnp.abs(places - middle[axis]) < half[axis] for axis in range(2)]
    covered = inside[0][:, None, None] & inside[1][None, :, None]
    covered &= jax.random.uniform(of_share) < settings.occlusion
    return jnp.where(covered, jax.random.uniform(of_color, (3,), minval=-1.0, maxval=1.0), image)
