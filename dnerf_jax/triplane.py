"""Tri-planes: three feature planes that together hold a feature for every point of a box.

Planes are (..., P, H, W, C) with P planes (three in EG3D); points (..., N, 3) are world positions; leading batch
dimensions agree. The box is [-box_warp / 2, box_warp / 2]^3. `plane_axes` (P, 3, 3) gives each plane's frame: a
point's plane coordinates are the first two components of `point @ inverse(axes)`.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from dnerf_jax.precision import einsum

# The planes of EG3D's published models: XY, XZ and ZX (sic: not YZ).
EG3D_AXES = (
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)),
    ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
)
# The planes that EG3D meant: XY, XZ and ZY.
ORTHOGONAL_AXES = EG3D_AXES[:2] + (((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),)


def split_channels(features, num_planes=3):
    """Plane-major channels (..., H, W, P * C) as planes (..., P, H, W, C)."""
    return rearrange(features, "... h w (p c) -> ... p h w c", p=num_planes)


def project(points, plane_axes, box_warp):
    """Plane coordinates (..., P, N, 2) of points; [-1, 1] is the box.

    The first coordinate runs along a plane's width, the second along its height.
    """
    to_plane = np.linalg.inv(np.asarray(plane_axes, np.float64))[..., :2].astype(np.float32)
    return einsum("...ni,pij->...pnj", points * (2 / box_warp), to_plane)


def sample(planes, points, *, plane_axes=EG3D_AXES, box_warp=1.0):
    """Features of points on every plane, (..., P, N, C), bilinear between pixel centres, zero outside.

    Args:
      planes: (..., P, H, W, C).
      points: (..., N, 3) in the world frame.
    """
    chex.assert_shape(points, (*planes.shape[:-4], None, 3))
    chex.assert_axis_dimension(planes, -4, len(plane_axes))
    uv = project(points, plane_axes, box_warp)
    batch = uv.shape[:-2]
    flat = jax.vmap(bilinear)(planes.reshape((-1,) + planes.shape[-3:]), uv.reshape((-1,) + uv.shape[-2:]))
    return flat.reshape(batch + flat.shape[-2:])


def bilinear(image, uv):
    """Samples an image (H, W, C) at uv (N, 2) in [-1, 1], where pixel centres are `(2 i + 1) / size - 1`.

    Outside lies zero: a sample beyond the outermost centres fades to zero over one pixel (PyTorch's `grid_sample`
    with zero padding and `align_corners=False`).
    """
    height, width, channels = image.shape
    padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0))).reshape(-1, channels)
    x, left = _cell(uv[..., 0], width)
    y, top = _cell(uv[..., 1], height)
    index = (top + 1) * (width + 2) + left + 1
    x, y = x[..., None], y[..., None]
    upper = padded[index] * (1 - x) + padded[index + 1] * x
    lower = padded[index + width + 2] * (1 - x) + padded[index + width + 3] * x
    return upper * (1 - y) + lower * y


def _cell(u, size):
    """The cell of [-1, 1] coordinates between pixel centres: fraction in [0, 1] and index in [-1, size - 1]."""
    position = jnp.clip(((u + 1) * size - 1) / 2, -1, size)
    index = jnp.minimum(jnp.floor(position), size - 1)
    return position - index, index.astype(jnp.int32)
