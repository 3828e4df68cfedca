"""The PLY format: a header of text lines (format, comments, elements with their typed properties), then their values.

Vertices are a table of named columns (N,), faces are triangles (F, 3) of indices of vertices. Written is binary
little-endian; read are ascii and both binary formats, with any scalar types.
"""

import dataclasses
import io
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np

_FACE = np.dtype([("count", "u1"), ("vertex_indices", "<i4", 3)])
_FACES = ("vertex_indices", "vertex_index")  # as programs call them

_TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"}
_TYPES |= {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"}
_TYPES |= {"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"}
_WRITTEN = {"f4": "float", "u1": "uchar"}
_BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
_HEADER_LIMIT = 1 << 20  # Bytes; a header beyond this is no header.


@dataclasses.dataclass(frozen=True)
class Table:
    """What a file holds: the vertices' columns (N,) by property name, the header's comments, and the triangles (F, 3).

    Columns of ascii files are float64, faces int64; None where they were not asked for.
    """

    columns: dict[str, np.ndarray]
    comments: list[str]
    faces: np.ndarray | None = None


def encode(columns: Mapping[str, np.ndarray], comments: Sequence[str], *, faces: np.ndarray | None = None) -> bytes:
    """The binary little-endian file of columns (N,) of float32 or uint8, by name.

    faces: (F, 3) indices of vertices, if any.

    Raises ValueError on columns of other types or different lengths, and on comments of several lines.
    """
    types = {name: np.asarray(column).dtype.str.lstrip("<|=") for name, column in columns.items()}
    lengths = {len(column) for column in columns.values()}
    if set(types.values()) - set(_WRITTEN) or len(lengths) != 1:
        raise ValueError(f"columns have types {types} and lengths {lengths}, expected float32 or uint8 of one length")
    if any("\n" in comment or "\r" in comment for comment in comments):
        raise ValueError(f"each comment is one line, got {list(comments)}")
    vertices = np.empty(lengths.pop(), [(name, "<" + code) for name, code in types.items()])
    for name, column in columns.items():
        vertices[name] = column
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {comment}" for comment in comments)]
    lines.append(f"element vertex {len(vertices)}")
    lines += [f"property {_WRITTEN[code]} {name}" for name, code in types.items()]
    body = vertices.tobytes()
    if faces is not None:
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        table = np.empty(len(faces), _FACE)
        table["count"], table["vertex_indices"] = 3, faces
        body += table.tobytes()
    return "\n".join([*lines, "end_header\n"]).encode("utf-8") + body


def decode(data: bytes, *, with_faces: bool = False) -> Table:
    """The vertices and comments of a file, and its triangles where they are wanted.

    Other elements (edges, cameras) are passed over. Raises ValueError on what is no PLY, on list properties of vertices
    or of what is before them, on fewer values than the header states; with faces also on files that have none, or
    others than triangles of vertices that there are.
    """
    handle = io.BytesIO(data)
    header = _read_header(handle)
    place = _place_of(header, "vertex")
    vertex = header.elements[place]
    names, lists = [p.name for p in vertex.properties], [p.name for p in vertex.properties if p.count]
    if not names or lists or len(set(names)) != len(names):
        raise ValueError(
            f"vertex properties must be scalars with names of their own, got {names!s:.300} (lists: {lists!s:.200})"
        )
    for element in header.elements[:place]:
        _pass_over(handle, header, element)
    columns = _read_binary(handle, header, vertex) if header.byte_order else _read_ascii(handle, vertex)
    if not with_faces:
        return Table(columns, header.comments)
    last = _place_of(header, "face")
    if last < place:
        raise ValueError("its faces come before its vertices, expected them behind")
    for element in header.elements[place + 1 : last]:
        _pass_over(handle, header, element)
    faces = _read_faces(handle, header, header.elements[last])
    if not ((faces >= 0) & (faces < vertex.count) & (faces == np.round(faces))).all():
        raise ValueError(f"its faces have vertices {faces.min()} to {faces.max()}, expected 0 to {vertex.count - 1}")
    return Table(columns, header.comments, faces.astype(np.int64))


@dataclasses.dataclass(frozen=True)
class _Property:
    """A property of an element, and the NumPy types of its values and, of a list, of the number of these."""

    name: str
    code: str
    count: str | None = None


@dataclasses.dataclass(frozen=True)
class _Element:
    """An element of a header: its name, the number of its rows, and what they have."""

    name: str
    count: int
    properties: list[_Property]


@dataclasses.dataclass(frozen=True)
class _Header:
    """What a header says. byte_order: "" for ascii."""

    byte_order: str
    elements: list[_Element]
    comments: list[str]

    def row(self, element: _Element) -> np.dtype:
        """The type of one row of an element in a binary file; raises ValueError on lists."""
        if lists := [p.name for p in element.properties if p.count]:
            raise ValueError(f"the {element.name} properties {lists!s:.200} are lists, expected one number for each")
        return np.dtype([(f"f{i}", self.byte_order + p.code) for i, p in enumerate(element.properties)])


def _read_header(handle: BinaryIO) -> _Header:
    if handle.readline(16).strip() != b"ply":
        raise ValueError("it does not begin with the line `ply`")
    kind, comments = None, []
    elements: list[_Element] = []
    while True:
        line = handle.readline(_HEADER_LIMIT)
        if not line.endswith(b"\n") or handle.tell() > _HEADER_LIMIT:
            raise ValueError("its header has no line `end_header`")
        keyword, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
        words = rest.split()
        if keyword == "end_header":
            break
        elif keyword == "comment":
            comments.append(rest)
        elif keyword == "format":
            kind = words[0] if words else None
        elif keyword == "element" and len(words) == 2 and words[1].isdecimal():
            elements.append(_Element(words[0], int(words[1]), []))
        elif keyword == "property" and elements and len(words) == 4 and words[0] == "list" and words[1] in _TYPES:
            elements[-1].properties.append(_Property(words[3], _TYPES.get(words[2], ""), _TYPES[words[1]]))
        elif keyword == "property" and elements and len(words) == 2 and words[0] in _TYPES:
            elements[-1].properties.append(_Property(words[1], _TYPES[words[0]]))
        elif keyword not in ("", "obj_info"):
            raise ValueError(f"its header has a line that is not understood: {line[:80]!r}")
    if kind not in _BYTE_ORDERS:
        raise ValueError(f"its format is {kind!s:.50}, expected one of {list(_BYTE_ORDERS)}")
    return _Header(_BYTE_ORDERS[kind], elements, comments)


def _place_of(header: _Header, name: str) -> int:
    names = [element.name for element in header.elements]
    if name not in names:
        raise ValueError(f"its elements are {names!s:.200}, expected `{name}`")
    return names.index(name)


def _pass_over(handle: BinaryIO, header: _Header, element: _Element) -> None:
    """Reads on behind the values of an element."""
    if header.byte_order:
        _require_rows(handle, element, header.row(element))
        handle.seek(element.count * header.row(element).itemsize, os.SEEK_CUR)
    else:
        for _ in range(element.count):
            if not handle.readline():
                raise ValueError(f"{element.count} rows of {element.name} are stated, but fewer follow: it is cut off")


def _require_rows(handle: BinaryIO, element: _Element, row: np.dtype) -> None:
    here = handle.tell()
    left = max(handle.seek(0, os.SEEK_END) - here, 0)
    handle.seek(here)
    if left < element.count * row.itemsize:
        raise ValueError(
            f"{element.count} rows of {element.name}, of {row.itemsize} bytes each, are stated, but {left} bytes "
            "follow: it is cut off"
        )


def _rows(handle: BinaryIO, element: _Element, row: np.dtype) -> np.ndarray:
    _require_rows(handle, element, row)
    return np.frombuffer(handle.read(element.count * row.itemsize), row)


def _read_binary(handle: BinaryIO, header: _Header, vertex: _Element) -> dict[str, np.ndarray]:
    table = _rows(handle, vertex, header.row(vertex))
    columns = zip(vertex.properties, table.dtype.names or (), strict=True)
    return {p.name: table[field].astype(table[field].dtype.newbyteorder("=")) for p, field in columns}


def _read_ascii(handle: BinaryIO, vertex: _Element) -> dict[str, np.ndarray]:
    count, names = vertex.count, [p.name for p in vertex.properties]
    rows = []
    for row in range(count):
        values = handle.readline().split()
        if len(values) != len(names):
            raise ValueError(f"vertex {row} of {count} has {len(values)} values, expected {len(names)}: is it cut off?")
        rows.append([float(value) for value in values])
    return dict(zip(names, np.array(rows, np.float64).reshape(count, len(names)).T, strict=True))


def _read_faces(handle: BinaryIO, header: _Header, face: _Element) -> np.ndarray:
    """The triangles (F, 3), integers or float64."""
    lists = [p for p in face.properties if p.name in _FACES and p.count and p.code[:1] in ("i", "u")]
    if len(lists) != 1 or len(face.properties) != 1:
        names = [p.name for p in face.properties]
        raise ValueError(f"its faces have {names!s:.200}, expected one list of integers, {_FACES[0]}")
    if header.byte_order:
        count, index = (header.byte_order + str(code) for code in (lists[0].count, lists[0].code))
        table = _rows(handle, face, np.dtype([("count", count), ("indices", index, 3)]))
        counts, faces = table["count"], table["indices"]
    else:
        rows = [[float(word) for word in line.split()] for line in itertools.islice(handle, face.count)]
        if len(rows) < face.count:
            raise ValueError(f"{face.count} faces are stated, but {len(rows)} follow: it is cut off")
        triangles = [row[1:] for row in rows if len(row) == 4]
        counts = np.array([row[0] if len(row) == 4 else 0 for row in rows])
        faces = np.array(triangles, np.float64).reshape(-1, 3)
    if (counts != 3).any():
        raise ValueError("its faces are not all triangles: triangulate them first")
    return faces
