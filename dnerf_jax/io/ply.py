"""Point clouds and meshes in PLY files: we write what most tools expect, and read what other tools make of it.

A PLY file is a header of text lines (format, comments, elements with their typed properties), then the elements'
values. Vertices are a table of named columns:

    float x y z          in the world frame and world units
    uchar red green blue
    uchar label          the class id, 255 where unknown

A mesh has the faces behind them. Comments state the frame and, where the label map is known, a line for each class:
`label <id> <red> <green> <blue> <name>`.
"""

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np

from dnerf_jax.io import files
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.meshes import Mesh
from dnerf_jax.ops.points import PointCloud

_POSITION, _COLOR, _LABEL = ("x", "y", "z"), ("red", "green", "blue"), "label"
_FRAME = "frame world: x right in a frontal view, y up, z towards the frontal camera; world units"
_FACE = np.dtype([("count", "u1"), ("vertex_indices", "<i4", 3)])

_TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"}
_TYPES |= {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"}
_TYPES |= {"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"}
_WRITTEN = {"f4": "float", "u1": "uchar"}
_BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
_HEADER_LIMIT = 1 << 20  # Bytes; a header beyond this is no header.


def save_cloud(path: str | os.PathLike, cloud: PointCloud, *, metres_per_unit: float | None = None) -> None:
    """Writes a labelled point cloud, binary little-endian, whole or not at all.

    metres_per_unit: the scale of the world, for a comment of the file; None where it has none.
    """
    scale = [] if metres_per_unit is None else [f"metres_per_unit {metres_per_unit:.6g}"]
    comments = ["dnerf_jax labelled point cloud", _FRAME, *scale, *_label_comments(cloud.label_map)]
    save_vertices(path, _columns(cloud.points, cloud.colors, cloud.labels), comments)


def load_cloud(path: str | os.PathLike) -> PointCloud:
    """Reads a PLY with x y z and red green blue per vertex, labels, and the label map if its comments have one.

    Reads whatever `load_vertices` reads, meshes too, of which the vertices are taken; other properties are passed over.
    So it reads what other tools make of our files. CloudCompare calls labels `scalar_label`, as floats, which are NaN
    for points that were added; these are 255, "unknown". It keeps no comments: give the label map again
    (`dataclasses.replace(cloud, label_map=...)`). MeshLab and Open3D may drop labels: then all are 255, with a warning.

    Raises ValueError, always naming the file, on what is no whole PLY, on missing properties, on points that are not
    finite, or colours and labels that are not integers 0 to 255.
    """
    columns, comments = load_vertices(path)
    missing = [name for name in (*_POSITION, *_COLOR) if name not in columns]
    if missing:
        raise ValueError(f"{path}: the vertices lack the properties {missing}, they have {list(columns)!s:.300}")
    label = next((name for name in columns if name.lower().removeprefix("scalar_") == _LABEL), None)
    if label is None:
        warnings.warn(
            f"{path} has no labels (the tool that wrote it may have dropped them): all are {LabelMap.IGNORE}, unknown",
            stacklevel=2,
        )
    labels = np.full(len(columns["x"]), LabelMap.IGNORE) if label is None else columns[label]
    bytes_of = {name: columns[name] for name in _COLOR} | {
        label or _LABEL: np.where(np.isnan(labels), LabelMap.IGNORE, labels)
    }
    for name, values in bytes_of.items():
        wide = values.astype(np.float64)  # where 255 is a number of all types
        if not ((wide >= 0) & (wide <= 255) & (wide == np.round(wide))).all():
            raise ValueError(f"{path}: the property {name} has values that are not integers 0 to 255")
    red, green, blue, labels = (values.astype(np.uint8) for values in bytes_of.values())
    with np.errstate(over="ignore"):  # beyond float32 is not finite, which is said below
        points = np.stack([columns[name] for name in _POSITION], axis=-1).astype(np.float32)
    try:
        return PointCloud(points, np.stack([red, green, blue], axis=-1), labels, _label_map_in(comments))
    except ValueError as error:
        raise ValueError(f"{path}: {error!s:.500}") from error


def save_mesh(path: str | os.PathLike, mesh: Mesh) -> None:
    """Writes a mesh with the colours and labels that it has, binary little-endian, whole or not at all."""
    comments = ["dnerf_jax labelled mesh", _FRAME, *_label_comments(mesh.label_map)]
    save_vertices(path, _columns(mesh.vertices, mesh.colors, mesh.labels), comments, faces=mesh.faces)


def save_vertices(
    path: str | os.PathLike,
    columns: Mapping[str, np.ndarray],
    comments: Sequence[str],
    *,
    faces: np.ndarray | None = None,
) -> None:
    """Writes columns (N,) of float32 or uint8, by name, as a binary little-endian PLY; whole or not at all.

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
    with files.atomic_file(path) as temporary:
        temporary.write_bytes("\n".join([*lines, "end_header\n"]).encode("utf-8") + body)


def load_vertices(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], list[str]]:
    """The vertices' columns (N,), by property name, and the comments of the header.

    Reads ascii and both binary formats, and any scalar types; ascii values come as float64. Other elements (faces,
    edges, cameras) are passed over. Raises ValueError, always naming the file, on what is no PLY, on list properties of
    vertices or of what is before them, or fewer vertices than the header states.
    """
    path = pathlib.Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")
        with open(path, "rb") as handle:
            header = _read_header(handle)
            for element in header.before:
                _pass_over(handle, header, element)
            if header.byte_order:
                return _read_binary(handle, header), header.comments
            return _read_ascii(handle, header), header.comments
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a PLY file: {error!s:.500}") from error


def _columns(points: np.ndarray, colors: np.ndarray | None, labels: np.ndarray | None) -> dict[str, np.ndarray]:
    columns = dict(zip(_POSITION, points.T, strict=True))
    if colors is not None:
        columns |= dict(zip(_COLOR, colors.T, strict=True))
    return columns if labels is None else columns | {_LABEL: labels}


def _label_comments(label_map: LabelMap | None) -> list[str]:
    classes = [] if label_map is None else list(zip(label_map.names, label_map.colors, strict=True))
    return [f"label {index} {red} {green} {blue} {name}" for index, (name, (red, green, blue)) in enumerate(classes)]


def _label_map_in(comments: Sequence[str]) -> LabelMap | None:
    """The label map that `_label_comments` left in the comments, None if there is none."""
    classes = {}
    for comment in comments:
        words = comment.split(" ", 5)
        if words[0] == "label" and len(words) == 6 and all(word.isdecimal() for word in words[1:5]):
            red, green, blue = (int(word) for word in words[2:5])
            classes[int(words[1])] = words[5], (red, green, blue)
    if sorted(classes) != list(range(len(classes))) or not classes:
        return None
    names, colors = zip(*(classes[index] for index in range(len(classes))), strict=True)
    return LabelMap(names, colors)


@dataclasses.dataclass(frozen=True)
class _Element:
    """An element of a header: its name, the number of its rows, and the NumPy types of its properties, None a list."""

    name: str
    count: int
    properties: list[tuple[str, str | None]]


@dataclasses.dataclass(frozen=True)
class _Header:
    """What a header says. byte_order: "" for ascii; before: the elements whose values precede the vertices'."""

    byte_order: str
    before: list[_Element]
    vertex: _Element
    comments: list[str]

    def row(self, element: _Element) -> np.dtype:
        """The type of one row of an element in a binary file; raises ValueError on lists."""
        lists = [name for name, code in element.properties if code is None]
        if lists:
            raise ValueError(f"the {element.name} properties {lists!s:.200} are lists, expected one number for each")
        return np.dtype([(f"f{i}", self.byte_order + str(code)) for i, (_, code) in enumerate(element.properties)])


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
        elif keyword == "property" and elements and words[:1] == ["list"]:
            elements[-1].properties.append((words[-1], None))
        elif keyword == "property" and elements and len(words) == 2 and words[0] in _TYPES:
            elements[-1].properties.append((words[1], _TYPES[words[0]]))
        elif keyword not in ("", "obj_info"):
            raise ValueError(f"its header has a line that is not understood: {line[:80]!r}")
    if kind not in _BYTE_ORDERS:
        raise ValueError(f"its format is {kind!s:.50}, expected one of {list(_BYTE_ORDERS)}")
    place = next((index for index, element in enumerate(elements) if element.name == "vertex"), None)
    if place is None:
        raise ValueError(f"its elements are {[element.name for element in elements]!s:.200}, expected `vertex`")
    vertex = elements[place]
    names, lists = [name for name, _ in vertex.properties], [name for name, code in vertex.properties if code is None]
    if not names or lists or len(set(names)) != len(names):
        raise ValueError(
            f"vertex properties must be scalars with names of their own, got {names!s:.300} (lists: {lists!s:.200})"
        )
    return _Header(_BYTE_ORDERS[kind], elements[:place], vertex, comments)


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
    left = max(os.fstat(handle.fileno()).st_size - handle.tell(), 0)
    if left < element.count * row.itemsize:
        raise ValueError(
            f"{element.count} rows of {element.name}, of {row.itemsize} bytes each, are stated, but {left} bytes "
            "follow: it is cut off"
        )


def _read_binary(handle: BinaryIO, header: _Header) -> dict[str, np.ndarray]:
    count, dtype = header.vertex.count, header.row(header.vertex)
    _require_rows(handle, header.vertex, dtype)
    vertices = np.frombuffer(handle.read(count * dtype.itemsize), dtype)
    columns = zip(header.vertex.properties, dtype.names or (), strict=True)
    return {name: vertices[field].astype(vertices[field].dtype.newbyteorder("=")) for (name, _), field in columns}


def _read_ascii(handle: BinaryIO, header: _Header) -> dict[str, np.ndarray]:
    count, names = header.vertex.count, [name for name, _ in header.vertex.properties]
    rows = []
    for row in range(count):
        values = handle.readline().split()
        if len(values) != len(names):
            raise ValueError(f"vertex {row} of {count} has {len(values)} values, expected {len(names)}: is it cut off?")
        rows.append([float(value) for value in values])
    return dict(zip(names, np.array(rows, np.float64).reshape(count, len(names)).T, strict=True))
