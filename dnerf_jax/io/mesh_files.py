"""Labelled meshes in files: PLY, which keeps the labels, and OBJ and GLB, which every viewer opens.

The suffix says which. Colours of vertices are kept in all three. Labels have a place in PLY only; in the others the
vertices can be painted in the classes' colours instead (`label_map.colorize(mesh.labels)` as `colors`). The world
frame, y up and the front towards z, is glTF's own, so nothing is turned.
"""

import os
import pathlib
from types import ModuleType

import numpy as np

from dnerf_jax.io import files, ply
from dnerf_jax.ops.meshes import Mesh

SUFFIXES = (".ply", ".obj", ".glb")


def save(path: str | os.PathLike, mesh: Mesh) -> None:
    """Writes a mesh as its suffix says, in capitals or not; whole or not at all.

    Raises ValueError on other suffixes; ImportError for .obj and .glb without trimesh.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} has the suffix {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    if suffix == ".ply":
        ply.save_mesh(path, mesh)
        return
    opaque = None if mesh.colors is None else np.pad(mesh.colors, ((0, 0), (0, 1)), constant_values=255)
    other = _trimesh().Trimesh(mesh.vertices, mesh.faces, vertex_colors=opaque, process=False)
    exported = other.export(file_type=suffix[1:], include_normals=True)
    with files.atomic_file(path) as temporary:
        temporary.write_bytes(exported.encode("utf-8") if isinstance(exported, str) else exported)


def _trimesh() -> ModuleType:
    """The module; raises ImportError, naming the extra, where it is not installed."""
    try:
        import trimesh
    except ImportError as error:
        raise ImportError(f"OBJ and GLB need trimesh ({error}): pip install dnerf_jax[meshes]") from error
    return trimesh
