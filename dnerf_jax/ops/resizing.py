"""Bilinear resizing of images (..., H, W, C) to squares, as EG3D does it: between pixel centres, edges repeated."""

from typing import Any

import jax
import jax.numpy as jnp

from dnerf_jax.ops.precision import einsum


def resize(image: jax.Array, resolution: int, *, antialias: bool) -> jax.Array:
    """Resizes (..., H, W, C) to a square, bilinear between pixel centres, edges repeated."""
    shape = (*image.shape[:-3], resolution, resolution, image.shape[-1])
    return jax.image.resize(image, shape, "bilinear", antialias=antialias, precision=jax.lax.Precision.HIGHEST)


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
