"""LabelMe: a JSON file beside each picture.

    0012_3fa95c01.png, 0012_3fa95c01.json     a picture and its shapes, of which the later lie over the earlier
    labels.txt                                for labelme --labels

Points are pixels from the upper left corner, as LabelMe's window shows them, so polygons along pixel edges give back
every pixel here. LabelMe's own scripts take points for pixels' centres and paint the edges too, half a pixel more.
"""

import base64
import binascii
import math
from pathlib import Path
from typing import Any

from dnerf_jax.io import encoding, files
from dnerf_jax.labelling import drawn, giving_out
from dnerf_jax.labelling.drawn import Picture, Region, Shape
from dnerf_jax.labelling.giving_out import Task

_NO_AREA = ("line", "linestrip", "point", "points")


def write(task: Task) -> None:
    """Writes pictures, a JSON file for each that is labelled, and labels.txt. See `tools.export`."""
    for _, key, mask in task.views():
        if mask is None:
            continue
        shapes = [
            {
                "label": task.name(number),
                "points": ring.tolist(),
                "group_id": None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for number, ring in giving_out.layers(mask)
        ]
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"{key}.png", "imageData": None}
        files.write_json(task.out / f"{key}.json", content | {"imageHeight": task.side, "imageWidth": task.side})
    (task.out / "labels.txt").write_text("".join(f"{name}\n" for _, name, _ in task.labels()), encoding="utf-8")


def read(path: Path, content: dict[str, Any]) -> Picture:
    """The picture of a JSON file's content. Its shapes are looked at when they are painted."""
    name, size = content.get("imagePath"), (content.get("imageHeight"), content.get("imageWidth"))
    name = name if isinstance(name, str) and name else path.name
    if not all(type(number) is int for number in size):
        return Picture(name, None, problem="it has no imageHeight and imageWidth")
    shapes, no_area = [], []
    for entry in content.get("shapes", []):
        if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
            return Picture(name, None, problem=f"it has the shape {entry!r:.100}, which has no label")
        kind = entry.get("shape_type") or "polygon"
        if kind in _NO_AREA:
            no_area.append(f"{kind} {entry['label']!r:.100}")
            continue
        try:
            shapes.append(Shape(entry["label"], _region(kind, entry)))
        except ValueError as error:
            return Picture(name, None, problem=f"its {kind!s:.50} {entry['label']!r:.100} is broken: {error}")
    return Picture(name, (size[0], size[1]), shapes, no_area)


def _region(kind: str, entry: dict[str, Any]) -> Region:
    points = entry.get("points")
    if kind == "polygon":
        return drawn.polygon(points)
    try:
        (x0, y0), (x1, y1) = [[float(x), float(y)] for x, y in points or []]
    except (TypeError, ValueError) as error:
        raise ValueError("expected two points") from error
    if kind == "rectangle":
        return drawn.box(x0, y0, x1, y1)
    if kind == "circle":
        radius = math.hypot(x1 - x0, y1 - y0)
        return drawn.ellipse((x0, y0), (radius, radius))
    if kind == "mask":
        return _mask(entry.get("mask"), x0, y0, x1, y1)
    raise ValueError(f"{kind!r:.50} is no shape of LabelMe's that has an area")


def _mask(text: Any, x0: float, y0: float, x1: float, y1: float) -> Region:
    """The region of a PNG, in base64, whose first and last pixels these are."""
    try:
        part = encoding.decode_png(base64.b64decode(text, validate=True)) > 0
    except (TypeError, binascii.Error) as error:
        raise ValueError("its mask is no PNG in base64") from error
    width, height = round(x1) - round(x0) + 1, round(y1) - round(y0) + 1
    if part.shape != (height, width):
        raise ValueError(f"its mask has the shape {part.shape}, its points are of {height, width}")
    return drawn.placed(part, round(x0), round(y0))
