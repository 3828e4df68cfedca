"""Clouds as ShapeNet-part has its objects (the version with normals), for code written for PointNet.

    00000001/00000012.txt                              a line for every point: x y z nx ny nz part
    synsetoffset2category.txt                          object 00000001: the only category
    train_test_split/shuffled_train_file_list.json     ["shape_data/00000001/00000012", ...]; also val and test
    parts.json                                         what seg_classes of such code has to be, names and colours

Positions are in the world frame (y up, front towards z) and in world units, not normalised: that is what the loaders do
themselves. Parts are numbered from 0, so a part is a class id less 1: id 0 is the background, which no point has.
"""

from pathlib import Path

import numpy as np

from dnerf_jax.factory.loading import Dataset
from dnerf_jax.factory.writers import identities, streaming
from dnerf_jax.io import files, ply

CATEGORY, SYNSET = "object", "00000001"
FIRST_ID = 1  # of the label map, that is part 0
_FORMAT = ["%.6f"] * 6 + ["%d"]
_SPLITS = {"validation": "val"}  # as others call it


def write(dataset: Dataset, out: Path) -> None:
    """Writes the points of every identity; `out` is empty.

    Raises ValueError: there are no clouds, no labels, or clouds without normals, as older versions made them.
    """
    identities.require(dataset, "points")
    label_map = streaming.require_labels(dataset)
    (out / SYNSET).mkdir()
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for thing in identities.objects(dataset, "points"):
        cloud = ply.decode_cloud(thing.data, source=thing.source)
        if cloud.normals is None:
            raise ValueError(f"{dataset.path}: the cloud of identity {thing.identity} has no normals: make it anew")
        parts = cloud.labels.astype(np.int64) - FIRST_ID
        np.savetxt(out / SYNSET / f"{thing.key}.txt", np.column_stack([cloud.points, cloud.normals, parts]), _FORMAT)
        lists.setdefault(_SPLITS.get(thing.split, thing.split), []).append(f"shape_data/{SYNSET}/{thing.key}")
    files.write_text(out / "synsetoffset2category.txt", f"{CATEGORY}\t{SYNSET}\n")
    for name, members in lists.items():
        files.write_json(out / "train_test_split" / f"shuffled_{name}_file_list.json", members)
    names, colors = label_map.names[FIRST_ID:], label_map.colors[FIRST_ID:]
    parts_of = {"seg_classes": {CATEGORY: list(range(len(names)))}, "names": names, "colors": colors}
    files.write_json(out / "parts.json", parts_of)
