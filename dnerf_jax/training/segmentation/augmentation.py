"""Images and masks as cameras, hands and lamps might have made them: mirrored, scaled and cropped, of other colours.

All are pure functions of a key, under `jit`. What moves an image is separable: each row and each column of the result
is a weighted mean of rows and columns, so that two matrix products scale, crop and mirror at once.
"""

import jax
import jax.numpy as jnp

from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.precision import einsum
from dnerf_jax.training.segmentation.plan import Augmentation

_GREY = jnp.array([0.299, 0.587, 0.114])  # how bright red, green and blue look


def augment(
    key: jax.Array, settings: Augmentation, image: jax.Array, mask: jax.Array, *, mirrored: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Image (R, R, 3) in [-1, 1] and mask (R, R), each changed alike.

    mirrored: (256,), the class of every id in a mirror, see `LabelMap.mirrored`.
    """
    of_frame, of_colors = jax.random.split(key)
    scale, right, down, flip = framing(of_frame, settings)
    image, mask = move(image, mask, scale, right, down)
    image = jnp.where(flip, image[:, ::-1], image)
    mask = jnp.where(flip, mirrored[mask[:, ::-1]], mask)
    return recolor(of_colors, settings, image), mask


def framing(key: jax.Array, settings: Augmentation) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Draws the scale, even in its logarithm; the shift right and down, in image sizes; and whether to mirror."""
    of_scale, of_shift, of_flip = jax.random.split(key, 3)
    ends = jnp.log(jnp.array([settings.smallest, settings.largest], jnp.float32))
    scale = jnp.exp(ends[0] + (ends[1] - ends[0]) * jax.random.uniform(of_scale))
    room = jnp.abs(scale - 1) / 2 * settings.shift
    right, down = jax.random.uniform(of_shift, (2,), jnp.float32, minval=-1.0, maxval=1.0) * room
    return scale, right, down, jax.random.uniform(of_flip) < settings.flip


def move(
    image: jax.Array, mask: jax.Array, scale: jax.Array, right: jax.Array, down: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Scales about the middle, then shifts; what comes into view is 0, grey, and 255, to be ignored."""
    size = image.shape[0]
    rows, columns = (_source(size, scale, shift) for shift in (down, right))
    moved = einsum("yh,hwc,xw->yxc", _weights(rows, size, scale), image, _weights(columns, size, scale))
    places = [jnp.round(at).astype(jnp.int32) for at in (rows, columns)]
    inside = [(at >= 0) & (at < size) for at in places]
    labels = mask[jnp.clip(places[0], 0, size - 1)][:, jnp.clip(places[1], 0, size - 1)]
    return moved, jnp.where(inside[0][:, None] & inside[1], labels, LabelMap.IGNORE)


def recolor(key: jax.Array, settings: Augmentation, image: jax.Array) -> jax.Array:
    """Changes brightness, then contrast about the image's mean grey, then saturation; clipped to [-1, 1]."""
    strengths = jnp.array([settings.brightness, settings.contrast, settings.saturation])
    factors = 1 + strengths * jax.random.uniform(key, (3,), jnp.float32, minval=-1.0, maxval=1.0)
    colors = (image + 1) / 2 * factors[0]
    middle = jnp.mean(colors @ _GREY)
    colors = middle + (colors - middle) * factors[1]
    grey = (colors @ _GREY)[..., None]
    colors = grey + (colors - grey) * factors[2]
    return jnp.clip(2 * colors - 1, -1, 1)


def _source(size: int, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """Where along an axis the pixels of the result come from, in pixels of the image."""
    places = (jnp.arange(size, dtype=jnp.float32) + 0.5) / size - 0.5
    return ((places - shift) / scale + 0.5) * size - 0.5


def _weights(source: jax.Array, size: int, scale: jax.Array) -> jax.Array:
    """(R, R): row i has the weights of the image's pixels at source[i]; a triangle as wide as what it shrinks."""
    apart = jnp.abs(source[:, None] - jnp.arange(size)) * jnp.minimum(scale, 1.0)
    weights = jnp.maximum(1 - apart, 0)
    inside = (source > -0.5) & (source < size - 0.5)
    return jnp.where(inside[:, None], weights / jnp.maximum(jnp.sum(weights, axis=1, keepdims=True), 1e-6), 0.0)
