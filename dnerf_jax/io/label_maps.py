"""Files that say what classes there are: labelmap.json of packs, labelmap.txt of CVAT and Pascal VOC, a plain list.

    {"classes": [{"id": 0, "name": "background", "color": [0, 0, 0]}, ...], "ignore": 255}     labelmap.json

    # label:color_rgb:parts:actions                                                           labelmap.txt
    background:0,0,0::
    hair:120,60,20::

    background                                                                                any other .txt, a name
    hair                                                                                      a line; colours are VOC's

Ids are the order of the lines, but for the background, which is class 0 wherever it stands.
"""

import os
import pathlib

import numpy as np

from dnerf_jax.io import files, png
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some

BACKGROUND = "background"
HEAD = "# label:color_rgb:parts:actions"
_LINES = 4096


def read(path: str | os.PathLike) -> LabelMap:
    """Reads a label map in any of these forms.

    Raises ValueError, always naming the file: it is absent, of another kind, or its names or colours cannot be those
    of classes.
    """
    if pathlib.Path(path).suffix.lower() == ".json":
        return png.load_label_map(path)
    entries = read_txt(path)
    background = [name for name in entries if name.casefold() == BACKGROUND]
    names = background[:1] + [name for name in entries if name not in background[:1]]
    try:
        return LabelMap(tuple(names), tuple(entries[name] for name in names))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a label map: {error}") from error


def read_txt(path: str | os.PathLike) -> dict[str, tuple[int, int, int]]:
    """The names and colours of a labelmap.txt, or of a list of names, in its order.

    Raises ValueError, always naming the file and the line.
    """
    text = files.read_text(path, "a label map, names and colours as in CVAT's labelmap.txt", limit=1 << 20)
    lines = [line.strip() for line in text.splitlines()]
    kept = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    if not kept or len(kept) > _LINES:
        raise ValueError(f"{path} has {len(kept)} names, expected 1 to {_LINES}, one a line")
    entries: dict[str, tuple[int, int, int]] = {}
    for rank, (number, line) in enumerate(kept):
        name, _, rest = line.partition(":")
        color = rest.partition(":")[0].replace(" ", "")
        numbers = color.split(",") if color else [str(value) for value in voc_palette()[rank % 256]]
        if len(numbers) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 4 for part in numbers):
            raise ValueError(
                f"line {number} of {path} is {line!r:.100}, expected name:red,green,blue:: or a name alone"
            )
        if name.strip() in entries:
            raise ValueError(f"line {number} of {path} has the name {name.strip()!r:.100} once more: names are unique")
        entries[name.strip()] = (int(numbers[0]), int(numbers[1]), int(numbers[2]))
        if max(entries[name.strip()]) > 255:
            raise ValueError(f"line {number} of {path} has the colour {color}, expected numbers from 0 to 255")
    return entries


def to_txt(names: tuple[str, ...], colors: tuple[tuple[int, int, int], ...]) -> str:
    """The text of a labelmap.txt."""
    pairs = zip(names, colors, strict=True)
    return "\n".join([HEAD, *(f"{name}:{red},{green},{blue}::" for name, (red, green, blue) in pairs)]) + "\n"


def as_cvat_has_it(label_map: LabelMap) -> LabelMap:
    """The label map with CVAT's background. Raises ValueError: it cannot be said in a labelmap.txt."""
    names, colors = (BACKGROUND, *label_map.names[1:]), ((0, 0, 0), *label_map.colors[1:])
    bad = [name for name in names if set(name) & set(":,#")] + [BACKGROUND] * (BACKGROUND in names[1:])
    twice = sorted({color for color in colors if colors.count(color) > 1})
    if bad or twice:
        raise ValueError(
            f"CVAT's labelmap.txt cannot have the names [{some(bad)}]: ':', ',' and '#' have a meaning there, and only "
            "class 0 is the background"
            if bad
            else f"the colours {some(twice)} are of several classes, and CVAT knows classes by their colours (the "
            "background's is black): change labelmap.json"
        )
    return LabelMap(names, colors)


def voc_palette() -> np.ndarray:
    """Pascal VOC's 256 colours, uint8 (256, 3): the bits of the index, three by three, from the highest bit down."""
    index, colors = np.arange(256), np.zeros((256, 3), np.uint8)
    for level in range(8):
        for channel in range(3):
            colors[:, channel] |= (index >> (3 * level + channel) & 1).astype(np.uint8) << (7 - level)
    return colors
