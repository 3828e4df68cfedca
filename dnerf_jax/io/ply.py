"""Point clouds and meshes in PLY files: we write what most tools expect, and read what other tools make of it.

Vertices are a table of named columns (`ply_format`), those that are known:

    float x y z          in the world frame and world units
    float nx ny nz       unit normals, of clouds
    uchar red green blue
    uchar label          the class id, 255 where unknown
    float confidence     in [0, 1], of clouds

A mesh has the faces behind them. Comments state the frame, the scale and, where the label map is known, a line for each
class: `label <id> <red> <green> <blue> <name>`. `encode_cloud` and `encode_mesh` make the bytes of a file, which depend
on nothing but what is in it; `decode_cloud` and `decode_mesh` read them.
"""

import os
import pathlib
import warnings
from collections.abc import Sequence

import numpy as np

from dnerf_jax.io import files, ply_format
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.meshes import Mesh
from dnerf_jax.ops.points import PointCloud

_POSITION, _NORMAL, _COLOR = ("x", "y", "z"), ("nx", "ny", "nz"), ("red", "green", "blue")
_LABEL, _CONFIDENCE = "label", "confidence"
_FRAME = "frame world: x right in a frontal view, y up, z towards the frontal camera; world units"


def save_cloud(path: str | os.PathLike, cloud: PointCloud, *, metres_per_unit: float | None = None) -> None:
    """Writes a labelled point cloud, binary little-endian, whole or not at all: see `encode_cloud`."""
    _write(path, encode_cloud(cloud, metres_per_unit=metres_per_unit))


def encode_cloud(cloud: PointCloud, *, metres_per_unit: float | None = None) -> bytes:
    """The file of a labelled point cloud.

    metres_per_unit: the scale of the world, for a comment of the file; None where it has none.
    """
    columns = _columns(_POSITION, cloud.points) | _columns(_NORMAL, cloud.normals) | _columns(_COLOR, cloud.colors)
    columns[_LABEL] = cloud.labels
    if cloud.confidence is not None:
        columns[_CONFIDENCE] = cloud.confidence
    return ply_format.encode(columns, _comments("point cloud", metres_per_unit, cloud.label_map))


def load_cloud(path: str | os.PathLike) -> PointCloud:
    """Reads a PLY with x y z and red green blue per vertex, labels, normals, confidence, and the label map if its
    comments have one.

    Reads any PLY with scalar properties of vertices (see `ply_format.decode`), meshes too, of which the vertices are
    taken; other properties are passed over. So it reads what other tools make of our files. CloudCompare calls labels
    `scalar_label`, as floats, which are NaN for points that were added; these are 255, "unknown". It keeps no comments:
    give the label map again (`dataclasses.replace(cloud, label_map=...)`). MeshLab and Open3D may drop labels: then all
    are 255, with a warning.
    Normals that are not finite, and confidence that is no share, are left out, with a warning.

    Raises ValueError, always naming the file, on what is no whole PLY, on missing properties, on points that are not
    finite, or colours and labels that are not integers 0 to 255.
    """
    return _cloud_in(_read(path), str(path))


def decode_cloud(data: bytes, *, source: str = "the cloud") -> PointCloud:
    """The cloud of the bytes of a file, as `load_cloud`; `source` is what errors call it."""
    return _cloud_in(data, source)


def save_mesh(path: str | os.PathLike, mesh: Mesh, *, metres_per_unit: float | None = None) -> None:
    """Writes a mesh, binary little-endian, whole or not at all: see `encode_mesh`."""
    _write(path, encode_mesh(mesh, metres_per_unit=metres_per_unit))


def encode_mesh(mesh: Mesh, *, metres_per_unit: float | None = None) -> bytes:
    """The file of a mesh with the colours and labels that it has; metres_per_unit as for clouds."""
    columns = _columns(_POSITION, mesh.vertices) | _columns(_COLOR, mesh.colors)
    if mesh.labels is not None:
        columns[_LABEL] = mesh.labels
    return ply_format.encode(columns, _comments("mesh", metres_per_unit, mesh.label_map), faces=mesh.faces)


def load_mesh(path: str | os.PathLike) -> Mesh:
    """Reads a mesh of triangles with the colours, labels and label map that it has.

    Raises ValueError, always naming the file, on what is no whole PLY of triangles, on positions that are not finite,
    or colours and labels that are not integers 0 to 255.
    """
    return _mesh_in(_read(path), str(path))


def decode_mesh(data: bytes, *, source: str = "the mesh") -> Mesh:
    """The mesh of the bytes of a file, as `load_mesh`; `source` is what errors call it."""
    return _mesh_in(data, source)


def _write(path: str | os.PathLike, data: bytes) -> None:
    with files.atomic_file(path) as temporary:
        temporary.write_bytes(data)


def _read(path: str | os.PathLike) -> bytes:
    path = pathlib.Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a PLY file: {error!s:.500}") from error


def _table(data: bytes, source: str, needed: Sequence[str], *, with_faces: bool = False) -> ply_format.Table:
    """What a file holds, which has the columns that are needed."""
    try:
        table = ply_format.decode(data, with_faces=with_faces)
    except ValueError as error:
        raise ValueError(f"{source} cannot be read as a PLY file: {error!s:.500}") from error
    if missing := [name for name in needed if name not in table.columns]:
        raise ValueError(
            f"{source}: the vertices lack the properties {missing}, they have {list(table.columns)!s:.300}"
        )
    return table


def _cloud_in(data: bytes, source: str) -> PointCloud:
    table = _table(data, source, (*_POSITION, *_COLOR))
    points, labels = _floats(table, _POSITION), _labels(table, source)
    if labels is None:
        warnings.warn(
            f"{source} has no labels (the tool that wrote it may drop them): all are {LabelMap.IGNORE}, unknown",
            stacklevel=3,
        )
        labels = np.full(len(points), LabelMap.IGNORE, np.uint8)
    normals, confidence = (_known(table, names, source) for names in (_NORMAL, (_CONFIDENCE,)))
    try:
        return PointCloud(
            points,
            _bytes(table, _COLOR, source),
            labels,
            _label_map_in(table.comments),
            normals,
            None if confidence is None else confidence[:, 0],
        )
    except ValueError as error:
        raise ValueError(f"{source}: {error!s:.500}") from error


def _mesh_in(data: bytes, source: str) -> Mesh:
    table = _table(data, source, _POSITION, with_faces=True)
    colors = _bytes(table, _COLOR, source) if set(_COLOR) <= set(table.columns) else None
    try:
        return Mesh(
            _floats(table, _POSITION),
            np.zeros((0, 3), np.int32) if table.faces is None else table.faces,
            colors,
            _labels(table, source),
            _label_map_in(table.comments),
        )
    except ValueError as error:
        raise ValueError(f"{source}: {error!s:.500}") from error


def _columns(names: Sequence[str], values: np.ndarray | None) -> dict[str, np.ndarray]:
    return {} if values is None else dict(zip(names, values.T, strict=True))


def _floats(table: ply_format.Table, names: Sequence[str]) -> np.ndarray:
    """Columns side by side, float32 (N, C)."""
    with np.errstate(over="ignore"):  # beyond float32 is not finite, which the caller says
        return np.stack([table.columns[name] for name in names], axis=-1).astype(np.float32)


def _bytes(table: ply_format.Table, names: Sequence[str], source: str) -> np.ndarray:
    """Columns side by side, uint8 (N, C). Raises ValueError: they have other values."""
    for name in names:
        wide = table.columns[name].astype(np.float64)  # where 255 is a number of all types
        if not ((wide >= 0) & (wide <= 255) & (wide == np.round(wide))).all():
            raise ValueError(f"{source}: the property {name} has values that are not integers 0 to 255")
    return np.stack([table.columns[name].astype(np.uint8) for name in names], axis=-1)


def _called(table: ply_format.Table, name: str) -> str | None:
    """The column of this name, or as CloudCompare calls it, with `scalar_` in front."""
    return next((column for column in table.columns if column.lower().removeprefix("scalar_") == name), None)


def _labels(table: ply_format.Table, source: str) -> np.ndarray | None:
    if (name := _called(table, _LABEL)) is None:
        return None
    values = table.columns[name].astype(np.float64)  # where 255 is a number of all types
    known = ply_format.Table({name: np.where(np.isnan(values), LabelMap.IGNORE, values)}, [])
    return _bytes(known, (name,), source)[:, 0]


def _known(table: ply_format.Table, names: Sequence[str], source: str) -> np.ndarray | None:
    """Normals or confidence, float32 (N, C), where the file has them and they are what they should be."""
    found = [column for name in names if (column := _called(table, name)) is not None]
    if len(found) < len(names):
        return None
    values = _floats(table, found)
    sound = np.isfinite(values) if len(names) > 1 else (values >= 0) & (values <= 1)
    if sound.all():
        return values
    warnings.warn(f"{source} has values of {', '.join(found)} that cannot be used: they are left out", stacklevel=5)
    return None


def _comments(what: str, metres_per_unit: float | None, label_map: LabelMap | None) -> list[str]:
    scale = [] if metres_per_unit is None else [f"metres_per_unit {metres_per_unit:.6g}"]
    classes = [] if label_map is None else list(zip(label_map.names, label_map.colors, strict=True))
    lines = [f"label {index} {red} {green} {blue} {name}" for index, (name, (red, green, blue)) in enumerate(classes)]
    return [f"dnerf_jax labelled {what}", _FRAME, *scale, *lines]


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
