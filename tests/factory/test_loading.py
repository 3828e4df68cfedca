"""Loading: records by index and in batches, in parts, elsewhere, without JAX; unfinished sets are refused."""

import pickle
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

import dnerf_jax
from dnerf_jax import factory
from dnerf_jax.factory.plan import range_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tiny_dataset):
    """All of it."""
    return factory.load(tiny_dataset)


def test_records_come_split_by_split(data, tiny_dataset, tiny_plan):
    assert len(data) == 12 and len(data.label_map.names) == 5
    keys = [record["key"] for record in data]
    assert len(set(keys)) == 12
    for split in ("train", "test"):
        part = factory.load(tiny_dataset, split=split)
        assert [record["identity"] for record in part][::2] == list(range_of(tiny_plan, split))
    parts = [[r["key"] for r in factory.load(tiny_dataset, split=split)] for split in ("train", "test")]
    assert keys == parts[0] + parts[1]
    assert [record["key"] for record in data[2:9:3]] == keys[2:9:3] and data[4:4] == []
    assert data[-1]["key"] == keys[-1] and data[np.int64(3)]["key"] == keys[3]
    for wrong in ("a", 1.0):
        with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
            data[wrong]
    for wrong in (12, -13):
        with pytest.raises(IndexError, match="of 12"):
            data[wrong]


def test_a_record_has_types_and_shapes(data):
    record = data[0]
    shapes = {name: (value.dtype, value.shape) for name, value in record.items() if isinstance(value, np.ndarray)}
    wide = np.dtype(np.float32)
    assert shapes == {
        "image": (np.uint8, (16, 16, 3)),
        "mask": (np.uint8, (16, 16)),
        "depth_z": (wide, (16, 16)),
        "distance": (wide, (16, 16)),
        "normal": (np.float16, (16, 16, 3)),
        "opacity": (wide, (16, 16)),
        "confidence": (wide, (16, 16)),
        "logits": (np.float16, (16, 16, 5)),
        "z": (wide, (8,)),
        "cam2world": (wide, (4, 4)),
        "intrinsics": (wide, (3, 3)),
    }
    assert all(value.flags.writeable for value in record.values() if isinstance(value, np.ndarray))
    assert "views of" in repr(data)


def test_only_what_is_asked_for_is_read(tiny_dataset):
    part = factory.load(tiny_dataset, split="test", only=["mask"])
    assert set(part[0]) == {"key", "identity", "view", "mask", "z", "cam2world", "intrinsics"}
    with pytest.raises(ValueError, match="views have no points, but image.* clouds and meshes are what `object` gives"):
        factory.load(tiny_dataset, only=["image", "points"])
    assert set(factory.load(tiny_dataset, only="image").forms) == {"image"}
    with pytest.raises(ValueError, match="there is no split 'dev': expected one of train, test"):
        factory.load(tiny_dataset, split="dev")


def test_batches_shuffle_by_seed_and_epoch(data):
    def keys(**options):
        return [list(batch["key"]) for batch in data.batches(5, **options)]

    assert keys() == [[record["key"] for record in data][start : start + 5] for start in (0, 5)]
    assert [len(batch) for batch in keys(drop_rest=False)] == [5, 5, 2]
    first, again, other = keys(seed=1, epochs=2), keys(seed=1, epochs=2), keys(seed=2, epochs=2)
    assert first == again != other and first[:2] != first[2:]
    assert next(data.batches(3, epochs=None))["image"].shape == (3, 16, 16, 3)
    for wrong in (0, 13):
        with pytest.raises(ValueError, match=r"has 12 views: expected 1 to as many"):
            next(data.batches(wrong))


def test_a_dataset_travels_to_other_processes_and_threads(data):
    data[0]
    copy = pickle.loads(pickle.dumps(data))
    found = {}

    def read(start):
        for i in range(start, 12, 3):
            found[i] = copy[i]

    threads = [threading.Thread(target=read, args=(start,)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(12))
    for i, record in found.items():
        np.testing.assert_array_equal(record["image"], data[i]["image"])


def test_reading_needs_no_jax(tiny_dataset):
    code = (
        "import sys; from dnerf_jax import factory; "
        f"print(factory.load({str(tiny_dataset)!r})[3]['key']); "
        "assert not {'jax', 'flax', 'orbax', 'scipy'} & set(sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0 and shown.stdout.startswith("0000000"), shown.stderr


def test_objects_are_of_their_identity(data, tiny_dataset):
    contents = [data.object("points", identity) for identity in range(6)]
    assert all(content.startswith(b"ply\n") for content in contents) and len(set(contents)) == 6
    with pytest.raises(ValueError, match="has no 'mesh': its modalities are"):
        data.object("mesh", 0)
    with pytest.raises(ValueError, match="identity 0 is not in"):
        factory.load(tiny_dataset, split="test").object("points", 0)


def test_what_is_no_whole_dataset_is_refused(tiny_dataset, tmp_path):
    with pytest.raises(ValueError, match=r"is no dataset: it has no dataset\.json"):
        factory.load(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(tiny_dataset, copy)
    (copy / "data" / "test-000000.json").unlink()
    with pytest.raises(ValueError, match="is not finished, or has lost shards: data/test-000000"):
        factory.load(copy)
    assert len(factory.load(copy, split="train")) == 8
    (copy / "labelmap.json").rename(copy / "elsewhere.json")
    with pytest.raises(ValueError, match="labelmap.json cannot be read"):
        factory.load(copy, split="train")
    (copy / "elsewhere.json").rename(copy / "labelmap.json")
    tar = copy / "data" / "train-000001.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(ValueError, match="train-000001.tar ends before"):
        list(factory.load(copy, split="train"))


def test_a_damaged_picture_is_named(tiny_dataset, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_dataset, copy)
    tar = copy / "data" / "train-000000.tar"
    content = bytearray(tar.read_bytes())
    content[512 + 60] ^= 255
    tar.write_bytes(content)
    with pytest.raises(ValueError, match=r"train-000000\.tar: 00000000_00\.image\.png: the PNG is damaged"):
        factory.load(copy)[0]


def test_the_factory_is_among_the_public_names():
    assert dnerf_jax.factory is factory


FORKED = """
import multiprocessing, sys
import numpy as np
from dnerf_jax import factory

def read(seed, wrong):
    for index in np.random.default_rng(seed).integers(0, len(data), 500).tolist():
        wrong.value += data.files(index) != wanted[index]

data = factory.load(sys.argv[1])
wanted = [data.files(index) for index in range(len(data))]
fork = multiprocessing.get_context("fork")
wrong = [fork.Value("i", 0) for _ in range(4)]
workers = [fork.Process(target=read, args=arguments) for arguments in enumerate(wrong)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
assert not any(worker.exitcode for worker in workers) and not sum(value.value for value in wrong)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_processes_do_not_disturb_one_another(tiny_dataset):
    """PyTorch's workers are forked, with the files open that their parent has read from."""
    subprocess.run([sys.executable, "-c", FORKED, tiny_dataset], check=True)
