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
import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from . import signatures, tensors
from .budget import Budget
from .records import Record
from .refusals import Refused, shown
from .tensors import Inert, Sealed

_DAMAGED = "the file is damaged or was tampered with"
_CLASSES_AT_MOST = 1000  # each takes a kilobyte; EG3D has some 20


def read(path: str | os.PathLike, *, unpickler: "type[Unpickler] | None" = None, what: str = "network pickle") -> Any:
    """The content of a pickle or a file of `torch.save` as plain data and `Record`s; nothing is executed.

    unpickler: gives stand-ins for further names; what: what the file should be, in messages.

    Raises ValueError, always naming the file, if it is absent, of another kind (the message says which), truncated or
    otherwise no pickle, would cost more than its size explains (see `budget`), or asks for a name that is not on the
    allowlist; the message has the name.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a file: give the path of a {what}")
    if not path.is_file():
        raise ValueError(f"{path} is not a file: give the path of a {what}")
    try:
        with open(path, "rb") as file:
            start = file.read(signatures.START)
            kind = signatures.kind(start)
            file.seek(0)
            if kind is None:
                return _content(file, start, Budget(os.fstat(file.fileno()).st_size), unpickler or Unpickler)
    except Refused as error:
        raise ValueError(f"{path} was not read, and nothing in it was executed: {error}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged pickle can end in almost any exception
        told = error.args[0][:200] if error.args and isinstance(error.args[0], str) else "no more is known"
        raise ValueError(
            f"{path} is truncated or not a pickle ({type(error).__name__}: {told}): compare its size"
            " with the original's and copy it again"
        ) from error
    raise ValueError(f"{path} is no {what} but {kind}")


def _content(file: BinaryIO, start: bytes, budget: Budget, unpickler: "type[Unpickler]") -> Any:
    if tensors.is_zip(start):
        return tensors.load_zip(file, budget, unpickler)
    first = unpickler(file, budget).load()
    if not tensors.is_legacy(first):
        return first
    file.seek(0)
    return tensors.load_legacy(file, budget, unpickler)


class Unpickler(tensors.StorageUnpickler):
    """Gives stand-ins for what network pickles need: classes of objects, tensors, a few plain containers."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._modules: dict[str, type] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _FUNCTIONS:
            return Inert(f"{module}.{name}", _FUNCTIONS[module, name])
        if (module, name) in _COUNTED:
            return Inert(f"{module}.{name}", functools.partial(_COUNTED[module, name], self.budget))
        if (module, name) in _CLASSES:
            return _CLASSES[module, name]
        if (module, name) in _MODULE_CLASSES or (module.startswith("torch.nn.modules.") and name.isidentifier()):
            return self.module(name)
        if module == "torch" and name in _TORCH_DTYPES:
            return f"torch.{name}"
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        match pid:  # legacy files of whole networks have the source of every class beside it
            case ("module", type() as module, str() | None, str() | None) if issubclass(module, Record):
                return module
        return super().persistent_load(pid)

    def module(self, name: str) -> type:
        """The records' class for modules of the class `name`."""
        if name not in self._modules:
            if len(self._modules) == _CLASSES_AT_MOST or len(name) > 100:
                raise Refused(f"more than {_CLASSES_AT_MOST} classes, or the class {name:.100}; {_DAMAGED}")
            self._modules[name] = type("Module", (_Module,), {"class_name": name})
        return self._modules[name]


class _Module(Record):
    """The record of a module that is pickled by its class's name: made empty, its attributes come afterwards."""

    def __init__(self, *args: Any) -> None:
        if args:
            raise Refused(f"a call of the class {self.class_name}; {_DAMAGED}")
        super().__init__()


class _OrderedDict(collections.OrderedDict):
    """An ordered dictionary that keeps no attributes, such as the versions that PyTorch's state dicts have."""

    def __setstate__(self, _state: Any) -> None:
        pass


def _persistent_object(meta) -> Record:
    """Stands in for EG3D's `_reconstruct_persistent_obj`, which would execute `meta["module_src"]`."""
    name = meta.get("class_name") if isinstance(meta, dict) else None
    if not isinstance(name, str) or len(name) > 100:
        raise Refused(f"a persistent object has the class_name {shown(name)}; {_DAMAGED}")
    if not isinstance(meta.get("state"), dict):
        raise Refused(f"the persistent object {name} has no state; {_DAMAGED}")
    return Record(name, meta["state"])


def _encode(text, encoding="utf-8"):
    """Stands in for `_codecs.encode`, by which old pickle protocols write bytes."""
    if not isinstance(text, str) or not isinstance(encoding, str) or encoding != "latin1":
        raise Refused(f"_codecs.encode with the encoding {shown(encoding)}: only the latin1 of pickled bytes is read")
    return text.encode("latin1")


def _path(*parts):
    """Stands in for the classes of pathlib: a path is its text."""
    if not all(isinstance(part, str) for part in parts):
        raise Refused(f"a path of {shown(parts)}, expected texts; {_DAMAGED}")
    return str(pathlib.PurePosixPath(*parts))


def _device(kind, index=None):
    if not isinstance(kind, str) or len(kind) > 100 or not isinstance(index, int | None):
        raise Refused(f"a torch.device of {shown((kind, index))}; {_DAMAGED}")
    return kind if index is None else f"{kind}:{index}"


def _size(sizes=()):
    if not isinstance(sizes, list | tuple):
        raise Refused(f"a torch.Size of {shown(sizes)}; {_DAMAGED}")
    return tuple(sizes)


class _Dtype(Sealed):
    """A numpy dtype of numbers or booleans, built from its code and, once, its byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code, *_flags):
        self.code, self.order = code.lstrip("<>=|") if isinstance(code, str) else "", None
        if self.code not in _NUMBERS:
            raise Refused(f"a numpy dtype {shown(code)}: only numbers and booleans are read")

    def __setstate__(self, state):
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if self.order is not None or not isinstance(order, str) or order not in ("<", ">", "=", "|"):
            raise Refused(f"the byte order {shown(order)} of a numpy dtype, expected one of < > = |; {_DAMAGED}")
        self.order = order.replace("|", "=")

    def numpy(self) -> np.dtype:
        """The dtype itself."""
        return np.dtype((self.order or "=") + self.code)


class _Array(np.ndarray):
    """A numpy array whose content comes afterwards, and once, by `__setstate__`."""

    _given = False

    def __setstate__(self, state):
        if self._given or not isinstance(state, tuple) or len(state) != 5:
            raise Refused(f"a change of a numpy array; {_DAMAGED}")
        _version, shape, dtype, fortran, data = state
        array = _numpy_buffer(data, dtype, shape, "F" if fortran is True else "C")
        super().__setstate__((1, array.shape, array.dtype, fortran is True, array.tobytes("A")))
        self._given = True


def _numpy_bytes(dtype, data) -> np.ndarray:
    """The flat array of these bytes; bytes alone are taken, since an array's could be changed below it."""
    data = _encode(data, "latin1") if isinstance(data, str) else data  # Python 2's bytes are texts
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray):
        raise Refused(f"a numpy array of {shown(dtype)} and {shown(data)}, expected a dtype and bytes; {_DAMAGED}")
    return np.frombuffer(bytes(data), dtype.numpy())


def _numpy_scalar(dtype, data):
    return _numpy_bytes(dtype, data).reshape(())[()]


def _numpy_reconstruct(_subtype, _shape, _code):
    return _Array((0,))


def _numpy_buffer(data, dtype, shape, order, axes=None):
    if axes is not None or order not in ("C", "F"):
        raise Refused("a numpy array with permuted axes: only plain and Fortran order are read")
    if not isinstance(shape, tuple) or not all(type(number) is int and number >= 0 for number in shape):
        raise Refused(f"a numpy array of the shape {shown(shape)}; {_DAMAGED}")
    return _numpy_bytes(dtype, data).reshape(shape, order=order)


def _no_call(*_args):
    raise Refused(f"a call of numpy.ndarray; {_DAMAGED}")


_NUMBERS = {"b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8"}

_FUNCTIONS: dict[tuple[str, str], Callable] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *_: data,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _no_call,
}
for _core in ("numpy.core", "numpy._core"):  # its name before and since numpy 2
    _FUNCTIONS[f"{_core}.multiarray", "scalar"] = _numpy_scalar
    _FUNCTIONS[f"{_core}.multiarray", "_reconstruct"] = _numpy_reconstruct
    _FUNCTIONS[f"{_core}.numeric", "_frombuffer"] = _numpy_buffer
for _name in ("PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"):
    _FUNCTIONS["pathlib", _name] = _FUNCTIONS["pathlib._local", _name] = _path  # the latter since Python 3.13

# These are given the file's budget first.
_COUNTED: dict[tuple[str, str], Callable] = {
    ("torch._utils", "_rebuild_tensor"): tensors.rebuild,
    ("torch._utils", "_rebuild_tensor_v2"): tensors.rebuild,
    ("torch.storage", "_load_from_bytes"): tensors.load_storage,
}

# Built-in types cannot be changed by a pickle, so they are given as they are.
_CLASSES = {
    ("collections", "OrderedDict"): _OrderedDict,
    ("dnnlib.util", "EasyDict"): dict,
    ("dnnlib", "EasyDict"): dict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,
    ("__builtin__", "frozenset"): frozenset,
}

# The classes of EG3D that may be pickled by name, without the persistence machinery.
_SUPERRESOLUTIONS = ("8XDC", "8X", "4X", "2X", "Deepfp32")
_STYLEGAN = "Generator MappingNetwork SynthesisNetwork SynthesisBlock SynthesisLayer ToRGBLayer FullyConnectedLayer"
_MODULE_CLASSES = {
    ("training.triplane", "TriPlaneGenerator"),
    ("training.triplane", "OSGDecoder"),
    ("training.volumetric_rendering.renderer", "ImportanceRenderer"),
    ("training.volumetric_rendering.ray_marcher", "MipRayMarcher2"),
    ("training.volumetric_rendering.ray_sampler", "RaySampler"),
    ("training.superresolution", "SynthesisBlockNoUp"),
    ("training.superresolution", "SuperresolutionHybrid16X"),
    # What GNARF adds, and the body model inside of it.
    ("warping_utils.smpl_helper", "SMPLSimplified"),
    ("warping_utils.surface_field", "SurfaceField"),
    ("smplx.body_models", "SMPL"),
    ("smplx.vertex_joint_selector", "VertexJointSelector"),
    *(("training.superresolution", f"SuperresolutionHybrid{name}") for name in _SUPERRESOLUTIONS),
    *(("training.networks_stylegan2", name) for name in _STYLEGAN.split()),
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
