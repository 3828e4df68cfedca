"""COCO: pictures, instances and panoptic segmentation.

    images/train/00000012_03.png
    annotations/instances_train.json      for pycocotools: an annotation for every class in a picture
    annotations/panoptic_train.json       and annotations/panoptic_train/00000012_03.png, for panopticapi
    (the same of the other splits)

Categories have the ids of the label map. An instance is all of a class in a picture, as run lengths: both eyes are one.
The background, class 0, is no instance; in the panoptic files it is stuff, and all else things. A segment's id, and so
the colour of its pixels (R + 256 G + 65536 B), is that of its class plus one; pixels to ignore are void, 0. The entry
of a picture says its identity, view, cam2world and intrinsics too.
"""

import itertools
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.factory.loading import Dataset
from dnerf_jax.factory.writers.streaming import View, require_labels, views
from dnerf_jax.io import encoding
from dnerf_jax.ops.labels import LabelMap


def write(dataset: Dataset, out: Path) -> None:
    """Writes pictures, instances and panoptic segmentation of every split. See `exporting.export`.

    Raises ValueError: the dataset has no masks.
    """
    label_map, notes = require_labels(dataset), out / "annotations"
    categories = [_category(label_map, index) for index in range(label_map.num_classes)]
    origin = dataset.description.checkpoint
    head = {
        "info": {"description": "made by dnerf_jax", "checkpoint": dict(origin)},
        "licenses": [{"id": 1, "name": origin.get("license", "unknown"), "url": ""}],
    }
    for split, members in itertools.groupby(views(dataset), key=lambda view: view.own["split"]):
        segments = notes / f"panoptic_{split}"
        pictures = out / "images" / split
        for folder in (pictures, segments):
            folder.mkdir(parents=True)
        instances_file, panoptic_file = notes / f"instances_{split}.json", notes / f"panoptic_{split}.json"
        with (
            _Lists(instances_file, head | {"categories": categories[1:]}) as instances,
            _Lists(panoptic_file, head | {"categories": categories}) as panoptic,
        ):
            number = itertools.count(1)  # pycocotools takes the annotation 0 for none
            for view in members:
                mask, name = view.numbers("mask"), f"{view.own['key']}.png"
                (pictures / name).write_bytes(view.file("image"))
                (segments / name).write_bytes(encoding.encode_png(_id_colors(mask)))
                image = _image(view, dataset, mask)
                regions = [_region(mask, int(index)) for index in np.unique(mask) if index != LabelMap.IGNORE]
                for lists in (instances, panoptic):
                    lists.add("images", image)
                info = [region | {"id": region["category_id"] + 1} for region in regions]
                panoptic.add("annotations", {"image_id": image["id"], "file_name": name, "segments_info": info})
                for region in regions:
                    if region["category_id"]:
                        runs = _run_lengths(mask == region["category_id"])
                        ids = {"id": next(number), "image_id": image["id"]}
                        instances.add("annotations", ids | region | {"segmentation": runs})


class _Lists:
    """A JSON file of an object with long lists, "images" and "annotations", of which memory holds one entry."""

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self._path, self._head = path, head
        self._lists = {name: tempfile.TemporaryFile(dir=path.parent) for name in ("images", "annotations")}  # noqa: SIM115

    def __enter__(self) -> "_Lists":
        return self

    def add(self, name: str, entry: Mapping[str, Any]) -> None:
        """Adds an entry to a list."""
        entries = self._lists[name]
        entries.write((b",\n" if entries.tell() else b"") + json.dumps(entry).encode())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            with open(self._path, "wb") as file:
                file.write(json.dumps(self._head)[:-1].encode())
                for name, entries in self._lists.items():
                    file.write(f',\n"{name}": [\n'.encode())
                    entries.seek(0)
                    shutil.copyfileobj(entries, file)
                    file.write(b"\n]")
                file.write(b"}\n")
        for entries in self._lists.values():
            entries.close()


def _category(label_map: LabelMap, index: int) -> dict[str, Any]:
    """A class; "isthing" is what panopticapi looks for, and divides by the number of things."""
    return {
        "id": index,
        "name": label_map.names[index],
        "supercategory": "",
        "isthing": int(index > 0),
        "color": list(label_map.colors[index]),
    }


def _image(view: View, dataset: Dataset, mask: np.ndarray) -> dict[str, Any]:
    """The entry of a picture."""
    own = view.own
    return {
        "id": own["identity"] * dataset.plan.views_per_identity + own["view"],
        "file_name": f"{own['key']}.png",
        "width": mask.shape[1],
        "height": mask.shape[0],
        "license": 1,
        **{name: own[name] for name in ("identity", "view", "cam2world", "intrinsics")},
    }


def _region(mask: np.ndarray, index: int) -> dict[str, Any]:
    """The pixels of a class: their number, and the box around them as left, top, width and height."""
    rows, columns = np.nonzero(mask == index)
    left, top = int(columns.min()), int(rows.min())
    box = [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1]
    return {"category_id": index, "area": len(rows), "bbox": box, "iscrowd": 0}


def _id_colors(mask: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) that say the segments' ids."""
    ids = np.zeros((*mask.shape, 3), np.uint8)
    ids[..., 0] = np.where(mask == LabelMap.IGNORE, 0, mask + 1)  # 255 classes at most, so that no id needs green
    return ids


def _run_lengths(region: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run lengths of a region (H, W)."""
    try:
        from pycocotools import mask as masks
    except ImportError as error:
        raise ImportError("the form coco needs pycocotools: pip install dnerf_jax[export]") from error
    runs = masks.encode(np.asfortranarray(region.astype(np.uint8)))
    return {"size": list(region.shape), "counts": runs["counts"].decode()}
