"""CVAT for images 1.1: one XML file of polygons, boxes, ellipses and masks, each with its z_order.

CVAT's points are pixels from the upper left corner of the picture, so polygons along pixel edges give back every pixel.
Its masks are run lengths, row by row within a box, that begin with what is outside. Old LabelMe XML is read here too:
a file for each picture, with polygons, boxes, and masks as PNGs beside it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np

from dnerf_jax.io import png
from dnerf_jax.labelling import drawn, giving_out, sources
from dnerf_jax.labelling.drawn import Picture, Region, Shape
from dnerf_jax.labelling.giving_out import Task
from dnerf_jax.ops import run_lengths

_NO_AREA = ("polyline", "points", "skeleton", "cuboid", "tag")


def write(task: Task) -> None:
    """Writes annotations.xml and images/. See `tools.export`."""
    labels = [
        f"<label><name>{_text(name)}</name><color>#{bytes(color).hex()}</color><type>any</type><attributes/></label>"
        for _, name, color in task.labels()
    ]
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<annotations>",
        "<version>1.1</version>",
        f"<meta><task><name>{_text(task.pack.name)}</name><labels>{''.join(labels)}</labels></task></meta>",
    ]
    for index, key, mask in task.views("images"):
        lines.append(f'<image id="{index}" name="{key}.png" width="{task.side}" height="{task.side}">')
        for order, (number, ring) in enumerate([] if mask is None else giving_out.layers(mask)):
            points = ";".join(f"{x}.00,{y}.00" for x, y in ring)
            name = quoteattr(task.name(number))
            lines.append(f'<polygon label={name} source="manual" occluded="0" points="{points}" z_order="{order}"/>')
        lines.append("</image>")
    (task.out / "annotations.xml").write_text("\n".join([*lines, "</annotations>"]) + "\n", encoding="utf-8")


def read(path: Path) -> Iterator[Picture]:
    """The pictures of an XML file of CVAT or of old LabelMe. Raises ValueError: it is neither, or CVAT's of a video."""
    root = sources.read_xml(path)
    if root.tag == "annotation":
        yield _labelme(root, path)
        return
    if root.tag != "annotations":
        raise ValueError(f"{path} is XML with the root {root.tag!r:.100}, expected CVAT's annotations")
    if root.find("track") is not None:
        raise ValueError(
            f"{path} is CVAT for video: it says the numbers of frames, not the pictures' names. Export the task as"
            ' "CVAT for images 1.1"'
        )
    for image in root.iter("image"):
        yield _picture(image)


def _picture(image: ElementTree.Element) -> Picture:
    name = image.get("name", "")
    try:
        size = int(image.get("height", "")), int(image.get("width", ""))
    except ValueError:
        return Picture(name, None, problem="its image element has no width and height")
    shapes: list[Shape] = []
    no_area = []
    for element in image:
        label = element.get("label", "")
        if element.tag in _NO_AREA:
            no_area.append(f"{element.tag} {label!r:.100}")
            continue
        try:
            order = float(element.get("z_order", "0"))
            if element.tag not in _REGIONS or not np.isfinite(order):
                raise ValueError(f"<{element.tag}> is no shape of CVAT's, or has no z_order")
            shapes.append(Shape(label, _REGIONS[element.tag](element), order))
        except (ValueError, OverflowError) as error:
            return Picture(name, size, problem=f"its {element.tag:.50} {label!r:.100} is broken: {error}")
    return Picture(name, size, shapes, no_area)


def _numbers(element: ElementTree.Element, *names: str) -> list[float]:
    values = [float(element.get(name, "nan")) for name in names]
    if not np.isfinite(values).all():
        raise ValueError(f"{', '.join(names)} are {values}, expected finite numbers")
    return values


def _turn(element: ElementTree.Element) -> float:
    return _numbers(element, "rotation")[0] if element.get("rotation") else 0.0


def _polygon(element: ElementTree.Element) -> Region:
    return drawn.polygon([point.split(",") for point in element.get("points", "").split(";")])


def _box(element: ElementTree.Element) -> Region:
    left, top, right, bottom = _numbers(element, "xtl", "ytl", "xbr", "ybr")
    return drawn.box(left, top, right, bottom, degrees=_turn(element))


def _ellipse(element: ElementTree.Element) -> Region:
    x, y, across, down = _numbers(element, "cx", "cy", "rx", "ry")
    return drawn.ellipse((x, y), (across, down), degrees=_turn(element))


def _mask(element: ElementTree.Element) -> Region:
    left, top, width, height = (int(value) for value in _numbers(element, "left", "top", "width", "height"))
    runs = [int(part) for part in element.get("rle", "").split(",")]

    def region(size: tuple[int, int]) -> np.ndarray:
        if not (0 < width <= size[1] and 0 < height <= size[0]):
            raise ValueError(f"a mask is {width} x {height}, larger than its picture, or empty")
        part = run_lengths.region(runs, width * height).reshape(height, width)
        return drawn.placed(part, left, top)(size)

    return region


_REGIONS: dict[str, Any] = {"polygon": _polygon, "box": _box, "ellipse": _ellipse, "mask": _mask}


def _labelme(root: ElementTree.Element, path: Path) -> Picture:
    """The picture of an old LabelMe XML file; objects that were deleted are left out."""
    name = root.findtext("filename", "").strip()
    try:
        size = int(root.findtext("imagesize/nrows", "")), int(root.findtext("imagesize/ncols", ""))
    except ValueError:
        return Picture(name, None, problem=f"{path.name} has no imagesize")
    shapes = []
    for entry in root.iter("object"):
        label = entry.findtext("name", "").strip()
        if entry.findtext("deleted", "0").strip() == "1":
            continue
        segment, polygon = entry.find("segm"), entry.find("polygon")
        if segment is not None:
            shapes.append(Shape(label, _labelme_mask(path.parent, segment.findtext("mask", "").strip())))
        elif polygon is not None:
            points = [[point.findtext("x", ""), point.findtext("y", "")] for point in polygon.iter("pt")]
            shapes.append(Shape(label, drawn.polygon(points)))
    return Picture(name, size, shapes)


def _labelme_mask(folder: Path, name: str) -> Region:
    def region(size: tuple[int, int]) -> np.ndarray:
        opacity = png.load_opacity(sources.within(folder / "Masks", name)).astype(int)
        if opacity.shape != size:
            raise ValueError(f"its mask {name:.100} is of {opacity.shape[1]} x {opacity.shape[0]} pixels")
        return (2 * opacity >= opacity.max()) & (opacity > 0)  # the old tool smoothed edges

    return region


def _text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
