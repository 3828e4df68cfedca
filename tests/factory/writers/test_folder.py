"""A plain folder: files as they are in the dataset, told by metadata.jsonl, which Hugging Face's imagefolder reads."""

import json

import numpy as np
import pytest

from dnerf_jax import factory
from dnerf_jax.factory import exporting, record
from dnerf_jax.io import png

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tiny_dataset, tmp_path_factory):
    """The export."""
    folder = tmp_path_factory.mktemp("folder") / "out"
    exporting.export(tiny_dataset, "folder", folder)
    return folder


@pytest.mark.parametrize("split", ["train", "test"])
def test_lines_name_the_files_of_the_dataset(out, tiny_dataset, split):
    data = factory.load(tiny_dataset, split=split)
    lines = [json.loads(line) for line in (out / split / "metadata.jsonl").read_text().splitlines()]
    assert len(lines) == len(data)
    for index, (line, wanted) in enumerate(zip(lines, data, strict=True)):
        for name, form in data.forms.items():
            column = (
                "file_name" if name == "image" else f"{name}_{'path' if form.suffix.endswith('.npy') else 'file_name'}"
            )
            content = (out / split / line[column]).read_bytes()
            assert content == data.files(index)[form.suffix]
            numbers = record.decode(form, content)
            np.testing.assert_array_equal(np.float32(numbers * line.get(f"{name}_scale", 1)), np.float32(wanted[name]))
        assert {name: line[name] for name in ("key", "identity", "view")} == {
            name: wanted[name] for name in ("key", "identity", "view")
        }
        for name in ("z", "cam2world", "intrinsics"):
            np.testing.assert_array_equal(np.float32(line[name]), wanted[name])
    assert png.load_label_map(out / "labelmap.json") == data.label_map
    assert json.loads((out / "source.json").read_text()) == data.description.content


@pytest.mark.forms
def test_hugging_face_reads_it(out, tiny_dataset, hugging_face):
    read = hugging_face.load_dataset("imagefolder", data_dir=str(out))
    for split in ("train", "test"):
        data = factory.load(tiny_dataset, split=split)
        assert len(read[split]) == len(data)
        for found, wanted in zip(read[split], data, strict=True):
            assert [found[name].mode for name in ("image", "mask", "depth_z")] == ["RGB", "P", "I;16"]
            assert found["key"] == wanted["key"] and found["normal_path"] == f"normal/{wanted['key']}.npy"
            np.testing.assert_array_equal(found["image"], wanted["image"])
            np.testing.assert_array_equal(found["mask"], wanted["mask"])
            depth = np.float32(np.asarray(found["depth_z"]) * found["depth_z_scale"])
            np.testing.assert_array_equal(depth, wanted["depth_z"])
            np.testing.assert_array_equal(np.float32(found["cam2world"]), wanted["cam2world"])
