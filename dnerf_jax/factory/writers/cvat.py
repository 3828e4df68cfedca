"""CVAT's "segmentation mask 1.1", which is Pascal VOC's layout: class and object masks in colours.

    labelmap.txt                           names and colours
    ImageSets/Segmentation/train.txt       the pictures of a split, one a line
    JPEGImages/00000012_03.png             the pictures
    SegmentationClass/00000012_03.png      the classes
    SegmentationObject/00000012_03.png     the objects in VOC's colours, one for each class in a picture

Masks are palette PNGs: indices are class ids (numbers of objects), and the palette has the colours of labelmap.txt.
CVAT wants the background to be called so and to be black. Zip the content of the folder, and upload it.
"""

import itertools
from pathlib import Path

import numpy as np

from dnerf_jax.factory.loading import Dataset
from dnerf_jax.factory.writers.streaming import require_labels, views
from dnerf_jax.io import encoding, label_maps
from dnerf_jax.ops.labels import LabelMap


def write(dataset: Dataset, out: Path) -> None:
    """Writes pictures, masks and labelmap.txt. See `exporting.export`.

    Raises ValueError: the dataset has no masks, or the colours or names of its classes are not what CVAT can read.
    """
    label_map = label_maps.as_cvat_has_it(require_labels(dataset))
    folders = [out / name for name in ("JPEGImages", "SegmentationClass", "SegmentationObject")]
    lists = out / "ImageSets" / "Segmentation"
    for folder in (*folders, lists):
        folder.mkdir(parents=True)
    text = label_maps.to_txt(label_map.names, label_map.colors)
    (out / "labelmap.txt").write_text(text, encoding="utf-8")
    for split, members in itertools.groupby(views(dataset), key=lambda view: view.own["split"]):
        with open(lists / f"{split}.txt", "w") as names:
            for view in members:
                mask, key = view.numbers("mask"), view.own["key"]
                names.write(f"{key}\n")
                contents = (
                    view.file("image"),
                    encoding.encode_png(mask, palette=label_map.palette),
                    encoding.encode_png(objects(mask), palette=label_maps.voc_palette()),
                )
                for folder, content in zip(folders, contents, strict=True):
                    (folder / f"{key}.png").write_bytes(content)


def objects(mask: np.ndarray) -> np.ndarray:
    """The classes in a mask, the background apart, numbered from 1; pixels to ignore stay so."""
    numbers = np.zeros(256, np.uint8)
    present = [index for index in np.unique(mask) if index not in (0, LabelMap.IGNORE)]
    numbers[present] = np.arange(1, len(present) + 1)
    numbers[LabelMap.IGNORE] = LabelMap.IGNORE
    return numbers[mask]
