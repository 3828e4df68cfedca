"""Pictures on disk: 8-bit RGB images, masks of class ids, and label maps, which say what the ids mean.

A mask is a single-channel palette PNG whose pixel values are the ids (see `ops.labels`); the palette only makes it
pleasant to look at. A label map is a JSON file, `labelmap.json` by custom, that lies beside the masks.
"""

import os
import pathlib
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from dnerf_jax.io import files
from dnerf_jax.ops.labels import LabelMap

_UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError)
_JPEG_QUALITY = 90


def save_image(path: str | os.PathLike, image: np.ndarray, *, optimize: bool = False) -> None:
    """Writes a picture (H, W, 3) or (H, W) of bytes, whole or not at all.

    The suffix says how: .png without loss, .jpg or .jpeg with some, for pictures that only people look at. `optimize`
    makes a PNG somewhat smaller in several times the time.

    Raises ValueError on other suffixes, types and shapes, naming the file.
    """
    path, image = pathlib.Path(path), np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"the image for {path} is {image.dtype} {image.shape}, expected uint8 (H, W, 3) or (H, W):"
            " convert floats in [-1, 1] with images.to_uint8"
        )
    if path.suffix == ".png":
        options: dict[str, Any] = {"format": "PNG", "optimize": optimize}
    elif path.suffix in (".jpg", ".jpeg"):
        options = {"format": "JPEG", "quality": _JPEG_QUALITY}
    else:
        raise ValueError(f"{path} has the suffix {path.suffix!r}, expected .png or .jpg: give another name")
    with files.atomic_file(path) as temporary:
        Image.fromarray(image).save(temporary, **options)


def load_image(path: str | os.PathLike) -> np.ndarray:
    """Reads an image of 8-bit RGB, uint8 (H, W, 3).

    Raises ValueError, always naming the file, if it cannot be read, or has other channels or depths.
    """
    try:
        with Image.open(path) as image:
            mode = image.mode
            pixels = np.asarray(image)
    except _UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    if mode != "RGB":
        raise ValueError(f"{path} is of mode {mode}, expected 8-bit RGB without transparency")
    return pixels


def save_mask(path: str | os.PathLike, mask: Any, label_map: LabelMap) -> None:
    """Writes ids (H, W) as a palette PNG, whole or not at all.

    Raises ValueError on ids that are not in the label map, naming the file.
    """
    mask = label_map.check(mask, f"the mask for {path}")
    if mask.ndim != 2:
        raise ValueError(f"the mask for {path} has shape {mask.shape}, expected (H, W)")
    image = Image.fromarray(mask)
    image.putpalette(label_map.palette.tobytes())
    with files.atomic_file(path) as temporary:
        image.save(temporary, format="PNG", optimize=False)


def load_mask(path: str | os.PathLike, label_map: LabelMap) -> np.ndarray:
    """Reads a single-channel PNG (palette or greyscale) of ids, uint8 (H, W).

    Raises ValueError, always naming the file, if it is no PNG, has several channels or more than 8 bits, or if it
    holds ids that are not in the label map.
    """
    try:
        with Image.open(path) as image:
            kind, mode = image.format, image.mode
            mask = np.asarray(image) if (kind, mode) in (("PNG", "P"), ("PNG", "L")) else None
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} cannot be read as a mask: {error}. Expected a single-channel PNG of class ids"
        ) from error
    if mask is None:
        raise ValueError(
            f"{path} is a {kind} of mode {mode}, expected a PNG with one channel of 8-bit class ids"
            " (mode P or L): export ids, not colours (a colour picture of labels has lost them)"
        )
    return label_map.check(mask, str(path))


def save_label_map(path: str | os.PathLike, label_map: LabelMap) -> None:
    """Writes a label map as JSON, `labelmap.json` by custom."""
    files.write_text(path, label_map.to_json() + "\n")


def load_label_map(path: str | os.PathLike) -> LabelMap:
    """Reads a label map written by `save_label_map` or by hand.

    Raises ValueError, always naming the file, if it is absent or holds no label map.
    """
    try:
        return LabelMap.from_json(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a label map: {error}") from error
