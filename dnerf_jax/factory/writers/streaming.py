"""The views of a dataset one after the other, as files: what writers of exports go through."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dnerf_jax.factory import record
from dnerf_jax.factory.loading import Dataset
from dnerf_jax.factory.record import Form
from dnerf_jax.io import files
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.training import logs


@dataclasses.dataclass(frozen=True)
class View:
    """A view as it is in its shard.

    Attributes:
      own: its JSON: key, identity, view, split, attempt, z, cam2world, intrinsics.
      files: the bytes of its files, by suffix, its JSON too.
      forms: of its modalities.
    """

    own: Mapping[str, Any]
    files: Mapping[str, bytes]
    forms: Mapping[str, Form]

    def file(self, modality: str) -> bytes:
        """The file of a modality."""
        return self.files[self.forms[modality].suffix]

    def numbers(self, modality: str) -> np.ndarray:
        """The stored numbers of a modality: class ids, steps of depth. Raises ValueError: its file is damaged."""
        form = self.forms[modality]
        try:
            return record.decode(form, self.files[form.suffix])
        except ValueError as error:
            raise ValueError(f"{self.own['key']}.{form.suffix}: {error}") from error


def views(dataset: Dataset) -> Iterator[View]:
    """All views, split by split; tells in the terminal how far it is."""
    progress = logs.Progress(len(dataset), unit="view")
    for index in range(len(dataset)):
        members = dataset.files(index)
        yield View(files.parse_json(members[record.JSON].decode()), members, dataset.forms)
        progress.update(index + 1)


def require_labels(dataset: Dataset) -> LabelMap:
    """The label map of the masks. Raises ValueError: the dataset has none."""
    if "mask" not in dataset.forms or dataset.label_map is None:
        raise ValueError(
            f"{dataset.path} has no masks, which this form is about: make it with a checkpoint that has a semantic "
            "branch, and the modality mask"
        )
    return dataset.label_map
