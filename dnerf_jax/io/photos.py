"""Photographs and drawn masks as people have them, made into what is inverted: squares of the generator's resolution.

    photo   any picture -> upright, over the generator's background, cut to a square, made smaller without aliasing
    mask    ids or the label map's colours -> cut to the same square, every pixel the class that most of it has

What was done that the user may want to know is said in `notes`, in words; what cannot be meant is refused, with what to
do. Boxes are (left, top, right, bottom) in pixels of the upright picture, right and bottom not included, and may reach
beyond its edges: what lies there has the generator's background, and the weight 0.
"""

import dataclasses
import os
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image

from dnerf_jax.io import png
from dnerf_jax.ops import images
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some

Box = tuple[int, int, int, int]

SMALLEST = 32  # pixels: in a smaller square no face can be made out
_SQUARE = 0.02  # of a side, by which a picture may be longer than wide before it is asked how to cut it
_COVERED = 0.5  # of a box, that must lie within the picture
_ORIENTATION = 0x0112  # of EXIF
_CORNER = 16  # a corner is a square of this part of the side
_GROUND = 0.25  # by which a corner's colours, in [-1, 1], may differ from the background


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photograph, ready to be inverted.

    image: (R, R, 3) float32 in [-1, 1]. weights: (R, R) float32 in [0, 1], how far each pixel lies within the photo;
    None is 1 everywhere. notes: what was done to it, sentences. box: the square that was cut out of the upright photo.
    """

    image: np.ndarray
    weights: np.ndarray | None
    notes: tuple[str, ...]
    box: Box


def read_photo(path: str | os.PathLike, resolution: int, *, white: bool, crop: str | Sequence[int] = "none") -> Photo:
    """Reads a photograph for a generator of this resolution.

    It is turned as its EXIF data say; 16 bits are scaled, greys, palettes and CMYK converted to RGB; of several frames
    the first is taken. Lanczos' filter makes it smaller.

    Args:
      white: what is transparent shows a white ground, or a black one: the generator's `rendering.white_back`.
      crop: "none", for a photo that is a square; "centre", the largest square in its middle; or a box that is a square.

    Raises ValueError, always naming the file: it is no picture, or none that `png.read_picture` reads; it is no square
    and not to be cut; the box is no square or lies outside of it; the square is of less than SMALLEST pixels, or of one
    colour.
    """
    picture = png.read_picture(path, white=white)
    notes = _notes(path, white)
    box = square_box(picture.shape[1], picture.shape[0], crop, str(path))
    size = box[2] - box[0]
    if size < SMALLEST:
        raise ValueError(
            f"{path}: the square to invert is {size} pixels wide, expected at least {SMALLEST}, better {resolution} or"
            " more: take a larger photo, or a larger box"
        )
    if size < min(picture.shape[:2]) or (crop == "none" and picture.shape[0] != picture.shape[1]):
        notes.append(f"the square {box} of {picture.shape[1]} x {picture.shape[0]} pixels is used")
    if size < resolution:
        notes.append(
            f"its square of {size} pixels is enlarged to {resolution}: it has less detail than the model makes"
        )
    ground, weights = (1.0 if white else -1.0), None
    cut, inside = _cut(picture, box)
    if (cut[inside] == cut[inside][0]).all():
        raise ValueError(f"{path} has one colour only: there is nothing to invert; is it the right file?")
    image = images.from_uint8(_resized(cut, resolution, Image.Resampling.LANCZOS))
    if not inside.all():
        weights = _resized(inside.astype(np.float32), resolution, Image.Resampling.BOX)
        image = image * weights[..., None] + np.float32(ground) * (1 - weights[..., None])
        notes.append(f"{1 - inside.mean():.0%} of the square lies beyond the photo's edges and does not count")
    return Photo(image, weights, tuple(notes), box)


def read_mask(
    path: str | os.PathLike, label_map: LabelMap, resolution: int, *, crop: str | Sequence[int] = "none"
) -> np.ndarray:
    """Reads a mask for a generator of this resolution: ids (R, R) uint8, 255 where nothing is asked.

    It is a PNG of ids (greyscale or palette), or a picture in exactly the label map's colours. Every pixel gets the id
    that covers most of it, so no ids are invented; of equals the smaller.

    crop: as in `read_photo`; a photo and its mask are cut alike. Beyond its edges a mask has 255.

    Raises ValueError, always naming the file: it cannot be read, has colours or ids that are not in the label map, is
    no square and not to be cut, or has less than two classes, so that there is nothing to fit.
    """
    ids = _ids(path, label_map)
    cut, inside = _cut(ids, square_box(ids.shape[1], ids.shape[0], crop, str(path)))
    cut = np.where(inside, cut, np.uint8(LabelMap.IGNORE))
    found = np.unique(cut)
    # Shares (K, R, R) of every pixel.
    shares = [_resized((cut == index).astype(np.float32), resolution, Image.Resampling.BOX) for index in found]
    mask = found[np.argmax(np.stack(shares), axis=0)]
    _require_two_classes(mask, label_map, str(path))
    return mask


def framing_notes(image: np.ndarray, *, white: bool) -> tuple[str, ...]:
    """What a photo's corners say against the generator's background, in words; () where they fit.

    A generator of cut-out objects knows one background. In all 180 labelled views of the embedded heads the upper
    corners, squares of a sixteenth of the side, have exactly that colour; the lower ones are covered by clothes in more
    than half. So the upper ones are looked at: in every channel their medians must be within 0.25 of the background.

    Args:
      image: (R, R, 3) in [-1, 1]. white: whether the generator's background is white, or black.
    """
    side = max(1, len(image) // _CORNER)
    corners = {"upper left": image[:side, :side], "upper right": image[:side, -side:]}
    ground = 1.0 if white else -1.0
    off = [n for n, x in corners.items() if np.abs(np.median(x.reshape(-1, 3), axis=0) - ground).max() > _GROUND]
    if not off:
        return ()
    name = "white" if white else "black"
    return (
        f"the checkpoint's images have a {name} background; this photo has not ({' and '.join(off)} corner): cut the"
        " head out, so that all else is transparent (a PNG with alpha), or pass --mask",
    )


def square_box(width: int, height: int, crop: str | Sequence[int], source: str) -> Box:
    """The square that `crop` (see `read_photo`) cuts out of a picture, which messages call `source`.

    Raises ValueError: the picture is no square and not to be cut, or the box is none, no square, or lies outside.
    """
    size, centre = min(width, height), ((width - min(width, height)) // 2, (height - min(width, height)) // 2)
    middle = (centre[0], centre[1], centre[0] + size, centre[1] + size)
    if isinstance(crop, str):
        if crop not in ("none", "centre"):
            raise ValueError(f"crop is {crop!r}, expected none, centre, or a box: left, top, right, bottom in pixels")
        if crop == "none" and max(width, height) > (1 + _SQUARE) * size:
            raise ValueError(
                f"{source} is {width} x {height} pixels, expected a square in which the head sits as in the"
                " checkpoint's own images (python -m dnerf_jax.generate makes some to compare): cut it so, or pass"
                " --crop centre for the largest square in its middle, --crop left,top,right,bottom for one in pixels"
            )
        return middle
    numbers = [int(x) for x in crop] if len(crop) == 4 else []
    if not numbers or any(a != b for a, b in zip(numbers, crop, strict=True)):
        raise ValueError(f"the box {tuple(crop)} is not four whole numbers: left, top, right, bottom in pixels")
    left, top, right, bottom = numbers
    if right - left != bottom - top or right <= left:
        raise ValueError(f"the box {tuple(numbers)} is {right - left} x {bottom - top} pixels, expected a square")
    common = max(0, min(right, width) - max(left, 0)) * max(0, min(bottom, height) - max(top, 0))
    if common < _COVERED * (right - left) ** 2:
        raise ValueError(
            f"of the box {tuple(numbers)} {common / (right - left) ** 2:.0%} lie within {source}, which is {width} x"
            f" {height} pixels, expected at least {_COVERED:.0%}: is it of another picture, or before it was turned?"
        )
    return left, top, right, bottom


def _cut(picture: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of a box, edges repeated beyond the picture, and which of them (S, S) lie within it."""
    left, top, right, bottom = box
    rows, columns = np.arange(top, bottom), np.arange(left, right)
    within = [(index >= 0) & (index < n) for index, n in zip((rows, columns), picture.shape, strict=False)]
    rows, columns = np.clip(rows, 0, picture.shape[0] - 1), np.clip(columns, 0, picture.shape[1] - 1)
    return picture[rows[:, None], columns], within[0][:, None] & within[1]


def _resized(image: np.ndarray, resolution: int, filtering: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((resolution, resolution), filtering))


def _notes(path: str | os.PathLike, white: bool) -> list[str]:
    """What is said of a picture that has been read, by its header."""
    notes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            mode, turned = image.mode, image.getexif().get(_ORIENTATION, 1)
            transparent = image.has_transparency_data or (mode.startswith("I") and "transparency" in image.info)
            try:
                frames = getattr(image, "n_frames", 1)
            except Exception:  # decoders raise anything; frames that are broken are not used
                frames = 1
    if turned in range(2, 9):
        notes.append("it is turned as its EXIF data say")
    if frames > 1:
        notes.append(f"it has {frames} frames, of which the first is used")
    if transparent:
        notes.append(f"what is transparent is shown over {'white' if white else 'black'}, the model's background")
    if mode in ("1", "L", "LA") or mode.startswith("I"):
        notes.append("it is grey: the colours of what is found are the model's guess at best")
    if mode == "CMYK":
        notes.append("it is of printing colours (CMYK), which are converted without their profile: hues may be off")
    return notes


def _ids(path: str | os.PathLike, label_map: LabelMap) -> np.ndarray:
    """The ids (H, W) of a mask in either form."""
    picture = png.read_picture(path, white=True)  # which says what is wrong with a file that is no picture
    with Image.open(path) as image:
        kind, mode, ignored = image.format, image.mode, image.has_transparency_data
    if (kind, mode) in (("PNG", "P"), ("PNG", "L")) or kind != "PNG" or mode not in ("RGB", "RGBA"):
        return png.load_mask(path, label_map)  # or its refusal
    if ignored and not np.array_equal(picture, png.read_picture(path, white=False)):
        raise ValueError(
            f"{path} is partly transparent, expected a mask whose every pixel has a colour of the label map: paint what"
            f" is unknown in {label_map.palette[LabelMap.IGNORE].tolist()}, which means ignore"
        )
    return _of_colors(picture, label_map, str(path))


def _of_colors(picture: np.ndarray, label_map: LabelMap, source: str) -> np.ndarray:
    """The ids (H, W) of a picture (H, W, 3) in the label map's colours."""
    known = [*range(label_map.num_classes), LabelMap.IGNORE]
    codes = label_map.palette[known].astype(np.int64) @ [65536, 256, 1]
    if len(set(codes)) < len(codes):
        raise ValueError(f"{source} is in colours, which say no ids: classes of the label map share a colour")
    pixels = picture.astype(np.int64) @ [65536, 256, 1]
    order = np.argsort(codes)
    places = np.minimum(np.searchsorted(codes[order], pixels), len(codes) - 1)
    wrong = codes[order][places] != pixels
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        color = picture[row, column].astype(int)
        nearest = known[int(np.abs(label_map.palette[known].astype(int) - color).sum(axis=-1).argmin())]
        name = "ignore" if nearest == LabelMap.IGNORE else label_map.names[nearest]
        raise ValueError(
            f"{source} is a colour picture, {wrong.sum()} of whose {wrong.size} pixels have no colour of the label map:"
            f" the first is {tuple(color.tolist())} in row {row}, column {column} (nearest is {name!r},"
            f" {tuple(label_map.palette[nearest].tolist())}). Paint with hard edges in exactly these colours, save as"
            " PNG, or export class ids"
        )
    return np.asarray(known, np.uint8)[order][places]


def _require_two_classes(mask: np.ndarray, label_map: LabelMap, source: str) -> None:
    found = [int(index) for index in np.unique(mask) if index != LabelMap.IGNORE]
    if not found:
        raise ValueError(
            f"{source} has no label at all: every pixel is {LabelMap.IGNORE}, which means ignore. Write the ids 0 to"
            f" {label_map.num_classes - 1}"
        )
    if len(found) == 1:
        raise ValueError(
            f"{source} has one class only, {label_map.names[found[0]]!r} (id {found[0]}): there is nothing to fit. A"
            f" mask has ids of the label map: {some(label_map.names, 16)}; black-and-white masks say nothing, since"
            f" {LabelMap.IGNORE} means ignore"
        )
