"""Masks painted over a scene, and over those that edits made of it: what is wanted, in a folder, view by view.

    edits.json        the scene that it began with, the views, in which of them each edit was painted, what is open
    masks/0000.png    of each view the wanted mask, ids
    000/, 001/, ...   edits, as dnerf_jax.edit writes them: 000/scene is a scene, which may be edited again

Every file is written whole or not at all, at every stroke and step; so whoever opens the folder again goes on.
"""

import dataclasses
import threading
from pathlib import Path

import numpy as np

from dnerf_jax.io import files, png, schema
from dnerf_jax.labelling.workspace import require_made_from, version
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.ranges import Natural

NAME = "edits.json"


@dataclasses.dataclass(frozen=True)
class Draft:
    """A view, see `requests.view`, of the scene that the edit of this number made; None is the first scene."""

    scene: Natural | None
    view: str


@dataclasses.dataclass(frozen=True)
class Edit:
    """The edit of this number, begun in the view of number `draft`."""

    number: Natural
    draft: Natural


@dataclasses.dataclass(frozen=True)
class Content:
    """What edits.json says. latents: fingerprint of those of the first scene. open: the number of the view that is."""

    latents: str
    drafts: tuple[Draft, ...] = ()
    edits: tuple[Edit, ...] = ()
    open: Natural = 0

    def __post_init__(self) -> None:
        last = len(self.drafts) - 1
        if self.drafts and max(self.open, *(edit.draft for edit in self.edits), 0) > last:
            raise ValueError(f"there are views 0 to {last}, and others are named")
        numbers = {edit.number for edit in self.edits}
        if any(draft.scene is not None and draft.scene not in numbers for draft in self.drafts):
            raise ValueError("a view is of an edit that is not listed")


class Drafts:
    """The folder, which this process has claimed; its methods may be called by several threads.

    latents: fingerprint of the latents of the scene that the folder is of. label_map, resolution: of its masks.

    Raises ValueError: the folder is of another scene, or damaged.
    """

    def __init__(self, path: Path, latents: str, label_map: LabelMap, resolution: int):
        self.path, self.label_map, self.resolution = path, label_map, resolution
        self._lock = threading.RLock()
        self._content = Content(latents)
        if (path / NAME).exists():
            self._content = schema.as_dataclass(
                files.read_json(path / NAME, "edits of a scene"), Content, str(path / NAME)
            )
        if self._content.latents != latents:
            raise ValueError(
                f"{path} has edits of another scene: name a new folder, --out DIR, or the scene they are of"
            )
        self._masks = [
            png.load_mask(self._file(i), label_map, size=resolution) for i in range(len(self._content.drafts))
        ]

    @property
    def content(self) -> Content:
        """What edits.json says now."""
        with self._lock:
            return self._content

    def mask(self, index: int) -> np.ndarray:
        """The wanted mask (R, R) of a view. Raises IndexError: there is no such view."""
        with self._lock:
            return self._masks[self._known(index)]

    def draft(self, index: int) -> Draft:
        """The view of this number. Raises IndexError: there is none."""
        with self._lock:
            return self._content.drafts[self._known(index)]

    def save(self, index: int, mask: np.ndarray, made_from: str) -> str:
        """As `Workspace.save`."""
        with self._lock:
            there = self.mask(index)
            if not (mask == there).all():
                require_made_from(there, made_from, index)
                png.save_mask(self._file(index), mask, self.label_map)
                self._masks[index] = mask
            return version(mask)

    def add(self, draft: Draft, mask: np.ndarray) -> int:
        """A view with its mask, or the one that is there already; returns its number, and it is open from then on."""
        with self._lock:
            drafts = self._content.drafts
            if draft in drafts:
                index = drafts.index(draft)
            else:
                index = len(drafts)
                png.save_mask(self._file(index), mask, self.label_map)
                self._masks[index:] = [mask]
                drafts = (*drafts, draft)
            self._write(drafts=drafts, open=index)
            return index

    def open(self, index: int) -> None:
        """Notes that a view is shown, so that it is after a restart. Raises IndexError: there is no such view."""
        with self._lock:
            if self._known(index) != self._content.open:
                self._write(open=index)

    def begin(self, number: int, index: int) -> None:
        """Notes that an edit has begun of what is painted in a view."""
        with self._lock:
            self._write(edits=(*self._content.edits, Edit(number, self._known(index))))

    def _known(self, index: int) -> int:
        if not 0 <= index < len(self._content.drafts):
            raise IndexError(f"there is no view {index}, expected 0 to {len(self._content.drafts) - 1}")
        return index

    def _file(self, index: int) -> Path:
        return self.path / "masks" / f"{index:04}.png"

    def _write(self, **changes: object) -> None:
        content = dataclasses.replace(self._content, **changes)  # type: ignore[arg-type]
        files.write_json(self.path / NAME, schema.as_json(content))
        self._content = content
