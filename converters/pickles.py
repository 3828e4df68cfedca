"""Network pickles read as data: nothing that the file contains or asks for is executed.

A pickle is a small program whose only doors to the outside are the names that it asks for. Here each name on
an allowlist gets a stand-in of ours, which builds plain data, and every other name is refused. Nothing is
imported on the file's behalf, and the source code that EG3D's persistent classes carry along (`module_src`)
is never looked at:

    networks, layers, torch.nn modules      Record: the class's name and its attributes
    torch tensors and parameters            numpy arrays, views of the file's bytes
    torch storages (bytes inside the file)  read by `tensors.load_storage`, under an allowlist narrower still
    EasyDict, OrderedDict, numpy scalars    dict, OrderedDict, numpy scalars
"""

import collections
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from . import tensors
from .tensors import Inert, Refused

_PARAMETERS, _BUFFERS, _MODULES = "_parameters", "_buffers", "_modules"


class Record:
    """What a pickled object becomes: the name of its class, and its attributes; nothing that runs."""

    class_name = "object"

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "Record":
        record = super().__new__(cls)
        record.attributes = {}
        return record

    def __init__(self, class_name: str | None = None, attributes: Mapping | None = None) -> None:
        if class_name is not None:
            self.class_name = class_name
        self.attributes.update(attributes or {})

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise Refused(f"the state of a {self.class_name} is a {type(state).__name__}, expected a dict")
        self.attributes.update(state)

    def __repr__(self) -> str:
        return f"Record({self.class_name})"

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute `name`, or `default` where the object has none."""
        return self.attributes.get(name, default)

    def child(self, path: str) -> "Record | None":
        """The submodule at a dotted path such as "backbone.mapping", or None where there is none."""
        record = self
        for name in path.split("."):
            modules = record.get(_MODULES) if isinstance(record, Record) else None
            record = modules.get(name) if isinstance(modules, dict) else None
        return record if isinstance(record, Record) else None

    def walk(self, path: str = "", above: tuple = ()) -> Iterator[tuple[str, "Record"]]:
        """Yields (dotted path, record) of this module and all below it, as PyTorch's `named_modules` does."""
        if any(record is self for record in above):
            raise ValueError(f"the module {path} contains itself: the file is damaged or was tampered with")
        yield path, self
        for name, module in (self.get(_MODULES) or {}).items():
            if isinstance(module, Record):
                yield from module.walk(f"{path}.{name}" if path else str(name), (*above, self))

    def state_dict(self) -> dict[str, np.ndarray]:
        """All parameters and persistent buffers by dotted name, as PyTorch's `state_dict` does."""
        arrays = {}
        for path, record in self.walk():
            passing = record.get("_non_persistent_buffers_set") or ()
            for group in (_PARAMETERS, _BUFFERS):
                for name, value in (record.get(group) or {}).items():
                    if value is None or (group == _BUFFERS and name in passing):
                        continue
                    full = f"{path}.{name}" if path else str(name)
                    if not isinstance(value, np.ndarray):
                        raise ValueError(f"{full} is a {type(value).__name__}, expected a tensor")
                    arrays[full] = value
        return arrays


def read(path: str | os.PathLike) -> Any:
    """The content of a pickle or a file of `torch.save` as plain data and `Record`s; nothing is executed.

    Raises ValueError if the file is absent, is truncated or otherwise no pickle, or asks for a name that is
    not on the allowlist; the message has the name.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is not a file: give the path of a network pickle")
    try:
        with open(path, "rb") as file:
            if tensors.is_zip(file.read(4)):
                return tensors.load_zip(file, _Unpickler)
            file.seek(0)
            first = _Unpickler(file).load()
            if tensors.is_legacy(first):
                file.seek(0)
                return tensors.load_legacy(file, path.stat().st_size, _Unpickler)
            return first
    except Refused as error:
        raise ValueError(f"{path} was not read, and nothing in it was executed: {error}") from None
    except Exception as error:  # a damaged pickle can end in almost any exception
        raise ValueError(
            f"{path} is truncated or not a pickle ({type(error).__name__}: {error}): compare its size"
            " with the original's and copy it again"
        ) from error


class _Unpickler(tensors.StorageUnpickler):
    """Gives stand-ins for what network pickles need: classes of objects, tensors, a few plain containers."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _FUNCTIONS:
            return Inert(f"{module}.{name}", _FUNCTIONS[module, name])
        if (module, name) in _CLASSES:
            return _CLASSES[module, name]
        if (module, name) in _MODULE_CLASSES or (module.startswith("torch.nn.modules.") and name.isidentifier()):
            return type(name, (Record,), {"class_name": name})  # fresh, so that the file cannot change ours
        if module == "torch" and name in _TORCH_DTYPES:
            return f"torch.{name}"
        return super().find_class(module, name)


def _persistent_object(meta) -> Record:
    """Stands in for EG3D's `_reconstruct_persistent_obj`, which would execute `meta["module_src"]`."""
    if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
        raise Refused("a persistent object has no class_name: the file is damaged")
    if not isinstance(meta.get("state"), dict):
        raise Refused(f"the persistent object {meta['class_name']} has no state: the file is damaged")
    return Record(meta["class_name"], meta["state"])


def _encode(text, encoding="utf-8"):
    """Stands in for `_codecs.encode`, by which old pickle protocols write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise Refused(f"_codecs.encode with the encoding {encoding!r}: only the latin1 of pickled bytes is read")
    return text.encode("latin1")


class _Dtype:
    """A numpy dtype of numbers or booleans, built from its code and, afterwards, its byte order."""

    def __init__(self, code, *_flags):
        self.code, self.order = str(code).lstrip("<>=|"), "="
        if self.code[:1] not in "biuf" or not self.code[1:].isdigit():
            raise Refused(f"a numpy dtype {code!r}: only numbers and booleans are read")

    def __setstate__(self, state):
        self.order = state[1].replace("|", "=")

    def numpy(self) -> np.dtype:
        return np.dtype(self.order + self.code)


class _Array(np.ndarray):
    """A numpy array whose content comes afterwards, by `__setstate__`."""

    def __setstate__(self, state):
        _version, shape, dtype, fortran, data = state
        array = np.frombuffer(data, dtype.numpy()).reshape(shape, order="F" if fortran else "C")
        super().__setstate__((1, array.shape, array.dtype, fortran, array.tobytes(order="A")))


def _numpy_scalar(dtype: _Dtype, data: bytes):
    return np.frombuffer(data, dtype.numpy(), count=1)[0]


def _numpy_reconstruct(_subtype, _shape, _code):
    return _Array((0,))


def _numpy_buffer(data, dtype: _Dtype, shape, order, axes=None):
    if axes is not None:
        raise Refused("a numpy array with permuted axes: only plain and Fortran order are read")
    return np.frombuffer(data, dtype.numpy()).reshape(shape, order=order)


def _no_call(*_args):
    raise Refused("a call of numpy.ndarray: the file is damaged or was tampered with")


_FUNCTIONS: dict[tuple[str, str], Callable] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
    ("torch._utils", "_rebuild_tensor"): tensors.rebuild,
    ("torch._utils", "_rebuild_tensor_v2"): tensors.rebuild,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch.storage", "_load_from_bytes"): tensors.load_storage,
    ("torch", "Size"): tuple,
    ("torch", "device"): lambda *parts: ":".join(map(str, parts)),
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _no_call,
}
for _core in ("numpy.core", "numpy._core"):  # its name before and since numpy 2
    _FUNCTIONS[f"{_core}.multiarray", "scalar"] = _numpy_scalar
    _FUNCTIONS[f"{_core}.multiarray", "_reconstruct"] = _numpy_reconstruct
    _FUNCTIONS[f"{_core}.numeric", "_frombuffer"] = _numpy_buffer

# Built-in types cannot be changed by a pickle, so they are given as they are.
_CLASSES = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("dnnlib.util", "EasyDict"): dict,
    ("dnnlib", "EasyDict"): dict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,
    ("__builtin__", "frozenset"): frozenset,
}

# The classes of EG3D that are pickled by name, without the persistence machinery.
_MODULE_CLASSES = {
    ("training.triplane", "OSGDecoder"),
    ("training.volumetric_rendering.renderer", "ImportanceRenderer"),
    ("training.volumetric_rendering.ray_marcher", "MipRayMarcher2"),
    ("training.volumetric_rendering.ray_sampler", "RaySampler"),
}

_TORCH_DTYPES = {
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "bool",
}
