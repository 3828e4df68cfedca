"""TFDS: its own reader gives the records back, in their units, without TensorFlow."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from dnerf_jax import factory
from dnerf_jax.factory import exporting
from dnerf_jax.factory.writers import streaming, tfds

pytestmark = [pytest.mark.slow, pytest.mark.forms]


@pytest.fixture(scope="module")
def out(tiny_dataset, tmp_path_factory):
    """The export."""
    pytest.importorskip("tensorflow_datasets", reason="make test-all installs it")
    folder = tmp_path_factory.mktemp("tfds") / "out"
    exporting.export(tiny_dataset, "tfds", folder)
    return folder


@pytest.fixture(scope="module")
def builder(out):
    """The dataset as TFDS knows it."""
    import tensorflow_datasets

    return tensorflow_datasets.builder_from_directory(out)


@pytest.mark.parametrize("split", ["train", "test"])
def test_records_come_back(builder, tiny_dataset, split):
    data, read = factory.load(tiny_dataset, split=split), builder.as_data_source(split)
    assert len(read) == len(data) and "tensorflow" not in sys.modules
    for found, wanted in zip((read[i] for i in range(len(read))), data, strict=True):
        assert set(found) == set(wanted)
        assert (found["key"].decode(), found["identity"], found["view"]) == tuple(
            wanted[name] for name in ("key", "identity", "view")
        )
        np.testing.assert_array_equal(found["mask"][..., 0], wanted["mask"])
        for name in set(wanted) - {"key", "identity", "view", "mask"}:
            assert found[name].dtype == wanted[name].dtype
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def test_masks_are_grey(tiny_dataset):
    """TensorFlow makes greys of the colours of a palette, and the ids are lost."""
    example = tfds._example(next(streaming.views(factory.load(tiny_dataset))))
    assert Image.open(io.BytesIO(example["mask"])).mode == "L"


def test_unlabelled_datasets_have_no_mask(tiny_dataset, tmp_path):
    import tensorflow_datasets

    tfds.write(factory.load(tiny_dataset, split="test", only=["image", "depth_z"]), tmp_path)
    builder = tensorflow_datasets.builder_from_directory(tmp_path)
    assert {"image", "depth_z"} < set(builder.info.features) and "mask" not in builder.info.features
    assert len(builder.as_data_source("test")) == 4


def test_classes_units_and_origin_are_told(builder, out, tiny_dataset):
    data = factory.load(tiny_dataset)
    assert builder.info.features["mask"].names == list(data.label_map.names)
    assert builder.info.features["depth_z"].doc.desc == "world unit"
    assert builder.info.metadata["labelmap"] == json.loads(data.label_map.to_json())
    assert builder.info.metadata["description"] == data.description.content
    assert builder.info.redistribution_info.license == "none"
    assert {name: split.shard_lengths for name, split in builder.info.splits.items()} == {"train": [4, 4], "test": [4]}


def test_records_are_groups_of_their_own(out):
    """Random access reads one record, not a group of many."""
    from array_record.python.array_record_module import ArrayRecordReader

    (path,) = out.glob("*test*")
    assert "group_size:1," in f"{ArrayRecordReader(str(path)).writer_options_string()},"
