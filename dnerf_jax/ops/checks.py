"""What public functions ask of numbers that they are given: each check raises ValueError, and says what was meant.

Values are looked at where they are known. Under `jit`, `vmap` or `grad` they are not, and pass: only shapes are known
there. A camera is cam2world (..., 4, 4) in OpenCV axes and intrinsics (..., 3, 3) divided by the image size; see
`cameras`.
"""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FOCALS = 0.1, 40.0  # in image sizes: views of 157 degrees and of 1.4


def known(value: Any) -> np.ndarray | None:
    """A value's numbers in float64, or None: it is traced, or lies with other processes too."""
    for leaf in jax.tree.leaves(value):
        if isinstance(leaf, jax.core.Tracer) or (isinstance(leaf, jax.Array) and not leaf.is_fully_addressable):
            return None
    return np.asarray(value, np.float64)


def count(name: str, value: Any) -> int:
    """The value as a positive integer."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} is {value!r}, expected a positive integer")
    return number


def shape(name: str, value: Any, *ends: int) -> None:
    """A value's last dimensions are `ends`."""
    found = _shape(value)
    if found[max(len(found) - len(ends), 0) :] != ends:
        expected = ", ".join(("...", *map(str, ends)))
        raise ValueError(f"{name} has shape {found}, expected ({expected})")


def positive(name: str, value: Any) -> None:
    """Numbers are finite and greater than 0."""
    numbers = known(value)
    if numbers is not None and not ((numbers > 0) & (numbers < np.inf)).all():
        raise ValueError(f"{name} is {numbers[~((numbers > 0) & (numbers < np.inf))][0]:g}, expected a positive number")


def finite(name: str, value: Any) -> None:
    """Numbers are finite."""
    numbers = known(value)
    if numbers is not None and not np.isfinite(numbers).all():
        raise ValueError(f"{name} of shape {numbers.shape} has numbers that are not finite, expected none")


def angle(name: str, value: Any, largest: float) -> None:
    """Angles are within plus and minus `largest` radians."""
    angles = known(value)
    if angles is not None and not (np.abs(angles) <= largest + 1e-3).all():
        worst = angles[~(np.abs(angles) <= largest + 1e-3)][0]
        remedy = f": degrees become radians by jnp.radians({worst:g})" if np.isfinite(worst) else ""
        raise ValueError(f"{name} is {worst:g}, expected radians from {-largest:.3f} to {largest:.3f}{remedy}")


def focal(name: str, value: Any) -> None:
    """Focal lengths are positive and in image sizes."""
    lengths, (least, most) = known(value), FOCALS
    if lengths is not None and not ((least <= lengths) & (lengths <= most)).all():
        worst = lengths[~((least <= lengths) & (lengths <= most))][0]
        raise ValueError(
            f"{name} is {worst:g}, expected a focal length in image sizes, {least:g} to {most:g}: one in pixels is "
            "divided by the side of the image in pixels"
        )


def matrices(cam2world: Any, intrinsics: Any) -> None:
    """A camera's matrices are 4 x 4 and 3 x 3, and their leading dimensions broadcast."""
    pose, k = _shape(cam2world), _shape(intrinsics)
    try:
        if (pose[-2:], k[-2:]) != ((4, 4), (3, 3)):
            raise ValueError
        np.broadcast_shapes(pose[:-2], k[:-2])
    except ValueError:
        raise ValueError(
            f"cam2world and intrinsics have shapes {pose} and {k}, expected (..., 4, 4) and (..., 3, 3) with leading "
            "dimensions that broadcast"
        ) from None


def pose(cam2world: Any) -> None:
    """Matrices (..., 4, 4) are finite, their rotations orthonormal and not mirrored, their last rows 0 0 0 1."""
    matrix = known(cam2world)
    if matrix is None or not matrix.size:
        return
    finite("cam2world", matrix)
    rotation = matrix[..., :3, :3]
    deviation = np.abs(np.swapaxes(rotation, -1, -2) @ rotation - np.eye(3)).max()
    if deviation > 1e-3:
        raise ValueError(
            f"The rotation of cam2world is not orthonormal (off by {deviation:.3g}). If it carries a scale, divide it "
            "out; if it is a transposed or partial matrix, pass the full camera-to-world."
        )
    if (np.linalg.det(rotation) < 0).any():
        raise ValueError("The rotation of cam2world mirrors (determinant -1): one axis has the wrong sign.")
    rows = matrix[..., 3, :].reshape(-1, 4)
    wrong = np.abs(rows - [0, 0, 0, 1]).max(axis=-1) > 1e-6
    if wrong.any():
        raise ValueError(f"The last row of cam2world must be 0 0 0 1; got {rows[wrong][0]}.")


def intrinsics(k: Any) -> None:
    """Matrices (..., 3, 3) are those of pinhole cameras that look forward, divided by the image size."""
    every = known(k)
    if every is None or not every.size:
        return
    finite("intrinsics", every)
    for one in np.unique(every.reshape(-1, 9), axis=0).reshape(-1, 3, 3):
        focals = one[[0, 1], [0, 1]]
        if np.abs([*(one[2] - [0, 0, 1]), one[1, 0]]).max() > 1e-6:
            raise ValueError(f"Intrinsics must be [[fx, skew, cx], [0, fy, cy], [0, 0, 1]]; got\n{one}")
        if focals.min() <= 0:
            raise ValueError(f"Focal lengths must be positive; got {focals[0]:g} and {focals[1]:g}.{_turn(*focals)}")
        if np.abs(one[:2, 2] - 0.5).max() > 2 or focals.min() < FOCALS[0] or focals.max() > FOCALS[1]:
            raise ValueError(
                f"Intrinsics must be divided by the image size (once: cx near 0.5); got\n{one}\n"
                "For pixels use from_opencv(world2cam, intrinsics, image_size)."
            )


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if hasattr(value, "shape") else jnp.asarray(value).shape


def _turn(fx: float, fy: float) -> str:
    """How to turn the signs of focal lengths so that everything is seen where it was, and before the camera."""
    if not fx * fy:
        return ""
    x, y = int(np.sign(fx)), int(np.sign(fy))
    name = ", which is flip_opengl(cam2world)" if (x, y) == (-1, 1) else ""
    return (
        " The camera has other axes than OpenCV's: turn the signs and its axes together, Camera(cam2world * "
        f"np.array([{y}, {x}, {x * y}, 1]), intrinsics * np.array([{x}, {y}, 1])){name}."
    )
