"""Images in [-1, 1], as networks make them, and in bytes, as files and people have them.

Byte b stands for the value b / 127.5 - 1, so black is -1 and white is 1. Both ways are NumPy on the host, where files
are read and pictures drawn; under `jit` they would refuse their argument.
"""

from typing import Any

import numpy as np


def to_uint8(image: Any) -> np.ndarray:
    """The bytes of an image of any shape in [-1, 1], rounded to the nearest; what lies beyond is clipped.

    Raises ValueError if the image is not of floats, or has values that are not finite.
    """
    image = np.asarray(image)
    if image.dtype.kind != "f":
        raise ValueError(f"the image has type {image.dtype}, expected floats in [-1, 1]: uint8 is ready as it is")
    if not np.isfinite(image).all():
        bad = np.sum(~np.isfinite(image))
        raise ValueError(f"the image of shape {image.shape} has {bad} values that are not finite, expected none")
    return np.clip(np.round((image.astype(np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def from_uint8(picture: Any) -> np.ndarray:
    """The values in [-1, 1], float32, of a picture of bytes of any shape: the inverse of `to_uint8`.

    Raises ValueError if the picture is not of bytes.
    """
    picture = np.asarray(picture)
    if picture.dtype != np.uint8:
        raise ValueError(
            f"the picture has type {picture.dtype}, expected uint8: floats in [-1, 1] are ready as they are"
        )
    return picture.astype(np.float32) / np.float32(127.5) - np.float32(1)
