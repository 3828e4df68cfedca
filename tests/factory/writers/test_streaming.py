"""Views one after the other: all of them, as they are in the shards; what is damaged is named."""

import dataclasses

import numpy as np
import pytest

from dnerf_jax import factory
from dnerf_jax.factory.writers import streaming

pytestmark = pytest.mark.slow


def test_views_are_the_records_in_their_order(tiny_dataset, capsys):
    data = factory.load(tiny_dataset)
    found = list(streaming.views(data))
    assert [view.own["key"] for view in found] == [record["key"] for record in data]
    assert capsys.readouterr().out.splitlines()[-1].startswith("view 12/12")
    for view, record in zip(found, data, strict=True):
        np.testing.assert_array_equal(view.numbers("mask"), record["mask"])
        depth = (view.numbers("depth_z") * view.forms["depth_z"].scale).astype(np.float32)
        np.testing.assert_array_equal(depth, record["depth_z"])
        assert view.file("image") == view.files["image.png"] and view.own["split"] in ("train", "test")


def test_damaged_files_are_named(tiny_dataset):
    view = next(streaming.views(factory.load(tiny_dataset)))
    broken = dataclasses.replace(view, files={**view.files, "mask.png": b"no picture"})
    with pytest.raises(ValueError, match=r"_00.mask.png: the PNG is damaged"):
        broken.numbers("mask")


def test_forms_about_labels_ask_for_masks(tiny_dataset):
    data = factory.load(tiny_dataset)
    assert streaming.require_labels(data).names == data.label_map.names
    with pytest.raises(ValueError, match="has no masks, which this form is about"):
        streaming.require_labels(factory.load(tiny_dataset, only=["image"]))
