"""Small files that would take long, or much memory, or the process itself, are refused before they do."""

import io
import pickle
import resource
import struct
import time
import zipfile

import foreign
import numpy as np
import pytest
import tiny
from foreign import Call, Name

from converters import eg3d, pickles
from converters.budget import Budget

_ARRAY = np.arange(250, dtype=np.float32)
_DEVICE = b"ctorch\ndevice\nq\x01X\x03\x00\x00\x00cpuq\x00" + b"0h\x01h\x00h\x00\x86Rq\x00" * 40


def _tensors(stored, count, size=1):
    """Views of the first elements of storages."""
    rebuild = Name("torch._utils", "_rebuild_tensor_v2")
    return [Call(rebuild, (stored(i), 0, (size,), (1,), False, None)) for i in range(count)]


def _compressed():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", foreign.dumps([foreign.stored(_ARRAY, length=2**22)], 2))
        archive.writestr("archive/data/0", bytes(2**24))
    return file.getvalue()


def _nested(levels, before, after):
    return b"\x80\x04" + before * levels + b"N" + after * levels


BOMBS = {
    "a key that doubles": b"\x80\x04}" + b")" + b"2\x86" * 25 + b"Ns.",
    "a value that doubles": b"\x80\x04)" + b"2\x86" * 25 + b".",
    "a text that doubles": b"\x80\x04" + _DEVICE + b".",
    "a tuple 1,000 deep": _nested(1000, b"", b"\x85") + b".",
    "a key 1,000,000 deep": b"\x80\x04}" + _nested(10**6, b"", b"\x85")[2:] + b"Ns.",
    "lists 100,000 deep": _nested(10**5, b"]", b"a") + b".",
    "a far place in the memo": b"Nr\x00\x00\x00\x10.",
    "a long frame": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N.",
    "a long text": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.",
    "a long number": b"\x80\x04\x8b" + struct.pack("<I", 10**6) + b"\x01" * 10**6 + b".",
    "copies of a long text": b"\x80\x04cbuiltins\nset\nq\x01X"
    + struct.pack("<I", 10**5)
    + b"x" * 10**5
    + b"q\x00"
    + b"0h\x01h\x00\x85R" * 1000
    + b".",
    "many containers": b"\x80\x04(" + b"}" * 10**6 + b"l.",
    "a compressed zip": _compressed(),
    "storages that claim too much": foreign.legacy(
        _tensors(lambda i: foreign.stored(_ARRAY, str(i), 10**5), 2000),
        dict.fromkeys(map(str, range(2000)), _ARRAY[:1]),
    ),
    "a view of 10^12 elements": foreign.dumps(foreign.tensor(_ARRAY, size=(10**6, 10**6), stride=(0, 0))),
    "many views of all": foreign.zipped(_tensors(lambda i: foreign.stored(_ARRAY), 60, 250), {"0": _ARRAY}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_cannot_ask_for_much(tmp_path, name):
    path = tmp_path / "network.pkl"
    path.write_bytes(BOMBS[name])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ValueError, match=f"{path} (was not read|is truncated|holds)"):
        pickles.read(path)
    assert time.process_time() - start < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10  # KiB


def test_one_storage_named_often_is_read_once(tmp_path):
    path = tmp_path / "network.pt"
    path.write_bytes(foreign.zipped(_tensors(lambda i: foreign.stored(_ARRAY), 60), {"0": _ARRAY}))
    tensors = pickles.read(path)
    assert len(tensors) == 60 and len({id(tensor.base) for tensor in tensors}) == 1


def test_the_pickles_inside_have_no_budget_of_their_own(tmp_path):
    path = tmp_path / "network.pkl"
    doubled = foreign.dumps(0, 2)[:-2] + b")" + b"2\x86" * 25 + b"."
    inside = foreign.legacy(foreign.stored(_ARRAY), {"0": _ARRAY}).replace(foreign.dumps(1001, 2), doubled, 1)
    path.write_bytes(foreign.dumps(foreign.tensor(_ARRAY, inside)))
    with pytest.raises(ValueError, match="inside the bytes of a storage, written out in full it would be far larger"):
        pickles.read(path)


def test_bytes_that_are_read_again_and_again_are_more_than_the_file_has(tmp_path):
    path, data = tmp_path / "network.pkl", foreign.storage_bytes(_ARRAY)
    load = b"ctorch.storage\n_load_from_bytes\nh\x00\x85R"
    start = b"\x80\x04B" + struct.pack("<I", len(data)) + data + b"q\x000"
    path.write_bytes(start + load + b".")
    pickles.read(path)
    path.write_bytes(start + (load + b"0") * 30 + load + b".")
    with pytest.raises(ValueError, match="its storages claim more than its"):
        pickles.read(path)


@pytest.mark.parametrize("protocol", range(6))
def test_what_picklers_write_is_followed_to_its_end(protocol):
    shared = ["x"]
    content = {"a": (1, 2.5, None, True, "é", b"\xff" * 300), "b": [shared, shared, {1, 2}, frozenset((3,))], 3: {}}
    content["loop"] = [content["b"], bytearray(b"12")]
    data = pickle.dumps(content, protocol)
    file = io.BytesIO(data + b"rest")
    Budget(len(data)).go_through(file)
    assert file.tell() == 0


def test_a_network_takes_a_small_part_of_its_budget():
    """So that other files of its kind, larger and with their sources, fit too."""
    data = foreign.dumps({"G_ema": foreign.network(tiny.record(), module_src="x" * 50_000)})
    budget = Budget(len(data))
    budget.go_through(io.BytesIO(data))
    assert len(data) < budget.written < 6 << 20


@pytest.mark.parametrize(
    "place, name, size, words",
    [
        ("backbone.mapping", "num_layers", 1000, "at most 64"),
        ("backbone.synthesis", "img_resolution", 2**40, "at most 16,384"),
        ("backbone.synthesis", "img_resolution", 24, "expected a power of two from 4 on"),
        ("superresolution", "input_resolution", 2**20, "at most 16,384"),
    ],
)
def test_an_architecture_is_no_larger_than_it_can_be(place, name, size, words):
    network = tiny.record()
    network.child(place).attributes[name] = size
    with pytest.raises(ValueError, match=words):
        eg3d.convert(network)


def test_sizes_are_those_of_the_tensors():
    """A large architecture of small tensors is refused by its shapes, of which none is made."""
    network = tiny.record()
    network.attributes["w_dim"] = network.attributes["z_dim"] = 16384
    network.child("backbone.mapping").attributes["num_layers"] = 64
    start = time.process_time()
    with pytest.raises(ValueError, match=r"missing: backbone.mapping.fc10.bias \[16384\]"):
        eg3d.convert(network)
    assert time.process_time() - start < 30
