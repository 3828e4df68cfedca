"""Clouds and meshes as files, one for every identity: PLY as they are in the dataset, meshes also as OBJ and GLB.

    train/00000012.ply
    labelmap.json

World frame (y up, front towards z, as glTF has it) and world units. PLY has colours, labels and, in its comments, the
label map and the scale; GLB has colours, and labels as the vertices' attribute `_LABEL`; OBJ has colours alone.
"""

from pathlib import Path

from dnerf_jax.factory.loading import Dataset
from dnerf_jax.factory.writers import identities
from dnerf_jax.io import mesh_files, ply


def write_points(dataset: Dataset, out: Path) -> None:
    """Writes clouds as PLY; `out` is empty. Raises ValueError: there are none."""
    _write(dataset, out, "points", ".ply")


def write_meshes(dataset: Dataset, out: Path) -> None:
    """Writes meshes as PLY; `out` is empty. Raises ValueError: there are none."""
    _write(dataset, out, "mesh", ".ply")


def write_obj(dataset: Dataset, out: Path) -> None:
    """Writes meshes as OBJ; `out` is empty. Raises ValueError: there are none; ImportError without trimesh."""
    _write(dataset, out, "mesh", ".obj")


def write_glb(dataset: Dataset, out: Path) -> None:
    """Writes meshes as GLB; `out` is empty. Raises ValueError: there are none; ImportError without trimesh."""
    _write(dataset, out, "mesh", ".glb")


def _write(dataset: Dataset, out: Path, kind: str, suffix: str) -> None:
    identities.require(dataset, kind)
    identities.write_label_map(dataset, out)
    for thing in identities.objects(dataset, kind):
        data = thing.data
        if suffix != ".ply":
            data = mesh_files.encode(ply.decode_mesh(data, source=thing.source), suffix)
        (out / thing.split).mkdir(exist_ok=True)
        (out / thing.split / f"{thing.key}{suffix}").write_bytes(data)
