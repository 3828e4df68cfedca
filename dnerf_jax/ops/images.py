"""Images in [-1, 1], as networks make them, and in bytes, as files and people have them.

Byte b stands for the value b / 127.5 - 1, so black is -1 and white is 1. What composites colours by hand has them in
[0, 1]: where that could be meant, `to_uint8` asks. Both ways are NumPy on the host, where files are read and pictures
drawn; under `jit` they would refuse their argument.
"""

from typing import Any

import numpy as np

_ROUNDING = 1e-3  # by which composited colours may leave their range


def to_uint8(image: Any, *, span: tuple[float, float] | None = None) -> np.ndarray:
    """The bytes of an image of any shape, rounded to the nearest; what lies beyond is clipped.

    span: the values of black and white. None is -1 and 1, for an image that has values below 0, or is white all over.

    Raises ValueError if the image is not of floats, has values that are not finite, or if there is no span and its
    values do not tell.
    """
    image = np.asarray(image)
    if image.dtype.kind != "f":
        raise ValueError(f"the image has type {image.dtype}, expected floats in [-1, 1]: uint8 is ready as it is")
    if not np.isfinite(image).all():
        bad = np.sum(~np.isfinite(image))
        raise ValueError(f"the image of shape {image.shape} has {bad} values that are not finite, expected none")
    if span is None:
        lowest, highest = (image.min(), image.max()) if image.size else (-1, 1)
        if lowest > -_ROUNDING and not (lowest > 1 - _ROUNDING and highest < 1 + _ROUNDING):
            raise ValueError(
                f"the image has values from {lowest:.4g} to {highest:.4g}, so black may be -1 or 0: say"
                " images.to_uint8(image, span=(-1, 1)) for what networks and render make, span=(0, 1) for colours that"
                " were composited by hand"
            )
        span = (-1.0, 1.0)
    black, white = span
    if not black < white:
        raise ValueError(f"span is {span}, expected the values of black and white, the smaller first")
    return np.clip(np.round((image.astype(np.float32) - black) * (255 / (white - black))), 0, 255).astype(np.uint8)


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
