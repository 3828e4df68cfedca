"""PyTorch's storages and file formats, read without PyTorch and without executing anything.

    storage      the bytes of one array; a tensor is a view of it (offset, size, strides, all in elements)
    legacy file  pickles of a magic number, the protocol, the machine, the object, the storages' keys; then each
                 storage's length (int64) and bytes. Tensors inside plain pickles carry theirs in this format.
    zip file     data.pkl with the object, data/KEY with each storage's bytes (`torch.save` since PyTorch 1.6)

In both, the object's pickle names its storages by "persistent ids": ("storage", type, key, device, length, ...). All
pickles and storages of a file share one `Budget`.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from .budget import MAGIC, Budget
from .refusals import Refused, shown

_PROTOCOL = 1001
_DIMENSIONS = 32

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


class Sealed:
    """What the file gets from us and cannot change: a pickle's BUILD would set attributes of whatever has any."""

    __slots__ = ()

    def __setstate__(self, _state: Any) -> None:
        raise Refused(f"a change of {self!r}: the file is damaged or was tampered with")


class Inert(Sealed):
    """A function of ours in the place of a name that the file asked for: it can be called, nothing else."""

    __slots__ = ("_call", "_name")

    def __init__(self, name: str, call: Callable) -> None:
        self._name, self._call = name, call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __repr__(self) -> str:
        return self._name


class Storage(Sealed):
    """Bytes that tensors of one dtype are views of."""

    __slots__ = ("data", "dtype")

    def __init__(self, data: bytes | bytearray, dtype: np.dtype) -> None:
        self.data, self.dtype = data, dtype

    def __len__(self) -> int:
        return len(self.data) // self.dtype.itemsize

    def __repr__(self) -> str:
        return "a storage"


class _StorageType(Sealed):
    """The element type of a storage, as named by the file."""

    __slots__ = ("dtype",)
    __match_args__ = ("dtype",)

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype

    def __repr__(self) -> str:
        return "a storage's type"


class StorageUnpickler(pickle.Unpickler):
    """Gives storage types, refuses every other name; `storage(key, dtype, size)` finds a storage's `size` bytes.

    Subclasses say what they read, in messages, and the encoding of Python 2's texts.
    """

    what, text_encoding = "EG3D's network pickles", "ASCII"

    def __init__(self, file: BinaryIO, budget: Budget, storage: Callable | None = None) -> None:
        super().__init__(file, encoding=self.text_encoding)
        self._file, self.budget, self._storage = file, budget, storage

    def load(self) -> Any:
        """The pickle's content, if the budget allows it."""
        self.budget.go_through(self._file)
        return super().load()

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _StorageType(np.dtype(_DTYPES[name]))
        raise Refused(
            f"it asks for {module:.80}.{name:.80}, which is not on the allowlist of what {self.what} need;"
            " if you trust the file, convert with the class's stand-in added in converters/pickles.py"
        )

    def persistent_load(self, pid: Any) -> Storage:
        if self._storage is None:
            raise Refused(f"it asks for the persistent object {shown(pid)}, which plain pickles do not have")
        match pid:
            case ("storage", _StorageType(dtype), str(key), _, int(length)):
                pass
            case ("storage", _StorageType(dtype), str(key), _, int(length), None):
                pass
            case _:
                raise Refused(f"it asks for the persistent object {shown(pid)}, expected a storage")
        return Storage(self._storage(key, dtype, length * dtype.itemsize), dtype)


def rebuild(budget: Budget, storage: Storage, offset: int, size: tuple, stride: tuple, *_unused: Any) -> np.ndarray:
    """The tensor that is the view of `storage` with this offset, size and strides (in elements).

    NumPy checks the view against the storage's bytes once more.

    Raises Refused if the view leaves the storage, or has more elements than it.
    """
    if not isinstance(storage, Storage):
        raise Refused(f"a tensor of {shown(storage)}, expected a storage")
    places = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= _DIMENSIONS
    if not places or not all(type(number) is int and number >= 0 for number in (offset, *size, *stride)):
        raise Refused(f"a tensor with offset {shown(offset)}, size {shown(size)} and strides {shown(stride)}")
    count, last = math.prod(size), offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count > len(storage) or (count and last >= len(storage)):
        raise Refused(f"a tensor of size {shown(size)} that leaves its storage of {len(storage)} elements")
    budget.view(count)
    if not count:
        return np.zeros(size, storage.dtype)
    itemsize = storage.dtype.itemsize
    strides = tuple(step * itemsize for step in stride)
    tensor = np.ndarray(size, storage.dtype, storage.data, offset * itemsize, strides)
    tensor.flags.writeable = False
    return tensor


def load_storage(budget: Budget, data: bytes) -> Storage:
    """Stands in for `torch.storage._load_from_bytes`: reads a storage from the bytes `torch.save` wrote.

    Inside these bytes only storage types are allowed, so that a second pickle cannot reach what the first one
    cannot.

    Raises Refused if the bytes ask for anything else or hold no storage.
    """
    if not isinstance(data, bytes | bytearray):
        raise Refused(f"a storage read from {shown(data)}, expected bytes")
    file = io.BytesIO(data)
    try:
        storage = (load_zip if is_zip(data) else load_legacy)(file, budget, StorageUnpickler)
    except Refused as error:
        raise Refused(f"inside the bytes of a storage, {error}") from None
    if not isinstance(storage, Storage):
        raise Refused(f"the bytes of a storage hold {shown(storage)}, expected a storage")
    return storage


def is_zip(start: bytes) -> bool:
    """Whether a file is a zip file, by its first bytes; one embedded further on does not count."""
    return start.startswith(b"PK\x03\x04")


def is_legacy(first: Any) -> bool:
    """Whether the first object of a pickle is the magic number of PyTorch's legacy format."""
    return isinstance(first, int) and first == MAGIC


def load_legacy(file: BinaryIO, budget: Budget, unpickler: type[StorageUnpickler]) -> Any:
    """The object in a legacy file, its pickles read by `unpickler`.

    Raises Refused for other versions and byte orders, EOFError if the file ends too early.
    """
    magic, protocol, machine = (unpickler(file, budget).load() for _ in range(3))
    if not is_legacy(magic) or type(protocol) is not int or protocol != _PROTOCOL:
        raise Refused("its start is not that of PyTorch's format")
    if not isinstance(machine, dict) or machine.get("little_endian", True) is not True:
        raise Refused("it was written on a big-endian machine; save it again on a little-endian one")
    storages: dict[str, tuple[bytearray, np.dtype]] = {}

    def storage(key: str, dtype: np.dtype, size: int) -> bytearray:
        if key not in storages:
            budget.store(size)
            storages[key] = bytearray(size), dtype
        data, known = storages[key]
        if known != dtype or len(data) != size:
            raise Refused(f"the storage {shown(key)} has two types or two lengths")
        return data

    content = unpickler(file, budget, storage).load()
    keys = unpickler(file, budget).load()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or set(keys) != set(storages):
        raise Refused(f"the keys of its storages are {shown(keys)}, expected those that its tensors use")
    for key in keys:
        data, dtype = storages[key]
        length = int.from_bytes(file.read(8), "little")
        if length * dtype.itemsize != len(data) or file.readinto(data) != len(data):  # type: ignore[attr-defined]
            raise EOFError(f"{length} elements for the storage {shown(key)} of {len(data)} bytes, or it ends early")
    return content


def load_zip(file: BinaryIO, budget: Budget, unpickler: type[StorageUnpickler]) -> Any:
    """The object in a zip file of `torch.save`, its pickle read by `unpickler`.

    Raises Refused if it is another kind of zip file, compressed or of the other byte order, EOFError if a storage is
    incomplete.
    """
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name.endswith("/data.pkl")]
        if len(pickles) != 1 or any(name.endswith("/constants.pkl") for name in entries):
            kind = "NumPy (.npz)" if any(name.endswith(".npy") for name in entries) else "another program"
            raise Refused(f"it is a zip file of {kind if not pickles else 'TorchScript'}, expected one of torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in entries and _entry(archive, f"{folder}byteorder", budget) != b"little":
            raise Refused("it was written on a big-endian machine; save it again on a little-endian one")
        storages: dict[str, bytes] = {}

        def storage(key: str, dtype: np.dtype, size: int) -> bytes:
            if key not in storages:
                storages[key] = _entry(archive, f"{folder}data/{key}", budget)
            if len(storages[key]) != size:
                raise EOFError(f"{len(storages[key])} bytes for the storage {shown(key)}, expected {size}")
            return storages[key]

        return unpickler(io.BytesIO(_entry(archive, pickles[0], budget)), budget, storage).load()


def _entry(archive: zipfile.ZipFile, name: str, budget: Budget) -> bytes:
    """The bytes of a file in an archive, which PyTorch stores as they are."""
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise EOFError(f"there is no {shown(name)}") from None
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise Refused(f"its part {shown(name)} is compressed, which PyTorch never does: save it again by torch.save")
    budget.store(entry.file_size)
    return archive.read(name)
