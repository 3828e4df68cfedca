"""From a latent to attributes: one monotone, continuous map per latent dimension, which every world lists.

A latent z ~ N(0, I) is first normalised to unit mean square, as EG3D's mapping network does. Dimension i then is
`low + (high - low) * logistic(slope * z[i])` of the world's i-th attribute.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Attribute(NamedTuple):
    """One latent dimension's attribute: its name, range, and the logistic slope of its map.

    The slope 1.702 makes the values nearly uniform over [low, high] for z ~ N(0, 1); a larger one favours the two ends.
    """

    name: str
    low: float
    high: float
    slope: float = 1.702


def normalize(z: np.ndarray, z_dim: int) -> np.ndarray:
    """Scales a latent (z_dim,) to unit mean square, z * rsqrt(mean(z^2) + 1e-8).

    Raises ValueError for anything but one latent of finite real numbers.
    """
    z = np.asarray(z)
    if z.shape != (z_dim,) or z.dtype.kind not in "fiu":
        raise ValueError(
            f"z: expected one latent, {z_dim} real numbers of shape ({z_dim},), got shape {z.shape} of {z.dtype}. "
            "Build one scene per latent."
        )
    z = z.astype(np.float64)
    if not np.isfinite(z).all():
        count = np.count_nonzero(~np.isfinite(z))
        raise ValueError(f"z: expected finite numbers, got {count} that are not. Draw it from N(0, I).")
    return z / np.sqrt(np.mean(z**2) + 1e-8)


def values(z: np.ndarray, listed: Sequence[Attribute]) -> dict[str, float]:
    """The listed attributes of a latent (len(listed),), by name. Raises ValueError as `normalize` does."""
    found = {}
    for value, attribute in zip(normalize(z, len(listed)), listed, strict=True):
        share = 1.0 / (1.0 + np.exp(-attribute.slope * value))
        found[attribute.name] = float(attribute.low + (attribute.high - attribute.low) * share)
    return found


def smoothstep(x: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Cubic step from 0 at `start` to 1 at `stop`."""
    t = np.clip((x - start) / (stop - start), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def hat(value: float, anchors: Sequence[float]) -> np.ndarray:
    """Linear-interpolation weights of `value` between increasing `anchors`; they sum to 1."""
    return np.array([np.interp(value, anchors, row) for row in np.eye(len(anchors))])
