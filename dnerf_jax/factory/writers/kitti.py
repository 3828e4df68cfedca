"""Clouds as SemanticKITTI has its scans, a sequence for every split.

    sequences/00/velodyne/000012.bin      float32 (N, 4): x forwards, y left, z up, intensity
                 labels/000012.label      uint32 (N): the class id; the upper half, the instance, is 0
    dataset.yaml                          names, colours, shares of the classes, and which sequence is which split

A file's number is that of the identity. The axes are those of the head: x where the face looks (the world's z), y to
its left (the world's x), z up (the world's y); lengths are world units, the origin is the world's, within the head, so
there is no place of a scanner from which a range image could be made. Intensity is the brightness of the colour (Rec.
601), from 0 to 1.

dataset.yaml is what semantic-kitti-api and those who follow it read by `--config`: ids are learned as they are, 0
(background, which no point has) is ignored, colours are blue, green, red.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.factory.loading import Dataset
from dnerf_jax.factory.writers import identities, streaming
from dnerf_jax.io import files, ply
from dnerf_jax.ops.labels import LabelMap

AXES = [2, 0, 1]  # of the world, that are KITTI's x, y, z
_BRIGHTNESS = np.array([0.299, 0.587, 0.114]) / 255
_SPLITS = {"validation": "valid"}  # as others call it


def write(dataset: Dataset, out: Path) -> None:
    """Writes a scan and its labels for every identity; `out` is empty.

    Raises ValueError: there are no clouds, or no labels.
    """
    identities.require(dataset, "points")
    label_map = streaming.require_labels(dataset)
    names = identities.splits(dataset)
    folders = {name: out / "sequences" / f"{number:02d}" for number, name in enumerate(names)}
    for folder in folders.values():
        for kind in ("velodyne", "labels"):
            (folder / kind).mkdir(parents=True)
    counts = np.zeros(label_map.num_classes, np.int64)
    for scan in identities.objects(dataset, "points"):
        cloud = ply.decode_cloud(scan.data, source=scan.source)
        folder, name = folders[scan.split], f"{scan.identity:06d}"
        values = np.column_stack([cloud.points[:, AXES], cloud.colors @ _BRIGHTNESS])
        (folder / "velodyne" / f"{name}.bin").write_bytes(values.astype("<f4").tobytes())
        (folder / "labels" / f"{name}.label").write_bytes(cloud.labels.astype("<u4").tobytes())
        counts += np.bincount(cloud.labels, minlength=len(counts))[: len(counts)]
    files.write_text(out / "dataset.yaml", _yaml(label_map, counts / max(counts.sum(), 1), names))


def _yaml(label_map: LabelMap, shares: np.ndarray, splits: list[str]) -> str:
    """The description; what JSON writes of names and lists is YAML too."""
    ids = range(label_map.num_classes)
    entries: dict[str, dict[Any, Any]] = {
        "labels": {i: json.dumps(label_map.names[i]) for i in ids},
        "color_map": {i: json.dumps(list(label_map.colors[i])[::-1]) for i in ids},
        "content": {i: f"{shares[i]:.9f}" for i in ids},
        "learning_map": {i: i for i in ids},
        "learning_map_inv": {i: i for i in ids},
        "learning_ignore": {i: json.dumps(i == 0) for i in ids},
        "split": {_SPLITS.get(name, name): f"[{number}]" for number, name in enumerate(splits)},
    }
    blocks = [
        "".join([f"{name}:\n", *(f"  {key}: {value}\n" for key, value in of.items())]) for name, of in entries.items()
    ]
    return "".join(['name: "dnerf_jax"\n', *blocks])
