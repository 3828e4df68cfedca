"""What is given out to a label tool: the pictures of a pack, and what is labelled so far."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dnerf_jax.io import label_folders, packs
from dnerf_jax.io.packs import Annotations
from dnerf_jax.labelling import naming
from dnerf_jax.ops import outlines
from dnerf_jax.ops.labels import LabelMap


@dataclasses.dataclass(frozen=True)
class Task:
    """A pack on its way out.

    Attributes:
      pack: its views. folder: where it is. out: the empty folder to fill.
    """

    pack: Annotations
    folder: Path
    out: Path

    @property
    def label_map(self) -> LabelMap:
        """Of the masks."""
        return self.pack.label_map

    @property
    def ignore(self) -> str:
        """The name of pixels without a label, among labelled ones."""
        return naming.ignore_name(self.label_map)

    @property
    def side(self) -> int:
        """Pixels of the pictures, in both directions."""
        return self.pack.resolution

    def labels(self) -> list[tuple[int, str, tuple[int, int, int]]]:
        """Ids, names and colours of all that is drawn; with "ignore" where a labelled view has such pixels."""
        entries = zip(range(self.label_map.num_classes), self.label_map.names, self.label_map.colors, strict=True)
        return [*entries, *self._ignored()]

    def _ignored(self) -> list[tuple[int, str, tuple[int, int, int]]]:
        labelled = label_folders.labelled(self.pack)
        red, green, blue = self.label_map.palette[LabelMap.IGNORE].tolist()
        some = bool((labelled.masks == LabelMap.IGNORE).any())
        return [(LabelMap.IGNORE, self.ignore, (red, green, blue))] * some

    def name(self, index: int) -> str:
        """The name of a class, or of what has none."""
        return self.ignore if index == LabelMap.IGNORE else self.label_map.names[index]

    def views(self, folder: str = "") -> Iterator[tuple[int, str, np.ndarray | None]]:
        """Number, key and mask of every view, None where it is not labelled; its picture is put into out/folder."""
        (self.out / folder).mkdir(parents=True, exist_ok=True)
        done = label_folders.has_labels(self.pack)
        for index in range(len(self.pack)):
            key = naming.key(self.pack, index)
            shutil.copyfile(self.folder / "images" / packs.file_name(index), self.out / folder / f"{key}.png")
            yield index, key, self.pack.masks[index] if done[index] else None


def layers(mask: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """What to draw over the background, see `outlines.layers`; of a mask that is all background this, once."""
    side = len(mask)
    whole = np.array([[0, 0], [side, 0], [side, side], [0, side]])
    return list(outlines.layers(mask, 0)) or [(0, whole)]
