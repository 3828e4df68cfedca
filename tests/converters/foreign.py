"""Pickles such as PyTorch and EG3D write, made without either: what the reader is tested with.

`Name` stands for a global that the pickle asks for, `Call` for a call of one, `New` for an object of one.
Anything can be named, since nothing is looked up: also what must be refused.
"""

import dataclasses
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from converters.pickles import Record

_STORAGES = {
    **{"float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage"},
    **{"int64": "LongStorage", "bool": "BoolStorage"},
}
# Classes that EG3D pickles by name; all others go through its persistence.
_BY_NAME = {
    "OSGDecoder": "training.triplane",
    "ImportanceRenderer": "training.volumetric_rendering.renderer",
    "MipRayMarcher2": "training.volumetric_rendering.ray_marcher",
    "Sequential": "torch.nn.modules.container",
    "Softplus": "torch.nn.modules.activation",
}
# All of them, as `torch.save` writes them where the code had its persistence taken out.
CLASSES = _BY_NAME | {
    "TriPlaneGenerator": "training.triplane",
    "SuperresolutionHybrid2X": "training.superresolution",
    **dict.fromkeys(("Generator", "MappingNetwork", "SynthesisNetwork"), "training.networks_stylegan2"),
    **dict.fromkeys(("SynthesisBlock", "SynthesisLayer", "ToRGBLayer"), "training.networks_stylegan2"),
    "FullyConnectedLayer": "training.networks_stylegan2",
}


@dataclasses.dataclass(frozen=True)
class Name:
    """A global that the pickle asks for."""

    module: str
    name: str

    def __call__(self, *args):
        raise AssertionError("a name in a pickle is never called while writing it")


@dataclasses.dataclass(frozen=True)
class Call:
    """A call of a global, and optionally a state that the result is then given."""

    function: Name
    args: tuple
    state: Any = None


@dataclasses.dataclass(frozen=True)
class New:
    """An object of a class that is asked for by name, made without calling it, and its state."""

    cls: Name
    state: Any


@dataclasses.dataclass(frozen=True)
class Stored:
    """A storage as PyTorch's own formats name it."""

    pid: tuple


class _Writer(pickle._Pickler):
    """Python's own pickler, except that the stand-ins above are written as what they stand for."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Name):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save_reduce(obj.function, obj.args, obj.state)
        elif isinstance(obj, New):
            self.save(obj.cls)
            self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
            self.save(obj.state)
            self.write(pickle.BUILD)
        else:
            super().save(obj, save_persistent_id)

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Stored) else None


def dumps(content, protocol: int = 4) -> bytes:
    """The pickle of `content`, which may hold stand-ins."""
    file = io.BytesIO()
    _Writer(file, protocol).dump(content)
    return file.getvalue()


def legacy(content, storages: dict[str, np.ndarray] | None = None, *, magic=0x1950A86A20F9469CFC6C) -> bytes:
    """A file of PyTorch's legacy format."""
    storages = storages or {}
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [dumps(part, 2) for part in (magic, 1001, machine, content, sorted(storages))]
    for key in sorted(storages):
        parts += [len(storages[key]).to_bytes(8, "little"), storages[key].tobytes()]
    return b"".join(parts)


def zipped(content, storages: dict[str, np.ndarray] | None = None) -> bytes:
    """A file of PyTorch's zip format."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", dumps(content, 2))
        archive.writestr("archive/byteorder", "little")
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data.tobytes())
    return file.getvalue()


def stored(array: np.ndarray, key: str = "0", length: int | None = None) -> Stored:
    """The reference to an array's storage."""
    kind = Name("torch", _STORAGES[array.dtype.name])
    return Stored(("storage", kind, key, "cpu", array.size if length is None else length, None))


def storage_bytes(array: np.ndarray) -> bytes:
    """What `torch.storage._load_from_bytes` gets for the storage of an array."""
    return legacy(stored(array), {"0": array.ravel()})


def tensor(array: np.ndarray, data: bytes | None = None, **changes) -> Call:
    """A tensor as plain pickles have it, its storage inside as bytes (`data`, where given)."""
    array = np.array(array, order="C")
    data = storage_bytes(array) if data is None else data
    storage = Call(Name("torch.storage", "_load_from_bytes"), (data,))
    strides = tuple(step // array.itemsize for step in array.strides)
    args = {"storage": storage, "offset": 0, "size": array.shape, "stride": strides} | changes
    hooks = Call(Name("collections", "OrderedDict"), ())
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), (*args.values(), False, hooks))


def network(record: Record, module_src: str = "", *, by_name: dict[str, str] = _BY_NAME, tensor: Callable = tensor):
    """A record as EG3D pickles the object that it was read from.

    by_name: the modules of classes that do without EG3D's persistence; all classes' are in CLASSES.
    tensor: writes an array.
    """

    def written(value):
        if isinstance(value, Record):
            return network(value, module_src, by_name=by_name, tensor=tensor)
        if isinstance(value, dict):
            return {name: written(entry) for name, entry in value.items()}
        if type(value) in (list, tuple):
            return type(value)(written(entry) for entry in value)
        return tensor(value) if isinstance(value, np.ndarray) else value

    state = {name: written(value) for name, value in record.attributes.items()}
    if record.class_name in by_name:
        return New(Name(by_name[record.class_name], record.class_name), state)
    meta = {"type": "class", "version": 6, "module_src": module_src}
    meta |= {"class_name": record.class_name, "state": state}
    return Call(Name("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))


def saved(record: Record, *, by_name: dict[str, str] = _BY_NAME) -> bytes:
    """The file that `torch.save` of a whole network writes."""
    storages = {}

    def tensor(array):
        array = np.array(array, order="C")
        key = str(len(storages))
        storages[key] = array.ravel()
        strides = tuple(step // array.itemsize for step in array.strides)
        arguments = (stored(array, key), 0, array.shape, strides, False, None)
        made = Call(Name("torch._utils", "_rebuild_tensor_v2"), arguments)
        return Call(Name("torch._utils", "_rebuild_parameter_with_state"), (made, True, None, {}))

    return zipped(network(record, by_name=by_name, tensor=tensor), storages)


def save_state(path: Path, state: dict[str, np.ndarray]) -> Path:
    """A state dict as `torch.save` writes it; returns its path."""
    storages, content = {}, {}
    for number, (name, array) in enumerate(state.items()):
        array = np.ascontiguousarray(array)
        storages[str(number)] = array.ravel()
        strides = tuple(step // array.itemsize for step in array.strides)
        arguments = (stored(array, str(number)), 0, array.shape, strides, False, None)
        content[name] = Call(Name("torch._utils", "_rebuild_tensor_v2"), arguments)
    path.write_bytes(zipped(content, storages))
    return path
