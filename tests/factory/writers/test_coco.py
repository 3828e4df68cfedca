"""COCO: pycocotools reads the instances, and the panoptic pictures say what panopticapi looks for."""

import json

import numpy as np
import pytest
from PIL import Image

from dnerf_jax import factory
from dnerf_jax.factory import exporting
from dnerf_jax.factory.writers import coco

pytestmark = pytest.mark.slow
SPLITS = ("train", "test")


@pytest.fixture(scope="module")
def out(tiny_dataset, tmp_path_factory):
    """The export."""
    pytest.importorskip("pycocotools", reason="make test-all installs it")
    folder = tmp_path_factory.mktemp("coco") / "out"
    exporting.export(tiny_dataset, "coco", folder)
    return folder


@pytest.mark.forms
@pytest.mark.parametrize("split", SPLITS)
def test_pycocotools_reads_instances(out, tiny_dataset, split):
    from pycocotools.coco import COCO

    data = factory.load(tiny_dataset, split=split)
    read = COCO(out / "annotations" / f"instances_{split}.json")
    assert {entry["id"]: entry["name"] for entry in read.cats.values()} == dict(enumerate(data.label_map.names[1:], 1))
    assert [tuple(entry["color"]) for entry in read.cats.values()] == list(data.label_map.colors[1:])
    by_key = {entry["file_name"]: entry for entry in read.imgs.values()}
    assert len(by_key) == len(data) == len(read.imgs) and 0 not in read.anns
    for record in data:
        image = by_key[f"{record['key']}.png"]
        assert (image["identity"], image["view"]) == (record["identity"], record["view"])
        np.testing.assert_array_equal(np.float32(image["cam2world"]), record["cam2world"])
        np.testing.assert_array_equal(np.float32(image["intrinsics"]), record["intrinsics"])
        np.testing.assert_array_equal(Image.open(out / "images" / split / image["file_name"]), record["image"])
        mask = np.zeros_like(record["mask"])
        for entry in read.loadAnns(read.getAnnIds(image["id"])):
            region = read.annToMask(entry).astype(bool)
            assert not mask[region].any() and entry["area"] == region.sum()
            left, top, width, height = entry["bbox"]
            assert region[top : top + height, left : left + width].sum() == region.sum()
            assert region[top].any() and region[top + height - 1].any() and region[:, left].any()
            mask[region] = entry["category_id"]
        np.testing.assert_array_equal(mask, record["mask"])


@pytest.mark.forms
@pytest.mark.parametrize("split", SPLITS)
def test_panoptic_pictures_say_the_ids(out, tiny_dataset, split):
    """As panopticapi reads them: red + 256 green + 65536 blue is the id of a segment, 0 is void."""
    notes = json.loads((out / "annotations" / f"panoptic_{split}.json").read_text())
    data = factory.load(tiny_dataset, split=split)
    assert [entry["isthing"] for entry in notes["categories"]] == [0, 1, 1, 1, 1]
    assert [entry["id"] for entry in notes["images"]] == [entry["image_id"] for entry in notes["annotations"]]
    for note, record in zip(notes["annotations"], data, strict=True):
        colors = np.asarray(Image.open(out / "annotations" / f"panoptic_{split}" / note["file_name"])).astype(int)
        ids = colors @ [1, 256, 65536]
        assert {info["id"] for info in note["segments_info"]} == set(np.unique(ids)) - {0}
        mask = np.full(ids.shape, 255)
        for info in note["segments_info"]:
            assert (ids == info["id"]).sum() == info["area"]
            mask[ids == info["id"]] = info["category_id"]
        np.testing.assert_array_equal(mask, record["mask"])


def test_pixels_to_ignore_are_void():
    mask = np.array([[0, 254], [255, 3]], np.uint8)
    assert coco._id_colors(mask).tolist() == [[[1, 0, 0], [255, 0, 0]], [[0, 0, 0], [4, 0, 0]]]
