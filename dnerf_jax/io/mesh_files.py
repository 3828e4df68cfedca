"""Labelled meshes in files: PLY, which keeps the labels, and OBJ and GLB, which every viewer opens.

The suffix says which. Colours of vertices are kept in all three. PLY and GLB have the labels too: in GLB they are the
vertices' attribute `_LABEL`, of floats, which few programs show. In all the vertices can be painted in the colours of
the classes instead (`label_map.colorize(mesh.labels)` as `colors`). The world frame, y up and the front towards z, is
glTF's own, so nothing is turned.
"""

import os
import pathlib
from types import ModuleType

import numpy as np

from dnerf_jax.io import files, ply
from dnerf_jax.ops.meshes import Mesh

SUFFIXES = (".ply", ".obj", ".glb")


def save(path: str | os.PathLike, mesh: Mesh, *, metres_per_unit: float | None = None) -> None:
    """Writes a mesh as its suffix says, in capitals or not; whole or not at all.

    metres_per_unit: the scale of the world, for a comment of PLY files. Raises ValueError on other suffixes;
    ImportError for .obj and .glb without trimesh.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} has the suffix {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    data = encode(mesh, path.suffix.lower(), metres_per_unit=metres_per_unit)
    with files.atomic_file(path) as temporary:
        temporary.write_bytes(data)


def load(path: str | os.PathLike) -> Mesh:
    """Vertices and faces of a mesh that any program wrote, a scan for example, in the unit and frame that it has.

    Its parts are one mesh, its quads are triangles; colours and textures are left out.

    Raises ValueError: the suffix is not one of SUFFIXES, or the file is no mesh; ImportError without trimesh.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} has the suffix {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise ValueError(f"there is no file {path}: expected a mesh")
    trimesh = _trimesh()
    try:
        read = trimesh.load(path, force="mesh", process=False, skip_materials=True)
        vertices, faces = np.asarray(read.vertices, np.float32), np.asarray(read.faces, np.int32)
    except Exception as error:  # readers of many kinds of files raise what they like
        raise ValueError(f"{path} cannot be read as a mesh: {error}") from error
    if not len(faces) or not np.isfinite(vertices).all():
        raise ValueError(
            f"{path} has {len(faces)} faces, or vertices that are not finite: expected a mesh of triangles"
        )
    return Mesh(vertices, faces)


def encode(mesh: Mesh, suffix: str, *, metres_per_unit: float | None = None) -> bytes:
    """The file of a mesh: its bytes depend on the mesh alone. `suffix` is one of SUFFIXES; see `save`."""
    if suffix == ".ply":
        return ply.encode_mesh(mesh, metres_per_unit=metres_per_unit)
    opaque = None if mesh.colors is None else np.pad(mesh.colors, ((0, 0), (0, 1)), constant_values=255)
    other = _trimesh().Trimesh(
        mesh.vertices, mesh.faces, vertex_colors=opaque, vertex_normals=mesh.normals, process=False
    )
    if mesh.labels is not None and suffix == ".glb":
        other.vertex_attributes["_LABEL"] = mesh.labels.astype(np.float32)
    exported = other.export(file_type=suffix[1:], include_normals=True)
    return exported.encode("utf-8") if isinstance(exported, str) else exported


def _trimesh() -> ModuleType:
    """The module; raises ImportError, naming the extra, where it is not installed."""
    try:
        import trimesh
    except ImportError as error:
        raise ImportError(
            f"meshes that are read, and OBJ and GLB, need trimesh ({error}): pip install dnerf_jax[meshes]"
        ) from error
    return trimesh
