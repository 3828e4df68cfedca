"""Bilinear resizing of images (..., H, W, C) to squares, as EG3D does it: between pixel centres, edges repeated."""

from typing import Any

import jax
import jax.numpy as jnp

from dnerf_jax.ops.precision import einsum


def resize(image: jax.Array, resolution: int, *, antialias: bool) -> jax.Array:
    """Resizes (..., H, W, C) to a square, bilinear between pixel centres, edges repeated."""
    if image.shape[-3] == image.shape[-2] == resolution / 2:
        return _doubled(_doubled(image, image.ndim - 3), image.ndim - 2)
    shape = (*image.shape[:-3], resolution, resolution, image.shape[-1])
    return jax.image.resize(image, shape, "bilinear", antialias=antialias, precision=jax.lax.Precision.HIGHEST)


def _doubled(image: jax.Array, axis: int) -> jax.Array:
    """Twice as long along an axis: a quarter of a neighbour and three of the pixel. No matrix product is as fast."""
    length = image.shape[axis]
    first, last = (jax.lax.slice_in_dim(image, place, place + 1, axis=axis) for place in (0, length - 1))
    before = jnp.concatenate([first, jax.lax.slice_in_dim(image, 0, length - 1, axis=axis)], axis)
    after = jnp.concatenate([jax.lax.slice_in_dim(image, 1, length, axis=axis), last], axis)
    both = jnp.stack([0.75 * image + 0.25 * before, 0.75 * image + 0.25 * after], axis=axis + 1)
    return both.reshape((*image.shape[:axis], 2 * length, *image.shape[axis + 1 :]))


def add_resized(images: list[jax.Array], resolution: int) -> jax.Array:
    """The sum of images (N, r, r, C), each of its own size r, resized to a square as `resize` does, not antialiased.

    One matrix product interpolates the rows of all of them, so that only their sum is ever made at that size.
    """
    total: Any = 0.0
    wide, taps = [], []
    for image in images:
        size = image.shape[-2]
        if size == resolution:
            total = total + image
        else:
            identity = jnp.eye(size, dtype=image.dtype)
            taps.append(jax.image.resize(identity, (resolution, size), "linear", antialias=False))
            wide.append(einsum("xw,nhwc->nhxc", taps[-1], image))
    if wide:
        rows, weights = jnp.concatenate(wide, axis=1), jnp.concatenate(taps, axis=1)
        flat = rows.reshape((*rows.shape[:2], -1))
        # One product for each image: with the weights shared, XLA would transpose the images instead.
        added = einsum("nyh,nhx->nyx", jnp.broadcast_to(weights, flat.shape[:1] + weights.shape), flat)
        total = total + added.reshape(added.shape[:2] + rows.shape[2:])
    return total
