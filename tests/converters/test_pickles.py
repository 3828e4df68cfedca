"""The reader of pickles reads what PyTorch and EG3D write, executes nothing, and names what it refuses."""

import collections
import contextlib
import gzip
import lzma
import pickle
from pathlib import Path

import foreign
import numpy as np
import pytest
from foreign import Call, Name, New

from converters import pickles

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", ["torch_pickle.pkl", "torch_legacy.pt", "torch_zip.pt"])
def test_reads_what_torch_writes(name):
    content = pickles.read(DATA / name)

    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 8
    expected = {
        "float32": base,
        "transposed": base.transpose(2, 0, 1),
        "slice": base[:, 1, ::2],
        "expanded": np.zeros(3, np.float32),
        "scalar": np.float32(2.5),
        "empty": np.zeros((0, 3), np.float32),
        "channels_last": base[None],
        "float16": base.astype(np.float16),
        "float64": base.astype(np.float64),
        "int64": np.arange(5),
        "bool": np.array([True, False, True, False]),
        "parameter": base[0],
    }
    for key, array in expected.items():
        assert content[key].dtype == array.dtype, key
        np.testing.assert_array_equal(content[key], array, err_msg=key)
    assert content["bfloat16"].dtype.name == "bfloat16"
    np.testing.assert_array_equal(content["bfloat16"].astype(np.float32), base)  # all are exact in bfloat16
    assert content["dtype"] == "torch.float16"
    assert content["size"] == (2, 3, 4)


def test_modules_become_inert_records():
    module = pickles.read(DATA / "torch_pickle.pkl")["module"]

    assert isinstance(module, pickles.Record) and module.class_name == "Sequential"
    assert module.child("0").class_name == "Softplus" and module.child("0").get("beta") == 1
    assert [path for path, _ in module.walk()] == ["", "0", "1"]
    assert module.child("2") is None and module.child("0.weight") is None


def test_legacy_files_of_modules_have_their_source_beside_them(tmp_path):
    path, target = tmp_path / "network.pt", tmp_path / "created"
    pid = ("module", Name("torch.nn.modules.linear", "Linear"), "linear.py", f"open({str(target)!r}, 'w')")
    path.write_bytes(foreign.legacy(New(foreign.Stored(pid), {"in_features": 3})))
    assert pickles.read(path).get("in_features") == 3 and not target.exists()


def test_plain_containers_and_numpy(tmp_path):
    content = {
        "ordered": collections.OrderedDict(a=1),
        "gain": np.float64(0.25),
        "count": np.int32(3),
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "set": {1, 2},
        "bytes": b"\x00\xff",
    }
    for protocol in (2, 3, 4, 5):
        path = tmp_path / f"{protocol}.pkl"
        path.write_bytes(pickle.dumps(content, protocol))
        read = pickles.read(path)
        assert read["ordered"] == content["ordered"] and read["set"] == {1, 2} and read["bytes"] == b"\x00\xff"
        assert read["gain"] == 0.25 and read["count"] == 3
        for key in ("array", "fortran"):
            assert read[key].dtype == content[key].dtype
            np.testing.assert_array_equal(read[key], content[key])


def _attacks(target: Path):
    """Pickle contents that create `target` when executed, and what each must be refused for."""
    code = f"open({str(target)!r}, 'w').close()"
    return {
        "os.system": Call(Name("os", "system"), (f"touch {target}",)),
        "posix.system": Call(Name("posix", "system"), (f"touch {target}",)),
        "builtins.exec": Call(Name("builtins", "exec"), (code,)),
        "builtins.eval": Call(Name("builtins", "eval"), (code,)),
        "__builtin__.eval": Call(Name("__builtin__", "eval"), (code,)),
        "pathlib.Path": Call(Name("pathlib", "Path"), (str(target),)),
        "builtins.open": Call(Name("builtins", "open"), (str(target), "w")),
        "subprocess.call": Call(Name("subprocess", "call"), (["touch", str(target)],)),
        "builtins.getattr": Call(Name("builtins", "getattr"), (code, "format")),
        "torch.load": Call(Name("torch", "load"), (str(target),)),
        "torch_utils.persistence._src_to_module": Call(Name("torch_utils.persistence", "_src_to_module"), (code,)),
        "torch.nn.modules.linear.torch.os.system": Call(
            Name("torch.nn.modules.linear", "torch.os.system"), (f"touch {target}",)
        ),
        "training.other.Network": New(Name("training.other", "Network"), {}),
        "numpy.load": Call(Name("numpy", "load"), (str(target),)),
    }


ATTACKS = list(_attacks(Path("x")))


def test_the_attacks_are_attacks(tmp_path):
    target = tmp_path / "created"
    for name in ("os.system", "posix.system", "builtins.exec", "builtins.eval", "builtins.open"):
        pickle.loads(foreign.dumps({"G_ema": _attacks(target)[name]}))
        assert target.exists(), f"{name} did not create the file, so the tests below would prove nothing"
        target.unlink()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", ATTACKS)
def test_refuses_the_outer_pickle(tmp_path, name, protocol):
    target, path = tmp_path / "created", tmp_path / "network.pkl"
    path.write_bytes(foreign.dumps({"G_ema": _attacks(target)[name]}, protocol))

    with pytest.raises(ValueError, match="nothing in it was executed") as error:
        pickles.read(path)

    assert name in str(error.value) and str(path) in str(error.value)
    assert not target.exists()


@pytest.mark.parametrize("container", ["legacy", "zip", "first pickle", "keys"])
@pytest.mark.parametrize("name", ATTACKS)
def test_refuses_the_pickle_inside_a_storage(tmp_path, name, container):
    target, path = tmp_path / "created", tmp_path / "network.pkl"
    attack = _attacks(target)[name]
    array = np.zeros(2, np.float32)
    data = {
        "legacy": lambda: foreign.legacy(attack),
        "zip": lambda: foreign.zipped(attack),
        "first pickle": lambda: foreign.legacy(foreign.stored(array), {"0": array}, magic=attack),
        "keys": lambda: foreign.legacy([foreign.stored(array), attack], {"0": array}),
    }[container]()
    path.write_bytes(foreign.dumps({"G_ema": foreign.tensor(array, data)}))

    with pytest.raises(ValueError, match="inside the bytes of a storage") as error:
        pickles.read(path)

    assert name in str(error.value) and "nothing in it was executed" in str(error.value)
    assert not target.exists()


@pytest.mark.parametrize("name", ["_rebuild_tensor_v2", "_rebuild_parameter"])
def test_a_storage_may_ask_for_less_than_the_file(tmp_path, name):
    path = tmp_path / "network.pkl"
    data = foreign.legacy(Call(Name("torch._utils", name), ()))
    path.write_bytes(foreign.dumps(foreign.tensor(np.zeros(2, np.float32), data)))

    with pytest.raises(ValueError, match=f"inside the bytes of a storage, it asks for torch._utils.{name}"):
        pickles.read(path)


def test_refuses_attacks_in_files_of_torch_save(tmp_path):
    target = tmp_path / "created"
    for write in (foreign.legacy, foreign.zipped):
        path = tmp_path / write.__name__
        path.write_bytes(write(_attacks(target)["os.system"]))
        with pytest.raises(ValueError, match=r"os.system"):
            pickles.read(path)
    assert not target.exists()


def test_source_code_in_the_file_is_ignored(tmp_path):
    target, path = tmp_path / "created", tmp_path / "network.pkl"
    record = pickles.Record("Network", {"_modules": {}, "answer": 42})
    path.write_bytes(foreign.dumps(foreign.network(record, module_src=f"open({str(target)!r}, 'w')")))

    read = pickles.read(path)

    assert read.class_name == "Network" and read.get("answer") == 42
    assert not target.exists()


def test_a_file_cannot_change_the_reader(tmp_path):
    path = tmp_path / "network.pkl"
    layer = Name("torch.nn.modules.linear", "Linear")
    path.write_bytes(foreign.dumps([Call(Name("torch", "Size"), ((1,),)), New(layer, {"answer": 42})]))
    attack = Call(Name("torch.storage", "_load_from_bytes"), (b"",))
    attacks = [
        # A state for a function, and one for a class, which plain unpickling would set as attributes.
        Name("torch._utils", "_rebuild_tensor_v2"),
        layer,
    ]
    for victim in attacks:
        state = foreign.dumps((None, {"class_name": "changed", "_call": attack.args}))
        body = foreign.dumps(victim)[:-1] + state[2:-1]
        (tmp_path / "attack.pkl").write_bytes(body + pickle.BUILD + pickle.STOP)
        with contextlib.suppress(ValueError):
            pickles.read(tmp_path / "attack.pkl")
    size, record = pickles.read(path)
    assert size == (1,) and record.class_name == "Linear" and record.get("answer") == 42


@pytest.mark.parametrize(
    "changes",
    [
        {"size": (3,)},
        {"size": (2, 2)},
        {"size": (10**12,)},
        {"offset": 1},
        {"offset": -1},
        {"stride": (2,)},
        {"stride": (-1,)},
    ],
)
def test_refuses_tensors_that_leave_their_storage(tmp_path, changes):
    path = tmp_path / "network.pkl"
    path.write_bytes(foreign.dumps(foreign.tensor(np.ones(2, np.float32), **changes)))

    with pytest.raises(ValueError, match=r"a tensor (of size|with offset)"):
        pickles.read(path)


def test_refuses_storages_that_end_early_or_claim_too_much(tmp_path):
    array, path = np.ones(4, np.float32), tmp_path / "network.pkl"
    short = foreign.storage_bytes(array)[:-3]
    huge = foreign.legacy(foreign.stored(array, length=2**50), {"0": array})
    other = foreign.legacy(foreign.stored(array, length=3), {"0": array})
    for data in (short, huge, other, foreign.zipped(foreign.stored(array), {"0": array[1:]})):
        path.write_bytes(foreign.dumps(foreign.tensor(array, data)))
        with pytest.raises(ValueError, match="truncated"):
            pickles.read(path)


def test_refuses_truncated_files_wherever_they_end(tmp_path):
    path = tmp_path / "network.pkl"
    for name in ("torch_pickle.pkl", "torch_legacy.pt"):
        whole = (DATA / name).read_bytes()
        for length in [*range(0, len(whole), 97), len(whole) - 1]:
            path.write_bytes(whole[:length])
            with pytest.raises(ValueError, match=r"truncated or not a pickle|is not that of PyTorch|is no network"):
                pickles.read(path)


def test_refuses_files_that_are_no_pickles(tmp_path):
    files = {"text": b"not a pickle", "empty": b"", "picture": b"\x89PNG\r\n\x1a\n" + bytes(40)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"truncated or not a pickle|is no network pickle but"):
            pickles.read(tmp_path / name)
    with pytest.raises(ValueError, match="is not a file"):
        pickles.read(tmp_path / "absent.pkl")


@pytest.mark.parametrize(
    "content, words",
    {
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n": "a pointer of Git LFS",
        b"<!DOCTYPE html><html>sign in</html>": "a page of the web",
        gzip.compress(b"x", mtime=0): "compressed by gzip",
        lzma.compress(b"x"): "compressed by xz",
        b"": "empty",
        (40).to_bytes(8, "little") + b'{"w":{"dtype":"F32","shape":[0]}}' + b" " * 7: "a safetensors file",
    }.items(),
)
def test_other_files_are_told_what_they_are(tmp_path, content, words):
    path = tmp_path / "network.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is no network pickle but {words}"):
        pickles.read(path)


def test_other_zip_files_are_told_what_they_are(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, a=np.zeros(2))
    with pytest.raises(ValueError, match="a zip file of NumPy"):
        pickles.read(path)
    with pytest.raises(ValueError, match="is a folder"):
        pickles.read(tmp_path)


_ARRAY = np.arange(4, dtype=np.float32)
_LONG_VIEW = foreign.tensor(_ARRAY[:1], size=(1,), stride=(0,))
_DTYPE = Call(Name("numpy", "dtype"), ("f4",), (3, "<"))


def _storage(state):
    return Call(Name("torch.storage", "_load_from_bytes"), (foreign.storage_bytes(_ARRAY),), state)


@pytest.mark.parametrize(
    "changed",
    [
        _storage({"data": _LONG_VIEW}),
        _storage((None, {"data": _LONG_VIEW})),
        _storage({"dtype": Name("torch", "float16")}),
        Call(Name("numpy", "dtype"), ("f4",), (3, "<8", None)),
        Call(Name("numpy", "dtype"), ("f4",), (3, 4)),
        Call(Name("numpy", "dtype"), ("f16",)),
        Call(Name("numpy", "dtype"), ("O",)),
        # The bytes that a second state would free may be another array's.
        Call(Name("numpy._core.multiarray", "scalar"), (_DTYPE, _LONG_VIEW)),
        Call(Name("numpy._core.numeric", "_frombuffer"), (_LONG_VIEW, _DTYPE, (1,), "C")),
    ],
)
def test_what_the_file_is_given_cannot_be_changed(tmp_path, changed):
    """Else a storage could be made to claim memory of the process, which a tensor would then show."""
    path = tmp_path / "network.pkl"
    tensor = Call(Name("torch._utils", "_rebuild_tensor_v2"), (changed, 0, (996,), (1,), False, None))
    path.write_bytes(foreign.dumps(tensor))
    with pytest.raises(ValueError, match="nothing in it was executed: (a change|a numpy|the byte order)"):
        pickles.read(path)


def test_an_array_is_given_its_content_once(tmp_path):
    path = tmp_path / "network.pkl"
    state = (1, (2,), _DTYPE, False, b"12345678")
    array = Call(Name("numpy._core.multiarray", "_reconstruct"), (Name("numpy", "ndarray"), (0,), b"b"), state)
    path.write_bytes(foreign.dumps(array))
    assert pickles.read(path).tobytes() == b"12345678"
    path.write_bytes(foreign.dumps(array)[:-1] + foreign.dumps(state)[2:-1] + pickle.BUILD + pickle.STOP)
    with pytest.raises(ValueError, match="a change of a numpy array"):
        pickles.read(path)


def test_every_storage_has_its_bytes(tmp_path):
    path = tmp_path / "network.pt"
    two = [
        Call(Name("torch._utils", "_rebuild_tensor_v2"), (foreign.stored(_ARRAY, key), 0, (4,), (1,), False, None))
        for key in "01"
    ]
    path.write_bytes(foreign.legacy(two, {"0": _ARRAY}))
    with pytest.raises(ValueError, match=r"the keys of its storages are \['0'\]"):
        pickles.read(path)


def test_an_ordered_dictionary_keeps_no_attributes(tmp_path):
    path = tmp_path / "network.pkl"
    ordered = Call(Name("collections", "OrderedDict"), (), {"items": Name("torch", "Size"), "_metadata": 1})
    path.write_bytes(foreign.dumps(ordered))
    assert pickles.read(path).items() == {}.items()


def test_paths_and_parameters_with_a_state(tmp_path):
    path = tmp_path / "network.pkl"
    parameter = Call(
        Name("torch._utils", "_rebuild_parameter_with_state"), (foreign.tensor(_ARRAY), True, None, {"x": 1})
    )
    names = [Call(Name("pathlib", name), ("data", "ffhq.zip")) for name in ("PosixPath", "WindowsPath", "PurePath")]
    path.write_bytes(foreign.dumps([parameter, *names, Call(Name("torch", "device"), ("cuda", 0))]))
    array, *others = pickles.read(path)
    np.testing.assert_array_equal(array, _ARRAY)
    assert others == ["data/ffhq.zip"] * 3 + ["cuda:0"]
