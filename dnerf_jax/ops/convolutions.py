"""Convolutions as StyleGAN2 has them, written so that XLA is quick with them and with their gradients on CPUs too.

Images are NHWC, kernels (k, k, I, O).
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

_UPSAMPLING_TAPS = np.array([1, 3, 3, 1], np.float32) / 4  # [1, 3, 3, 1] / 8 per axis, times the gain of 2


def upsample(image: jax.Array) -> jax.Array:
    """Doubles the size of images (..., H, W, C) with the normalised [1, 3, 3, 1] filter.

    Even outputs are (1 x[i-1] + 3 x[i]) / 4 and odd ones (3 x[i] + 1 x[i+1]) / 4 along each axis, zero outside.
    """
    for axis in (-3, -2):
        axis = image.ndim + axis
        ends = [(0, 0)] * image.ndim
        ends[axis] = (1, 1)
        padded = jnp.pad(image, ends)
        size = image.shape[axis]
        before, here, after = (jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(3))
        pair = jnp.stack([(before + 3 * here) / 4, (3 * here + after) / 4], axis=axis + 1)
        image = pair.reshape((*image.shape[:axis], 2 * size, *image.shape[axis + 1 :]))
    return image


@jax.custom_vjp
def convolve(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Correlates x (N, H, W, I) with weight (k, k, I, O), k odd, same size, zero padding.

    The gradient in the weight is written as one matrix product per entry of the kernel: XLA's own takes nearly twice
    the time on CPUs. Being custom, it serves reverse-mode differentiation of any order, but not forward mode.
    """
    return jax.lax.conv_general_dilated(
        x, weight, window_strides=(1, 1), padding="SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _convolve_forward(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return convolve(x, weight), (x, weight)


def _convolve_backward(kept: tuple[jax.Array, jax.Array], out: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, weight = kept
    size, (_, height, width, inputs) = weight.shape[0], x.shape
    ends = (size // 2, size // 2)
    padded, flat = jnp.pad(x, ((0, 0), ends, ends, (0, 0))), out.reshape(-1, out.shape[-1])

    def entry(i: int, j: int) -> jax.Array:
        return padded[:, i : i + height, j : j + width].reshape(-1, inputs).T @ flat

    in_weight = jnp.stack([jnp.stack([entry(i, j) for j in range(size)]) for i in range(size)])
    return convolve(out, weight[::-1, ::-1].swapaxes(2, 3)), in_weight


convolve.defvjp(_convolve_forward, _convolve_backward)


def convolve_upsampling(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Transposed convolution of stride 2 with weight (3, 3, I, O), then the [1, 3, 3, 1] filter: (N, 2H, 2W, O).

    The transposed convolution is written by output parity: y[2i] = x[i] w[0] + x[i-1] w[2] and y[2i+1] = x[i] w[1]
    along each axis. So four shifted copies of the input, each times the kernel entries that it meets, make all of
    it by plain matrix products. XLA runs dilated and even-sized convolutions slowly on CPUs: the gradient of the same
    sum written as one 2 x 2 convolution takes forty times as long.
    """
    chex.assert_shape(weight, (3, 3, x.shape[-1], None))
    n, height, width, inputs = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    parity: dict[tuple[int, int], Any] = {(py, px): 0 for py in range(2) for px in range(2)}
    for dy in range(2):
        for dx in range(2):
            # A shift of 1 is x[i], which meets kernel entries 0 and 1 (parities 0 and 1); a shift of 0 is x[i-1].
            shifted = padded[:, dy : dy + height + 1, dx : dx + width + 1].reshape(-1, inputs)
            rows = ((0, 0), (1, 1)) if dy else ((0, 2),)
            cols = ((0, 0), (1, 1)) if dx else ((0, 2),)
            met = [(py, px, weight[ky, kx]) for py, ky in rows for px, kx in cols]
            product = shifted @ jnp.concatenate([entry for _, _, entry in met], axis=1)
            for (py, px, _), part in zip(met, jnp.split(product, len(met), axis=1), strict=True):
                parity[py, px] = parity[py, px] + part
    y = jnp.stack([parity[key] for key in sorted(parity)], axis=1)
    y = rearrange(y, "(n h w) (py px) c -> n (h py) (w px) c", n=n, h=height + 1, py=2)
    # Row 2H + 1 is beyond the transposed convolution's 2H + 1 rows and zero, which serves as the filter's padding.
    y = jnp.pad(y, ((0, 0), (1, 0), (1, 0), (0, 0)))
    for axis, size in ((1, 2 * height), (2, 2 * width)):
        y = sum(
            tap.astype(y.dtype) * jax.lax.slice_in_dim(y, i, i + size, axis=axis)
            for i, tap in enumerate(_UPSAMPLING_TAPS)
        )
    return y
