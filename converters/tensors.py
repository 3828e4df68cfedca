"""PyTorch's storages and file formats, read without PyTorch and without executing anything.

    storage      a flat array of one type; a tensor is a view of it (offset, size, strides, all in elements)
    legacy file  pickles of a magic number, the protocol, the machine, the object, the storages' keys; then each
                 storage's length (int64) and bytes. Tensors inside plain pickles carry theirs in this format.
    zip file     data.pkl with the object, data/KEY with each storage's bytes (`torch.save` since PyTorch 1.6)

In both, the object's pickle names its storages by "persistent ids": ("storage", type, key, device, length, ...).
"""

import dataclasses
import io
import math
import pickle
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "UntypedStorage": np.uint8,
}


class Refused(ValueError):
    """The file asks for something that is not on the allowlist, or has a form that PyTorch never writes."""


class Inert:
    """A function of ours in the place of a name that the file asked for: it can be called, nothing else."""

    __slots__ = ("_call", "_name")

    def __init__(self, name: str, call: Callable) -> None:
        self._name, self._call = name, call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, _state: Any) -> None:
        raise Refused(f"a change of {self._name}: the file is damaged or was tampered with")


@dataclasses.dataclass(frozen=True)
class Storage:
    """A flat array (n,) that tensors are views of."""

    data: np.ndarray


@dataclasses.dataclass(frozen=True)
class _StorageType:
    """The element type of a storage, as named by the file."""

    dtype: np.dtype


class StorageUnpickler(pickle.Unpickler):
    """Gives storage types, refuses every other name; `storage(key, dtype, length)` finds a storage's data."""

    def __init__(self, file: BinaryIO, storage: Callable | None = None) -> None:
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _StorageType(np.dtype(_DTYPES[name]))
        raise Refused(
            f"it asks for {module}.{name}, which is not on the allowlist of what EG3D's network pickles need;"
            " if you trust the file, convert with the class's stand-in added in converters/pickles.py"
        )

    def persistent_load(self, pid: Any) -> Storage:
        if self._storage is None:
            raise Refused(f"it asks for the persistent object {pid!r}, which plain pickles do not have")
        match pid:
            case ("storage", _StorageType(dtype), str(key), _, int(length)):
                pass
            case ("storage", _StorageType(dtype), str(key), _, int(length), None):
                pass
            case _:
                raise Refused(f"it asks for the persistent object {pid!r}, expected a storage")
        return Storage(self._storage(key, dtype, length))


def rebuild(storage: Storage, offset: int, size: tuple, stride: tuple, *_unused: Any) -> np.ndarray:
    """The tensor that is the view of `storage` with this offset, size and strides (in elements).

    Raises Refused if the view leaves the storage.
    """
    if not isinstance(storage, Storage):
        raise Refused(f"a tensor of a {type(storage).__name__}, expected a storage")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise Refused(f"a tensor with offset {offset}, size {size} and strides {stride}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) and last >= len(storage.data):
        raise Refused(f"a tensor of size {tuple(size)} that leaves its storage of {len(storage.data)} elements")
    if not math.prod(size):
        return np.zeros(size, storage.data.dtype)
    itemsize = storage.data.itemsize
    return np.lib.stride_tricks.as_strided(
        storage.data[offset:], tuple(size), tuple(step * itemsize for step in stride), writeable=False
    )


def load_storage(data: bytes) -> Storage:
    """Stands in for `torch.storage._load_from_bytes`: reads a storage from the bytes `torch.save` wrote.

    Inside these bytes only storage types are allowed, so that a second pickle cannot reach what the first one
    cannot.

    Raises Refused if the bytes ask for anything else or hold no storage.
    """
    if not isinstance(data, bytes | bytearray):
        raise Refused(f"a storage read from a {type(data).__name__}, expected bytes")
    file = io.BytesIO(data)
    try:
        zipped = is_zip(data)
        storage = load_zip(file, StorageUnpickler) if zipped else load_legacy(file, len(data), StorageUnpickler)
    except Refused as error:
        raise Refused(f"inside the bytes of a storage, {error}") from None
    if not isinstance(storage, Storage):
        raise Refused(f"the bytes of a storage hold a {type(storage).__name__}, expected a storage")
    return storage


def is_zip(start: bytes) -> bool:
    """Whether a file is a zip file, by its first bytes; one embedded further on does not count."""
    return start.startswith(b"PK\x03\x04")


def is_legacy(first: Any) -> bool:
    """Whether the first object of a pickle is the magic number of PyTorch's legacy format."""
    return isinstance(first, int) and first == _MAGIC


def load_legacy(file: BinaryIO, limit: int, unpickler: type[StorageUnpickler]) -> Any:
    """The object in a legacy file of `limit` bytes, its pickles read by `unpickler`.

    Raises Refused for other versions and byte orders, EOFError if the file ends too early.
    """
    magic, protocol, machine = (unpickler(file).load() for _ in range(3))
    if not is_legacy(magic) or protocol != _PROTOCOL:
        raise Refused("its start is not that of PyTorch's format")
    if not (isinstance(machine, dict) and machine.get("little_endian", True)):
        raise Refused("it was written on a big-endian machine; save it again on a little-endian one")
    storages = {}

    def storage(key, dtype, length):
        if length < 0 or length * dtype.itemsize > limit:
            raise EOFError(f"a storage of {length} elements in a file of {limit} bytes")
        if key not in storages:
            storages[key] = np.zeros(length, dtype)
        if storages[key].dtype != dtype or len(storages[key]) != length:
            raise Refused(f"the storage {key} has two types or two lengths")
        return storages[key]

    content = unpickler(file, storage).load()
    for key in unpickler(file).load():
        if key not in storages:
            raise Refused(f"data for the storage {key!r}, which no tensor uses")
        data = storages[key]
        length = int.from_bytes(file.read(8), "little")
        if length != len(data) or file.readinto(data.view(np.uint8)) != data.nbytes:
            raise EOFError(f"{length} elements for the storage {key}, expected {len(data)}, or the file ends early")
    return content


def load_zip(file: BinaryIO, unpickler: type[StorageUnpickler]) -> Any:
    """The object in a zip file of `torch.save`, its pickle read by `unpickler`.

    Raises Refused if it is another kind of zip file or of the other byte order, EOFError if a storage is
    incomplete.
    """
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Refused("it is a zip file that torch.save did not write: it has no data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise Refused("it was written on a big-endian machine; save it again on a little-endian one")

        def storage(key, dtype, length):
            data = archive.read(f"{folder}data/{key}")
            if len(data) != length * dtype.itemsize:
                raise EOFError(f"{len(data)} bytes for the storage {key}, expected {length * dtype.itemsize}")
            return np.frombuffer(data, dtype)

        return unpickler(io.BytesIO(archive.read(pickles[0])), storage).load()
