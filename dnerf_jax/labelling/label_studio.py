"""Label Studio: a JSON list of tasks, with polygons, boxes and ellipses in percent, and brushes as run lengths.

    images/0012_3fa95c01.png     the pictures
    tasks.json                   to import; brushes, which hold every pixel
    config.xml                   the labelling interface, with the classes in their colours

Regions are painted in the order in which a task lists them.
"""

from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from dnerf_jax.io import files
from dnerf_jax.labelling import drawn
from dnerf_jax.labelling.drawn import Picture, Region, Shape
from dnerf_jax.labelling.giving_out import Task
from dnerf_jax.ops import run_lengths

_NO_AREA = ("keypoint", "keypointlabels", "relation", "choices", "textarea", "rating", "vector", "vectorlabels")
_WITH_LABELS = ("polygonlabels", "brushlabels", "rectanglelabels", "ellipselabels", "labels")
_LOCAL = "/data/local-files/?d="


def write(task: Task) -> None:
    """Writes pictures, tasks.json and config.xml. See `tools.export`."""
    side, tasks = task.side, []
    for index, key, mask in task.views("images"):
        entry: dict[str, Any] = {"id": index + 1, "data": {"image": f"{_LOCAL}images/{key}.png"}, "annotations": []}
        if mask is not None:
            regions = [_brush(f"{key}-{number}", task.name(number), mask == number, side) for number in np.unique(mask)]
            entry["annotations"] = [{"result": regions, "was_cancelled": False}]
        tasks.append(entry)
    (task.out / "tasks.json").write_text(files.to_json(tasks, indent=None))
    labels = "".join(
        f'    <Label value={quoteattr(name)} background="#{bytes(color).hex()}"/>\n' for _, name, color in task.labels()
    )
    text = '<View>\n  <Image name="image" value="$image" zoom="true"/>\n  <BrushLabels name="label" toName="image">\n'
    (task.out / "config.xml").write_text(f"{text}{labels}  </BrushLabels>\n</View>\n", encoding="utf-8")


def _brush(name: str, label: str, region: np.ndarray, side: int) -> dict[str, Any]:
    return {
        "id": name,
        "type": "brushlabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": side,
        "original_height": side,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": run_lengths.to_brush(region), "brushlabels": [label]},
    }


def read(content: list[Any]) -> Iterator[Picture]:
    """The pictures of a JSON export's tasks; of several annotations of one task none is taken."""
    for number, task in enumerate(content, 1):
        if not isinstance(task, dict) or not isinstance(task.get("annotations"), list):
            yield Picture(
                f"task {number}", None, problem="it is no task with annotations: export as JSON, not JSON-MIN"
            )
            continue
        done = [entry for entry in task["annotations"] if isinstance(entry, dict) and not entry.get("was_cancelled")]
        name = _name(task, number)
        results = done[0].get("result", []) if len(done) == 1 else []
        if len(done) > 1 or not isinstance(results, list):
            yield Picture(name, None, problem=f"it has {len(done)} annotations: keep one of them in Label Studio")
            continue
        yield _picture(name, [entry for entry in results if isinstance(entry, dict)])


def _name(task: dict[str, Any], number: int) -> str:
    """The picture's name: that of the file uploaded, or what the task's data say."""
    data = task.get("data")
    values = [task.get("file_upload"), *(data.values() if isinstance(data, dict) else [])]
    texts = [value for value in values if isinstance(value, str) and value]
    return next((text for text in texts if "." in text.rsplit("/", 1)[-1]), texts[0] if texts else f"task {number}")


def _picture(name: str, results: list[dict[str, Any]]) -> Picture:
    labels: dict[Any, str] = {}
    for entry in results:  # without a class of its own, a region has that of the entry with its id
        value = entry.get("value")
        for kind in _WITH_LABELS:
            found = value.get(kind) if isinstance(value, dict) else None
            if isinstance(found, list) and found and isinstance(entry.get("id"), str):
                labels.setdefault(entry["id"], " + ".join(map(str, found)))
    shapes, no_area, sizes = [], [], set()
    for entry in results:
        kind, label = entry.get("type"), labels.get(str(entry.get("id")), "")
        if kind in _NO_AREA:
            no_area.append(f"{kind} {label!r:.100}")
        elif kind != "labels":
            try:
                size = _size(entry)
                sizes.add(size)
                shapes.append(Shape(label, _region(str(kind).removesuffix("labels"), entry.get("value"), size)))
            except (ValueError, TypeError) as error:
                return Picture(name, None, problem=f"its {kind!s:.50} {label!r:.100} is broken: {error}")
    if len(sizes) > 1:
        return Picture(name, None, problem=f"its regions are of pictures of several sizes, {sorted(sizes)}")
    return Picture(name, next(iter(sizes), None), shapes, no_area)


def _size(entry: dict[str, Any]) -> tuple[int, int]:
    size = entry.get("original_height"), entry.get("original_width")
    if not all(type(number) is int and number > 0 for number in size) or entry.get("image_rotation"):
        raise ValueError("it has no original_width and original_height, or the picture was turned")
    return size  # type: ignore[return-value]


def _region(kind: str, value: Any, size: tuple[int, int]) -> Region:
    if not isinstance(value, dict):
        raise ValueError("it has no value")
    scale = np.array([size[1], size[0]]) / 100  # from percent
    if kind == "polygon":
        points = value.get("points")
        if not isinstance(points, list):
            raise ValueError("it has no points")
        return lambda size: drawn.polygon([[x * scale[0], y * scale[1]] for x, y in _pairs(points)])(size)
    if kind == "brush":
        numbers = value.get("rle")
        if not isinstance(numbers, list):
            raise ValueError("it has no rle")
        return lambda size: run_lengths.from_brush(numbers, size)
    names = ("x", "y", "radiusX", "radiusY") if kind == "ellipse" else ("x", "y", "width", "height")
    if kind not in ("rectangle", "ellipse"):
        raise ValueError("it is none of brush, polygon, rectangle and ellipse")
    x, y, across, down = (float(value.get(name, "nan")) * scale[i % 2] for i, name in enumerate(names))
    degrees = float(value.get("rotation") or 0)
    if kind == "ellipse":
        return drawn.ellipse((x, y), (across, down), degrees=degrees)
    return drawn.box(x, y, x + across, y + down, degrees=degrees, about=(x, y))


def _pairs(points: list[Any]) -> list[tuple[float, float]]:
    try:
        return [(float(x), float(y)) for x, y in points]
    except (TypeError, ValueError) as error:
        raise ValueError(f"it has points that are no two numbers: {points!r:.100}") from error
