"""Arrays in .npy and .npz files that anyone may have made.

A .npy file is a header (type, order, shape) and the numbers; an .npz is a zip of them, stored or deflated. NumPy's own
reader believes what a header claims, and makes room for it. Here no memory is taken before the claims are compared with
the bytes that are there, and only numbers are read: no strings, records, objects, and so no pickles.
"""

import collections
import contextlib
import math
import os
import pathlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO

import numpy as np

# Bytes that all arrays of a compressed file may have: so many for a start, and so many for every byte of the file.
_ROOM, _RATIO = 16 << 20, 64
_HEADER = re.compile(
    r"\{\s*'descr':\s*'([<>|]?[iuf][1248])',\s*'fortran_order':\s*(True|False),\s*"
    r"'shape':\s*\(((?:\d{1,18},\s*)*(?:\d{1,18})?)\),?\s*\}\s*"
)
_HEADER_LIMIT = 4096  # bytes
_ENTRY_LIMIT = 4096  # arrays in a file


def load_arrays(path: str | os.PathLike, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Reads arrays of an .npz file by name: those of `names`, or all.

    Raises ValueError, always naming the file, and the array where one is at fault: missing, cut off or damaged, with a
    header that claims other bytes than there are, not of plain numbers, twice in the file, encrypted, compressed in
    other ways than by deflate, or larger than a file of that size should become.
    """
    with _named(path), open(_regular(path), "rb") as handle, zipfile.ZipFile(handle) as archive:
        entries = archive.infolist()
        if len(entries) > _ENTRY_LIMIT:
            raise ValueError(f"it has {len(entries)} entries, expected at most {_ENTRY_LIMIT}")
        found = [entry.filename.removesuffix(".npy") for entry in entries]
        wanted = found if names is None else list(names)
        absent = sorted(set(wanted) - set(found))
        twice = sorted(name for name, count in collections.Counter(found).items() if count > 1)
        if absent or twice:
            problem = f"lacks the arrays {absent}" if absent else f"has the arrays {twice} more than once"
            raise ValueError(f"it {problem:.500}; it has {found!s:.500}")
        chosen = {name: entries[found.index(name)] for name in wanted}
        size, total = os.fstat(handle.fileno()).st_size, sum(entry.file_size for entry in chosen.values())
        if total > max(size, _ROOM + _RATIO * size * any(entry.compress_type for entry in chosen.values())):
            raise ValueError(f"its arrays claim {total} bytes, which is too much for a file of {size} bytes")
        return {name: _entry(archive, entry, name) for name, entry in chosen.items()}


def map_array(path: str | os.PathLike) -> np.ndarray:
    """Maps the array of an .npy file of our own making, in a folder of its kind, into memory, read-only.

    Raises ValueError, naming the file: it is damaged.
    """
    try:
        return np.load(path, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error!s:.200}): delete its folder, and it is made anew") from error


def load_array(path: str | os.PathLike) -> np.ndarray:
    """Reads the array of an .npy file; raises ValueError as `load_arrays` does."""
    with _named(path), open(_regular(path), "rb") as handle:
        return _array(handle, os.fstat(handle.fileno()).st_size)


def require(
    found: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[str, ...]], numbers: Mapping[str, str | None]
) -> None:
    """Raises ValueError unless the arrays of a file fit each other: shapes, kinds, finite numbers, indices.

    shapes: of every array its axes; a digit is a size, and equal letters are equal sizes. numbers: which of them are
    unsigned, and the axis that they are indices of, if any; the others are floats.
    """
    sizes: dict[str, int] = {}
    for name, axes in shapes.items():
        array = found[name]
        if array.ndim != len(axes) or any(
            size != (int(axis) if axis.isdecimal() else sizes.setdefault(axis, size))
            for axis, size in zip(axes, array.shape, strict=True)
        ):
            raise ValueError(f"{name} has the shape {array.shape}, expected ({', '.join(axes)}), where {sizes}")
        if array.dtype.kind != ("u" if name in numbers else "f") or not np.isfinite(array).all():
            raise ValueError(f"{name} is of {array.dtype}, or has numbers that are not finite")
    for name, axis in numbers.items():
        if axis is not None and found[name].max(initial=0) >= sizes[axis]:
            raise ValueError(f"{name} names number {found[name].max()} of {sizes[axis]}")


@contextlib.contextmanager
def _named(path: str | os.PathLike) -> Iterator[None]:
    """Whatever the zip module and NumPy raise as a ValueError that names the file."""
    try:
        yield
    except (OSError, ValueError, EOFError, RuntimeError, OverflowError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read as arrays: {error or 'it is cut off'}; copy or make it anew"
        ) from error
    except (struct.error, IndexError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as arrays: it is damaged; copy or make it anew") from error


def _regular(path: str | os.PathLike) -> pathlib.Path:
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError("it is a folder" if path.is_dir() else "no such file")
    return path


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> np.ndarray:
    if entry.flag_bits & 1:
        raise ValueError(f"the array {name!r:.100} is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"the array {name!r:.100} is compressed by method {entry.compress_type}, expected 0 or 8")
    if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
        raise ValueError(f"the array {name!r:.100} is stored, but with two sizes")
    try:
        with archive.open(entry) as handle:
            return _array(handle, entry.file_size)
    except (ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"the array {name!r:.100} is damaged: {error!s:.200}") from error


def _array(handle: IO[bytes], size: int) -> np.ndarray:
    """The array of an .npy file of `size` bytes."""
    start = handle.read(8)
    if start[:6] != b"\x93NUMPY" or len(start) < 8 or start[6] not in (1, 2, 3):
        raise ValueError(f"it does not begin as a .npy file does, but with {start!r}")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(handle.read(width), "little")
    if length > _HEADER_LIMIT:
        raise ValueError(f"its header is of {length} bytes, expected at most {_HEADER_LIMIT}")
    header = handle.read(length).decode("latin-1")
    match = _HEADER.fullmatch(header)
    if match is None:
        raise ValueError(f"its header is not that of plain numbers: {header!r:.150}")
    dtype, shape = np.dtype(match[1]), tuple(int(entry) for entry in match[3].replace(",", " ").split())
    claimed, there = math.prod(shape) * dtype.itemsize, size - 8 - width - length
    if claimed != there:
        raise ValueError(f"its header claims {dtype} {shape}, {claimed} bytes, but {there} bytes follow")
    content = np.empty(claimed, np.uint8)
    done = 0
    while done < claimed:
        count = handle.readinto(memoryview(content)[done:])  # type: ignore[attr-defined, arg-type]
        if not count:
            raise ValueError(f"it is cut off after {done} of {claimed} bytes")
        done += count
    if handle.read(1):
        raise ValueError(f"more than the {claimed} bytes that its header claims follow")
    array = content.view(dtype).reshape(shape, order="F" if match[2] == "True" else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)
