"""Every way to read a dataset that docs/datasets.md shows: its code runs, and gives what `factory.load` gives."""

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dnerf_jax import factory
from dnerf_jax.factory import exporting
from dnerf_jax.factory.cards import card
from dnerf_jax.io import ply

pytestmark = [pytest.mark.slow, pytest.mark.forms]
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "datasets.md"
SECTIONS = dict(re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL))
BLOCKS = {title: re.findall(r"```python\n(.*?)```", text, re.DOTALL) for title, text in SECTIONS.items()}


@pytest.fixture(scope="module")
def place(tiny_dataset, tmp_path_factory):
    """A folder that has out/dataset, finished by its card, and its exports."""
    folder = tmp_path_factory.mktemp("reading")
    shutil.copytree(tiny_dataset, folder / "out" / "dataset")
    card.write(folder / "out" / "dataset")
    for form in re.findall(r"--to (\w+)", DOCUMENT.read_text()):
        exporting.export(folder / "out" / "dataset", form, folder / "out" / form)
    return folder


@pytest.fixture
def run(place, monkeypatch) -> Callable[..., dict[str, Any]]:
    """Runs a block of the document there; returns its names."""
    monkeypatch.chdir(place)

    def run(title, number=0):
        names: dict[str, Any] = {}
        exec(compile(BLOCKS[title][number], f"{DOCUMENT.name}: {title}", "exec"), names)
        return names

    return run


@pytest.fixture
def data(tiny_dataset):
    """What all ways shall give."""
    return factory.load(tiny_dataset, split="train")


def same(found, wanted):
    """Types too: neither 8 bits nor colours may have been made of anything."""
    found = np.asarray(found)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


def record_of(data, key):
    return next(record for record in data if record["key"] == key)


def test_numpy(run, data):
    names = run("NumPy")
    assert names["names"] == data.label_map.names and len(names["data"]) == len(data) == 8
    for name, value in data[0].items():
        np.testing.assert_array_equal(names["record"][name], value)
    assert names["batch"]["image"].shape == (4, 16, 16, 3) and names["batch"]["mask"].shape == (4, 16, 16)


def test_grain(run, data):
    pytest.importorskip("grain", reason="make test-all installs it")
    names = run("JAX, with Grain")
    assert set(names["batch"]) == {"image", "mask", "key", "identity", "view", "z", "cam2world", "intrinsics"}
    pipeline, seen = names["batches"], []
    for batch in (pipeline[0], pipeline[1]):
        for place, key in enumerate(batch["key"]):
            for name in set(batch) - {"key"}:
                np.testing.assert_array_equal(batch[name][place], record_of(data, key)[name])
            seen.append(str(key))
    assert sorted(seen) == [record["key"] for record in data] != seen  # an epoch, each once, shuffled
    iterator = iter(pipeline.to_iter_dataset())
    next(iterator)
    state = iterator.get_state()
    after = next(iterator)["key"].tolist()
    iterator.set_state(state)
    assert next(iterator)["key"].tolist() == after


def test_pytorch_takes_it_as_a_dataset(data):
    """PyTorch is not installed here: what its DataLoader asks of a dataset, in this process and in its workers."""
    assert "DataLoader(factory.load(" in SECTIONS["PyTorch"]
    copy = pickle.loads(pickle.dumps(data))
    assert len(copy) == len(data) and [copy[index]["key"] for index in range(len(copy))] == [r["key"] for r in data]
    for record in copy:
        # Of these its default_collate makes tensors, or lists of the keys.
        assert all(isinstance(value, np.ndarray | int | str) for value in record.values())
        assert {value.dtype.kind for value in record.values() if isinstance(value, np.ndarray)} <= {"u", "f"}


def test_webdataset(run, data):
    pytest.importorskip("webdataset", reason="make test-all installs it")
    names = run("PyTorch, with WebDataset")
    samples = list(names["data"])
    assert sorted(sample["__key__"] for sample in samples) == [record["key"] for record in data]
    for sample in samples:
        wanted = record_of(data, sample["__key__"])
        for name in ("image", "mask"):
            same(sample[f"{name}.png"], wanted[name])
        same(np.float32(sample["depth_z.png"] * names["scale"]), wanted["depth_z"])
        same(sample["normal.npy"], wanted["normal"])
        same(np.float32(sample["json"]["cam2world"]), wanted["cam2world"])
        same(np.float32(sample["json"]["intrinsics"]), wanted["intrinsics"])
    last = record_of(data, names["sample"]["__key__"])
    same(names["depth"], last["depth_z"])
    assert names["mask"].ndim == 2 and names["image"].ndim == 3 and len(names["camera"]) == 4


def test_webdatasets_own_decoders_are_worth_the_warning(place, data):
    webdataset = pytest.importorskip("webdataset", reason="make test-all installs it")
    shards = sorted(str(path) for path in (place / "out/dataset/data").glob("train-*.tar"))
    sample = next(iter(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8")))
    assert sample["mask.png"].shape == sample["depth_z.png"].shape == (16, 16, 3)


@pytest.mark.parametrize("number", [0, 1], ids=["by the card", "by its files"])
def test_hugging_face(number, run, data, hugging_face):
    names = run("Hugging Face", number)
    samples = list(names["data"])
    assert [sample["__key__"] for sample in samples] == [record["key"] for record in data]
    scale = data.forms["depth_z"].scale
    for sample, wanted in zip(samples, data, strict=True):
        for name in ("image", "mask"):
            same(sample[f"{name}.png"], wanted[name])
        same(np.float32(np.asarray(sample["depth_z.png"]) * scale), wanted["depth_z"])
        same(np.float32(sample["json"]["intrinsics"]), wanted["intrinsics"])
    if number == 0:
        same(names["depth"], data[-1]["depth_z"])
        same(names["camera"], data[-1]["cam2world"])


def test_hugging_face_loads_the_whole_folder_by_its_card(place, hugging_face, data):
    splits = hugging_face.load_dataset(str(place / "out/dataset"))
    assert {name: len(part) for name, part in splits.items()} == {"train": 8, "test": 4}
    sample = splits["train"].with_format("numpy")[0]
    same(sample["mask.png"], data[0]["mask"])
    assert sample["depth_z.png"].dtype == np.uint16


def test_hugging_face_has_the_clouds_too(place, hugging_face, data):
    clouds = hugging_face.load_dataset(str(place / "out/dataset"), "clouds", split="train")
    read = clouds[0]["cloud.ply"]
    clouds = clouds.cast_column("cloud.ply", hugging_face.Mesh(decode=False))
    content = data.object("points", data[0]["identity"])
    assert clouds[0]["cloud.ply"]["bytes"] == content
    wanted = ply.decode_cloud(content)
    np.testing.assert_array_equal(read.vertices, wanted.points)
    np.testing.assert_array_equal(read.metadata["_ply_raw"]["vertex"]["data"]["label"], wanted.labels)


def test_tfds(run, data):
    pytest.importorskip("tensorflow_datasets", reason="make test-all installs it")
    names = run("TensorFlow Datasets")
    assert names["names"] == list(data.label_map.names) and len(names["source"]) == len(data)
    same(names["record"]["mask"][..., 0], data[0]["mask"])
    same(names["record"]["depth_z"], data[0]["depth_z"])
    grain = pytest.importorskip("grain", reason="make test-all installs it")
    batch = grain.MapDataset.source(names["source"]).shuffle(seed=0).batch(4)[0]
    for place, key in enumerate(batch["key"]):
        same(batch["image"][place], record_of(data, key.decode())["image"])


def test_plain_files(run, data, hugging_face):
    names = run("Plain files, and Hugging Face's imagefolder")
    for name in ("image", "mask"):
        same(names[name], data[0][name])
    same(names["depth"], data[0]["depth_z"])


def test_coco(run, data):
    pytest.importorskip("pycocotools", reason="make test-all installs it")
    names = run("COCO")
    wanted = record_of(data, names["image"]["file_name"].removesuffix(".png"))
    present = [name for index, name in enumerate(data.label_map.names) if index and (wanted["mask"] == index).any()]
    assert sorted(names["regions"]) == sorted(present) and present
    for name, region in names["regions"].items():
        np.testing.assert_array_equal(region, wanted["mask"] == data.label_map.names.index(name))


def test_all_code_of_the_document_is_run():
    source = Path(__file__).read_text()
    assert sum(len(blocks) for blocks in BLOCKS.values()) == 8
    assert all(f'run("{title}"' in source for title, blocks in BLOCKS.items() if blocks)
