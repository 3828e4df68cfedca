"""COCO: panoptic PNGs, and instances as run lengths and polygons.

    images/0012_3fa95c01.png                          the pictures
    panoptic.json, panoptic/0012_3fa95c01.png         for panopticapi: colours (R + 256 G + 65536 B) are segments' ids
    instances.json                                    for pycocotools: an annotation for every class in a picture

A category's id is that of its class plus one, since some tools take 0 for none. In panoptic files pixels of no segment
are void, "ignore". Of instances the crowds are painted first, as regions that the others stand in, then the others in
the order of the file; an annotation's polygons are one region, their union, as pycocotools has it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.io import encoding, files, png
from dnerf_jax.labelling import drawn, sources
from dnerf_jax.labelling.drawn import Picture, Region, Shape
from dnerf_jax.labelling.giving_out import Task
from dnerf_jax.ops import run_lengths
from dnerf_jax.ops.labels import LabelMap

_VOID = 0


def write(task: Task) -> None:
    """Writes pictures, panoptic segmentation and instances. See `tools.export`."""
    (task.out / "panoptic").mkdir()
    images: list[dict[str, Any]] = []
    panoptic: list[dict[str, Any]] = []
    instances: list[dict[str, Any]] = []
    for index, key, mask in task.views("images"):
        name = f"{key}.png"
        images.append({"id": index + 1, "file_name": name, "width": task.side, "height": task.side})
        if mask is None:
            continue
        ids = np.zeros((*mask.shape, 3), np.uint8)
        ids[..., 0] = np.where(mask == LabelMap.IGNORE, _VOID, mask + 1)  # at most 255 classes
        (task.out / "panoptic" / name).write_bytes(encoding.encode_png(ids))
        regions = [_region_of(mask, number) for number in np.unique(mask).tolist()]
        known = [region for region in regions if region["category_id"] != LabelMap.IGNORE + 1]
        info = [region | {"id": region["category_id"]} for region in known]
        panoptic.append({"image_id": index + 1, "file_name": name, "segments_info": info})
        for region in regions:
            own = {
                "id": len(instances) + 1,
                "image_id": index + 1,
                "segmentation": _runs(mask, region["category_id"] - 1),
            }
            instances.append(own | region)
    categories = [
        {
            "id": number + 1,
            "name": name,
            "supercategory": "",
            "isthing": int(0 < number < LabelMap.IGNORE),
            "color": color,
        }
        for number, name, color in task.labels()
    ]
    known_ones = categories[: task.label_map.num_classes]
    for file, notes, kinds in (("panoptic", panoptic, known_ones), ("instances", instances, categories)):
        content = {"images": images, "annotations": notes, "categories": kinds}
        (task.out / f"{file}.json").write_text(files.to_json(content, indent=None))


def _region_of(mask: np.ndarray, index: int) -> dict[str, Any]:
    rows, columns = np.nonzero(mask == index)
    left, top = int(columns.min()), int(rows.min())
    box = [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1]
    return {"category_id": index + 1, "area": len(rows), "bbox": box, "iscrowd": 0}


def _runs(mask: np.ndarray, index: int) -> dict[str, Any]:
    counts = run_lengths.counts((mask == index).ravel(order="F"))
    return {"size": list(mask.shape), "counts": run_lengths.to_text(counts)}


def read(path: Path, content: dict[str, Any]) -> Iterator[Picture]:
    """The pictures of a JSON file's content. Raises ValueError, naming the file: its lists or ids are broken."""
    try:
        images, notes, categories = (content[name] for name in _LISTS)
        if not all(isinstance(entry, dict) for entry in (*images, *notes, *categories)):
            raise ValueError("its lists are not of objects")
        names = {entry["id"]: str(entry["name"]) for entry in categories}
        by_image: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in images}
        if len(by_image) < len(images) or len(names) < len(categories):
            raise ValueError("ids of images or categories are there twice")
        without = [note.get("id") for note in notes if "image_id" not in note]
        if without:
            raise ValueError(f"annotations have no image_id, those of the ids {without!r:.100}")
        stray = [note["image_id"] for note in notes if note["image_id"] not in by_image]
        if stray:
            raise ValueError(f"annotations are of images that are not there, {stray!r:.100}")
        for note in notes:
            by_image[note["image_id"]].append(note)
    except (KeyError, TypeError, ValueError) as error:
        what = {KeyError: f"an image or a category has no {error}", TypeError: "it has other lists or ids than COCO's"}
        told = what.get(type(error), str(error))
        raise ValueError(f"{path} cannot be read as COCO: {told}; export it again") from error
    for image in images:
        name, size = str(image.get("file_name", "")), (image.get("height"), image.get("width"))
        if not all(type(number) is int for number in size):
            yield Picture(name, None, problem="it has no height and width")
            continue
        own = by_image[image["id"]]
        try:
            panoptic = any("segments_info" in note for note in own)
            shapes = _segments(path, own, names) if panoptic else [_instance(note, names) for note in own]
            yield Picture(name, (int(size[0]), int(size[1])), shapes, void=panoptic)
        except (KeyError, TypeError, ValueError) as error:
            what = str(error) if isinstance(error, ValueError) else f"an annotation is broken: {error!r:.100}"
            yield Picture(name, None, problem=what)


_LISTS = ("images", "annotations", "categories")


def _category(note: dict[str, Any], names: dict[Any, str]) -> str:
    if note["category_id"] not in names:
        raise ValueError(f"it has the category {note['category_id']!r:.50}, which the file does not name")
    return names[note["category_id"]]


def _instance(note: dict[str, Any], names: dict[Any, str]) -> Shape:
    crowd = -1 if note.get("iscrowd") else 0
    return Shape(_category(note, names), _segmentation(note["segmentation"]), crowd)


def _segmentation(value: Any) -> Region:
    """The region of polygons, or of run lengths column by column."""
    if isinstance(value, list):
        if not value or not all(isinstance(ring, list) for ring in value):
            raise ValueError("a segmentation is no list of polygons: of boxes alone there is no mask")
        if any(len(ring) % 2 for ring in value):
            raise ValueError("a polygon has an odd number of coordinates, expected x and y of each corner")
        return drawn.polygon(*([ring[i : i + 2] for i in range(0, len(ring), 2)] for ring in value))
    claimed, counts = value["size"], value["counts"]

    def region(size: tuple[int, int]) -> np.ndarray:
        if claimed != list(size):
            raise ValueError(f"its run lengths are of the size {claimed!r:.50}, expected {list(size)}")
        numbers = run_lengths.from_text(counts) if isinstance(counts, str) else counts
        flat = run_lengths.region(numbers, size[0] * size[1])
        if sum(numbers) < len(flat):
            raise ValueError(f"its run lengths sum to {sum(numbers)}, expected {len(flat)}: they are cut off")
        return flat.reshape(size, order="F")

    return region


def _segments(path: Path, notes: list[dict[str, Any]], names: dict[Any, str]) -> list[Shape]:
    """The shapes of a panoptic PNG, which lies in the folder of the JSON's name, or beside it."""
    if len(notes) != 1:
        raise ValueError(f"it has {len(notes)} panoptic annotations, expected one")
    file = str(notes[0]["file_name"])
    places = [sources.within(path.parent, f"{folder}{file}") for folder in (f"{path.stem}/", "")]
    pixels, _ = png.load_labels(next((place for place in places if place.is_file()), places[0]))
    if pixels.ndim != 3:
        raise ValueError(f"{file} has no colours, which say the segments' ids")
    ids = pixels.astype(np.uint32) @ np.array([1, 1 << 8, 1 << 16], np.uint32)
    segments = {entry["id"]: _category(entry, names) for entry in notes[0]["segments_info"]}
    unknown = [number for number in np.unique(ids).tolist() if number != _VOID and number not in segments]
    if unknown:
        raise ValueError(f"{file} has segments that the JSON does not name, {unknown!r:.100}")

    def shape(number: int, label: str) -> Shape:
        def region(size: tuple[int, int]) -> np.ndarray:
            if ids.shape != size:
                raise ValueError(f"{file} is of {ids.shape[1]} x {ids.shape[0]} pixels")
            return ids == number

        return Shape(label, region)

    return [shape(number, label) for number, label in segments.items()]
