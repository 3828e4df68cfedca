"""Other classes for labels that are there: several become one, or get another name, without rendering anything.

    {"hair": "head", "skin": "head", "nose": "head"}      classes that are not named stay what they are

What goes in and comes out are stored numbers and files (see `record`). A pixel's new id is that of the class that it
had. Its confidence is the sum of the probabilities of all that became this class, and so needs the logits; without
them it cannot be known. A merged logit is the logarithm of the sum of exponentials, so that its softmax is that sum: at
a few borders, where a class of two halves outweighs the whole one, it has its maximum elsewhere than the mask.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp

from dnerf_jax.factory import description, record
from dnerf_jax.factory.record import Form
from dnerf_jax.io import files, ply
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import did_you_mean


@dataclasses.dataclass(frozen=True)
class Merge:
    """New classes of old ones.

    Attributes:
      classes: the new name of every old class.
      table: uint8 (256,), the new id of every old one; what is to be ignored stays so.
      label_map: the new one: in the order of the smallest old ids, whose colours they have.
    """

    classes: Mapping[str, str]
    table: np.ndarray
    label_map: LabelMap


def load(path: Path) -> dict[str, str]:
    """Reads a file of new names by old ones. Raises ValueError, naming it: it is none."""
    names = files.read_json(path, "new names of classes")
    if not names or not all(isinstance(new, str) for new in names.values()):
        raise ValueError(f'{path} holds {names!r:.100}, expected new names of classes, {{"old name": "new name", ...}}')
    return names


def merge(label_map: LabelMap, names: Mapping[str, str]) -> Merge:
    """The classes of a label map under new names.

    Raises ValueError: it has no class of an old name, or a new one is no name.
    """
    for old in names:
        if old not in label_map.names:
            raise ValueError(f"there is no class {old!r:.100}" + did_you_mean(old[:100], label_map.names))
    classes = {name: names.get(name, name) for name in label_map.names}
    every = list(classes.values())
    new = list(dict.fromkeys(every))
    table = np.arange(256, dtype=np.uint8)
    table[: len(every)] = [new.index(name) for name in every]
    colors = tuple(label_map.colors[every.index(name)] for name in new)
    return Merge(classes, table, LabelMap(tuple(new), colors))


def history(content: Mapping[str, Any], source: Path) -> list[Mapping[str, str]] | None:
    """The new names that labels got one after the other; None where a dataset has the labels that it was made with.

    content: of its dataset.json, which `source` names. Raises ValueError: what it says of that is damaged.
    """
    before = content.get(description.RELABELLED)
    if before is None:
        return None
    steps = before.get("classes") if isinstance(before, dict) else None
    if not isinstance(steps, list) or not all(isinstance(names, dict) for names in steps):
        raise ValueError(f"{source}: {description.RELABELLED} is {before!r:.200}: restore it")
    if not all(isinstance(new, str) for names in steps for new in names.values()):
        raise ValueError(
            f"{source}: {description.RELABELLED} has classes that are no names: {steps!r:.200}: restore it"
        )
    return steps


def merge_numbers(made: Merge, forms: Mapping[str, Form], numbers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The stored numbers of a view in new classes: of the mask, and of logits and confidence where forms has them.

    numbers: of the mask, and of the logits where forms has anything but the mask.
    """
    merged = {"mask": made.table[numbers["mask"]]}
    if not {"logits", "confidence"} & forms.keys():
        return merged
    logits, old = numbers["logits"].astype(np.float64), made.table[: numbers["logits"].shape[-1]]
    sums = [logsumexp(logits[..., old == new], axis=-1) for new in range(made.label_map.num_classes)]
    joined = np.stack(sums, axis=-1)
    if "logits" in forms:
        merged["logits"] = joined.astype(numbers["logits"].dtype)
    if "confidence" in forms:
        own = np.take_along_axis(joined, merged["mask"][..., None].astype(np.int64), axis=-1)[..., 0]
        merged["confidence"] = record.stored(forms["confidence"], np.exp(own - logsumexp(joined, axis=-1)))
    return merged


def merge_object(made: Merge, kind: str, data: bytes, *, metres_per_unit: float | None) -> bytes:
    """The file of a cloud ("points") or "mesh" in new classes; what a cloud says of its confidence is left out."""
    if kind == "mesh":
        mesh = ply.decode_mesh(data)
        labels = None if mesh.labels is None else made.table[mesh.labels]
        changed = dataclasses.replace(mesh, labels=labels, label_map=made.label_map)
        return ply.encode_mesh(changed, metres_per_unit=metres_per_unit)
    cloud = ply.decode_cloud(data)
    relabelled = dataclasses.replace(cloud, labels=made.table[cloud.labels], label_map=made.label_map, confidence=None)
    return ply.encode_cloud(relabelled, metres_per_unit=metres_per_unit)
