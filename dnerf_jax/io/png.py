"""Pictures on disk: photos of any kind, 8-bit RGB images, masks of class ids, and what the ids mean: label maps.

All are opened by one function, which refuses what would fill the memory before it is decoded. A mask is a
single-channel palette PNG whose pixel values are the ids (see `ops.labels`); the palette only makes it pleasant to look
at. A label map is a JSON file, `labelmap.json` by custom, that lies beside the masks.
"""

import os
import pathlib
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import PIL
from PIL import Image, ImageOps

from dnerf_jax.io import files
from dnerf_jax.ops.labels import LabelMap

PIXELS = 64_000_000  # of one picture at most; a file of a kilobyte can claim any number
BYTES = 2**29  # of its file at most
_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")  # Pillow reads more, some by other programs
_JPEG_QUALITY = 90
RENUMBERED = "numbered anew, as editors do: ids are read from the colours, which are the label map's"
_BYTE_OF = np.round(np.arange(65536) / 257).astype(np.uint8)  # of every grey of 16 bits
_T = TypeVar("_T")


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


def read_picture(path: str | os.PathLike, *, white: bool) -> np.ndarray:
    """Reads a picture from anywhere as people see it, uint8 (H, W, 3).

    It is turned as its EXIF data say; 16-bit greys are scaled, greys, palettes and CMYK converted; what is transparent
    shows a white or black ground, which should be the generator's (`rendering.white_back`). Of several frames the first
    is taken.

    Raises ValueError, always naming the file: it is absent, a folder, broken, of another kind, or has more than PIXELS.
    """
    return _decoded(path, "a picture", lambda image: _as_seen(image, white))


def load_image(path: str | os.PathLike, *, size: int | None = None) -> np.ndarray:
    """Reads an image of 8-bit RGB, uint8 (H, W, 3), which is `size` pixels wide and high, where that is known.

    Raises ValueError, always naming the file, if it cannot be read, or has another size, other channels or depths.
    """
    mode, pixels = _decoded(path, "an image", lambda image: (image.mode, np.asarray(image)), size)
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


def load_mask(
    path: str | os.PathLike, label_map: LabelMap, *, size: int | None = None, renumbered: list[str] | None = None
) -> np.ndarray:
    """Reads a single-channel PNG (palette or greyscale) of ids, uint8 (H, W).

    Where an editor has numbered the palette anew the ids are read from its colours (see `LabelMap.read_palette`). That
    is said in a warning, or, by the file's name, in the list `renumbered`.

    size: width and height in pixels, where that is known.

    Raises ValueError, always naming the file, if it is no PNG, has another size, several channels or more than 8 bits,
    if it holds ids that are not in the label map, or if its palette contradicts them.
    """
    kind, mode, mask, palette = _decoded(path, "a mask (a single-channel PNG of class ids)", _ids, size)
    if mask is None:
        raise ValueError(
            f"{path} is a {kind} of mode {mode}, expected a PNG with one channel of 8-bit class ids"
            " (mode P or L): export ids, not colours (a colour picture of labels has lost them)"
        )
    if mode == "P":
        indices, mask = mask, label_map.read_palette(mask, palette, str(path))
        if mask is not indices and renumbered is not None:
            renumbered.append(pathlib.Path(path).name)
        elif mask is not indices:
            warnings.warn(f"the palette of {path} is {RENUMBERED}", stacklevel=2)
    return label_map.check(mask, str(path))


def load_labels(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray | None]:
    """A PNG of labels as it is stored: indices (H, W) and their colours (P, 3), or greys (H, W), or colours (H, W, 3).

    Raises ValueError, always naming the file: it is no PNG, is of another depth, or has pixels that are half
    transparent.
    """
    kind, mode, pixels, palette = _decoded(path, "a PNG of labels", _stored)
    if pixels is None:
        raise ValueError(
            f"{path} is a {kind} of mode {mode}, expected a PNG of indices, greys of 8 bits or opaque colours: other"
            " kinds blur labels"
        )
    return pixels, None if palette is None else np.array(palette, np.uint8).reshape(-1, 3)


def load_opacity(path: str | os.PathLike) -> np.ndarray:
    """How opaque a picture's pixels are, uint8 (H, W); of one without transparency how bright.

    Raises ValueError as `load_image` does, but for its mode.
    """

    def opacity(image: Image.Image) -> np.ndarray:
        opaque = image.convert("RGBA").getchannel("A") if image.has_transparency_data else image.convert("L")
        return np.asarray(opaque)

    return _decoded(path, "a mask", opacity)


def save_label_map(path: str | os.PathLike, label_map: LabelMap) -> None:
    """Writes a label map as JSON, `labelmap.json` by custom."""
    files.write_text(path, label_map.to_json() + "\n")


def load_label_map(path: str | os.PathLike) -> LabelMap:
    """Reads a label map written by `save_label_map` or by hand.

    Raises ValueError, always naming the file, if it is absent or holds no label map.
    """
    data = files.read_json(path, "a label map")
    try:
        return LabelMap.from_data(data)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a label map: {error}") from error


def _decoded(path: str | os.PathLike, what: str, decode: Callable[[Image.Image], _T], side: int | None = None) -> _T:
    """What `decode` makes of an opened picture; whatever goes wrong becomes one error that names the file.

    side: how many pixels wide and high it should be, or None.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ValueError("it is a folder" if os.path.isdir(path) else "it is no file")
        if os.path.getsize(path) > BYTES:
            raise ValueError(f"its file has more than {BYTES >> 20} MiB")
        Image.init()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are checked here, and of odd metadata
            with Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN]) as image:
                size = f"it is {image.width} x {image.height} pixels"
                if side is not None and image.size != (side, side):
                    raise ValueError(f"{size}, expected {side} x {side}")
                if image.width * image.height > PIXELS:
                    raise ValueError(f"{size}, at most {PIXELS // 10**6} million are read: make it smaller")
                return decode(image)
    except PIL.UnidentifiedImageError as error:
        raise ValueError(f"{path} cannot be read as {what}: it is of another kind, expected PNG or the like") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} cannot be read as {what}: it has far too many pixels, make it smaller") from error
    except Exception as error:  # decoders raise anything on broken files: struct.error, zlib.error, IndexError, ...
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"{path} cannot be read as {what}: {reason}") from error


def _as_seen(image: Image.Image, white: bool) -> np.ndarray:
    """The colours (H, W, 3) of an opened picture of any mode, upright and over a ground."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "F":
        raise ValueError("its pixels are floats of an unknown range: save it as PNG or JPEG")
    if image.mode.startswith("I"):  # greys of 16 bits, of which Pillow would make everything beyond 255 white
        deep, transparent = np.asarray(image), image.info.get("transparency")
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("its pixels have more than 16 bits: save it as PNG or JPEG")
        image = Image.fromarray(_BYTE_OF[deep])
        if transparent is not None:
            image.putalpha(Image.fromarray(np.where(deep == transparent, np.uint8(0), np.uint8(255))))
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.new("RGB", over.size, (255, 255, 255) if white else (0, 0, 0))
        image.paste(over, mask=over)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _stored(image: Image.Image) -> tuple[str | None, str, np.ndarray | None, list[int] | None]:
    """Format and mode of an opened picture and, where these are of labels, its pixels and palette."""
    kind, mode = image.format, image.mode
    fits = kind == "PNG" and mode in ("P", "L", "RGB")
    pixels = np.asarray(image) if fits or (kind, mode) == ("PNG", "RGBA") else None
    if pixels is not None and mode == "RGBA":
        pixels = pixels[..., :3] if (pixels[..., 3] == 255).all() else None
    return kind, mode, pixels, image.getpalette() if mode == "P" else None


def _ids(image: Image.Image) -> tuple[str | None, str, np.ndarray | None, list[int] | None]:
    """Format and mode of an opened picture and, where these are a mask's, its pixels and palette."""
    kind, mode = image.format, image.mode
    mask = np.asarray(image) if (kind, mode) in (("PNG", "P"), ("PNG", "L")) else None
    return kind, mode, mask, image.getpalette()
