"""Plain files, a folder for each modality, and metadata.jsonl: Hugging Face's imagefolder.

    train/metadata.jsonl                  a line for every view
    train/image/00000012_03.png           the files of the dataset as they are
    train/mask/00000012_03.png            class ids
    train/depth_z/00000012_03.png         16 bits, times depth_z_scale in world units
    train/normal/00000012_03.npy
    labelmap.json, source.json            names and colours of the ids; dataset.json of the source

`load_dataset("imagefolder", data_dir=out)` makes pictures of file_name and of all that ends in _file_name, of the modes
RGB, P and I;16: `np.asarray` of them has the ids and the 16 bits. Arrays are named by normal_path and the like.
"""

import itertools
import json
from pathlib import Path

from dnerf_jax.factory import description
from dnerf_jax.factory.loading import Dataset
from dnerf_jax.factory.writers.streaming import View, views
from dnerf_jax.io import files, png


def write(dataset: Dataset, out: Path) -> None:
    """Writes the files of all views, and what is to know of them. See `exporting.export`."""
    files.write_json(out / "source.json", dict(dataset.description.content), indent=2)
    if dataset.label_map is not None:
        png.save_label_map(out / description.LABEL_MAP, dataset.label_map)
    for split, members in itertools.groupby(views(dataset), key=lambda view: view.own["split"]):
        for name in dataset.forms:
            (out / split / name).mkdir(parents=True)
        with open(out / split / "metadata.jsonl", "w") as lines:
            for view in members:
                paths = {name: _path(view, name) for name in dataset.forms}
                for name, path in paths.items():
                    (out / split / path).write_bytes(view.file(name))
                lines.write(json.dumps(_line(view, paths)) + "\n")


def _path(view: View, modality: str) -> str:
    """Where a file of a view lies in the folder of its split."""
    return f"{modality}/{view.own['key']}{Path(view.forms[modality].suffix).suffix}"


def _line(view: View, paths: dict[str, str]) -> dict[str, object]:
    """What metadata.jsonl says of a view."""
    found: dict[str, object] = {}
    for name, path in paths.items():
        picture = path.endswith(".png")
        found["file_name" if name == "image" else f"{name}_file_name" if picture else f"{name}_path"] = path
        if view.forms[name].scale is not None:
            found[f"{name}_scale"] = view.forms[name].scale
    return found | {name: view.own[name] for name in ("key", "identity", "view", "z", "cam2world", "intrinsics")}
