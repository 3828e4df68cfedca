"""CVAT: colours of labelmap.txt say the classes, VOC's colours the objects; what it cannot hold is refused."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from dnerf_jax import factory
from dnerf_jax.factory import exporting
from dnerf_jax.factory.writers import cvat
from dnerf_jax.io import label_maps, png
from dnerf_jax.ops.labels import LabelMap


@pytest.fixture(scope="module")
def out(tiny_dataset, tmp_path_factory):
    """The export."""
    folder = tmp_path_factory.mktemp("cvat") / "out"
    exporting.export(tiny_dataset, "cvat", folder)
    return folder


def rgb(path):
    """A picture as other programs see it: palettes become colours."""
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.slow
def test_colors_say_the_classes(out, tiny_dataset):
    head, *lines = (out / "labelmap.txt").read_text().splitlines()
    assert head == "# label:color_rgb:parts:actions" and lines[0] == "background:0,0,0::"
    colors = {name: np.array(color.split(","), int) for name, color, _, _ in (line.split(":") for line in lines)}
    data = factory.load(tiny_dataset)
    assert list(colors) == list(data.label_map.names)
    keys = [
        key
        for split in ("train", "test")
        for key in (out / "ImageSets/Segmentation" / f"{split}.txt").read_text().split()
    ]
    assert keys == [record["key"] for record in data]
    for record in data:
        seen = rgb(out / "SegmentationClass" / f"{record['key']}.png")
        for index, color in enumerate(colors.values()):
            np.testing.assert_array_equal((seen == color).all(-1), record["mask"] == index)
        np.testing.assert_array_equal(rgb(out / "JPEGImages" / f"{record['key']}.png"), record["image"])
        ids = png.load_mask(out / "SegmentationClass" / f"{record['key']}.png", data.label_map)
        np.testing.assert_array_equal(ids, record["mask"])


@pytest.mark.slow
def test_objects_are_numbered_in_the_colors_of_voc(out, tiny_dataset):
    for record in factory.load(tiny_dataset):
        seen = rgb(out / "SegmentationObject" / f"{record['key']}.png")
        present = [index for index in np.unique(record["mask"]) if index]
        for number, index in enumerate(present, 1):
            region = (seen == label_maps.voc_palette()[number]).all(-1)
            np.testing.assert_array_equal(region, record["mask"] == index)


def test_the_palette_is_that_of_voc():
    """As in the VOC development kit."""
    palette = label_maps.voc_palette()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {index: tuple(palette[index]) for index in known} == known
    assert len({tuple(color) for color in palette}) == 256


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, message",
    [
        ({"names": ("background", "skin", "eye:left", "mouth", "hair")}, r"cannot have the names \[eye:left\]"),
        ({"names": ("void", "skin", "background", "mouth", "hair")}, r"cannot have the names \[background\]"),
        ({"colors": ((1, 1, 1), (2, 2, 2), (3, 3, 3), (0, 0, 0), (4, 4, 4))}, r"\(0, 0, 0\) are of several classes"),
    ],
)
def test_label_maps_that_cvat_cannot_read_are_refused(change, message, tiny_dataset, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_dataset, copy)
    label_map = dataclasses.replace(factory.load(copy).label_map, **change)
    png.save_label_map(copy / "labelmap.json", label_map)
    with pytest.raises(ValueError, match=message):
        exporting.export(copy, "cvat", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pixels_to_ignore_are_no_object():
    assert cvat.objects(np.array([[0, 7], [LabelMap.IGNORE, 3]], np.uint8)).tolist() == [[0, 2], [255, 1]]
