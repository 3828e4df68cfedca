"""Exports: a dataset in the forms that other programs read, from its files; nothing is rendered again.

A writer is a function `write(dataset, out)` of `factory.writers`, imported when it is wanted: it fills the empty folder
`out` with the views of a `factory.Dataset` (its split, or all), one at a time, so that memory stays flat. The folder
takes its name only when it is whole. A new form is a line of FORMS.
"""

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path

from dnerf_jax.factory import loading, shards
from dnerf_jax.io import files

Writer = Callable[[loading.Dataset, Path], None]


@dataclasses.dataclass(frozen=True)
class Form:
    """A form of exports.

    Attributes:
      text: who reads it, in a line.
      module: of `factory.writers`.
      function: of the module, a Writer.
    """

    text: str
    module: str
    function: str = "write"


FORMS = {
    "tfds": Form("TensorFlow Datasets, and Grain: ArrayRecord files, read without TensorFlow too", "tfds"),
    "coco": Form("COCO: panoptic PNGs and JSON, and instances as run lengths", "coco"),
    "cvat": Form('CVAT "segmentation mask 1.1": class and object masks in colours', "cvat"),
    "folder": Form("plain files with metadata.jsonl: Hugging Face imagefolder, or by hand", "folder"),
    "nerfstudio": Form("nerfstudio and instant-ngp: a folder with transforms.json for every identity", "nerfstudio"),
    "colmap": Form("COLMAP, Gaussian splatting: a text model for every identity", "colmap"),
    "points_ply": Form("clouds as PLY: CloudCompare, MeshLab, Open3D", "objects", "write_points"),
    "kitti": Form("clouds as SemanticKITTI's scans and labels", "kitti"),
    "shapenet_part": Form("clouds as ShapeNet-part's objects: code written for PointNet", "shapenet_part"),
    "mesh_ply": Form("meshes as PLY, with labels: MeshLab, Blender", "objects", "write_meshes"),
    "mesh_obj": Form("meshes as OBJ, without labels: everything", "objects", "write_obj"),
    "mesh_glb": Form("meshes as GLB, with labels: Blender, browsers, trimesh", "objects", "write_glb"),
}


def export(dataset: str | Path, to: str, out: str | Path, *, split: str | None = None) -> None:
    """Writes the dataset of a folder in another form into a new folder, whole or not at all.

    Args:
      to: a name of FORMS.
      split: see `factory.load`.

    Raises ValueError: there is no such form, no such dataset or split, `out` has content or lies in the dataset, or
    the dataset lacks what the form needs.
    """
    if to not in FORMS:
        known = "".join(f"\n  {name:14} {form.text}" for name, form in FORMS.items())
        raise ValueError(f"there is no form {to!r:.50}: known are{known}")
    data = loading.load(dataset, split=split)
    if Path(dataset).resolve() in (Path(out).resolve(), *Path(out).resolve().parents):
        raise ValueError(f"{out} is in the dataset {dataset}, which stays as it was made: name a folder elsewhere")
    if not len(data):
        raise ValueError(f"{data!r} has nothing to export: choose another split, or make more identities")
    for name, folder in data.shards():
        shards.require_whole(data.path, name, folder)
    write: Writer = getattr(
        importlib.import_module(f"dnerf_jax.factory.writers.{FORMS[to].module}"), FORMS[to].function
    )
    with files.atomic_folder(out) as folder:
        write(data, folder)
