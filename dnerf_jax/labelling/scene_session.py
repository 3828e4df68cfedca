"""All that the page can ask for where a scene is edited: its views, the masks wanted there, the edits."""

import dataclasses
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.io import files
from dnerf_jax.labelling import carrying, workspace
from dnerf_jax.labelling.drafts import Draft, Drafts
from dnerf_jax.labelling.repainting import Editor
from dnerf_jax.labelling.scene_views import SceneEye
from dnerf_jax.labelling.session import described, png
from dnerf_jax.models.model import fingerprint
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.training.editing import written

_COMPARISON = "comparison.png"  # of what an edit writes, see `written`


class SceneSession:
    """One scene, the chain of those that edits made of it, one page (in any number of tabs).

    scene: its folder. out: that of masks and edits, which this process has claimed. Views are named by their numbers.
    Methods raise IndexError where there is no such view.

    Raises ValueError as `SceneEye.scene` and `Drafts`.
    """

    def __init__(self, scene: Path, out: Path, editor: Editor):
        self.eye, self.editor, self._scene = SceneEye(), editor, scene
        self._lock = threading.Lock()
        loaded = self.eye.scene(scene, editor.checkpoint)
        assert loaded.label_map is not None
        latents = {"ws": loaded.ws} | ({} if loaded.z is None else {"z": loaded.z})
        first = Draft(None, "")
        own = self._view(first).mask
        self.space = Drafts(out, fingerprint(latents), loaded.label_map, len(own))
        if not self.space.content.drafts:
            self.space.add(first, own)
        self._take_up()

    def overview(self) -> dict[str, Any]:
        """The scene, its classes, its views and edits, as JSON has it; "open" is the view that was shown last."""
        content = self.space.content
        views = [self._described(index) for index in range(len(content.drafts))]
        told = described(self._scene.resolve().name, self.space.resolution, self.space.label_map)
        return told | {"kind": "scene", "views": views, "open": content.open, "job": self.editor.state()}

    def image(self, index: int) -> bytes:
        """The picture of a view, PNG."""
        return png(self._view(self.space.draft(index)).image)

    def edges(self, index: int) -> np.ndarray:
        """Where depth jumps in a view, uint8 (R, R), see `carrying.jumps`."""
        return carrying.jumps(self._view(self.space.draft(index)).depth_z)

    def prediction(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The scene's own mask in a view, which an edit starts from, and the branch's doubts, uint8 (R, R) each."""
        seen = self._view(self.space.draft(index))
        return seen.mask, seen.doubt

    def turned(self, index: int, yaw: float, pitch: float) -> tuple[np.ndarray, np.ndarray]:
        """The scene of a view from another camera: picture uint8 (R, R, 3), its own mask there (R, R).

        yaw, pitch: radians on the generator's orbit.
        """
        seen = self._view(self._turned(index, yaw, pitch))
        return seen.image, seen.mask

    def add(self, index: int, yaw: float, pitch: float) -> int:
        """Makes what `turned` shows a view to paint on; returns its number."""
        draft = self._turned(index, yaw, pitch)
        return self.space.add(draft, self._view(draft).mask)

    def open(self, index: int) -> None:
        """Notes that a view is shown: the page opens with it after a restart."""
        self.space.open(index)

    def edit(self, index: int, made_from: str) -> None:
        """Begins to edit the scene of a view by the mask that is painted there.

        made_from: the version of the mask that is meant. Raises ConflictError: it is another by now. ValueError: an
        edit is going on, or nothing is wanted that is not there.
        """
        mask, draft = self.space.mask(index), self.space.draft(index)
        workspace.require_made_from(mask, made_from, index)
        own = self._view(draft).mask
        if (np.where(mask == LabelMap.IGNORE, own, mask) == own).all():
            raise ValueError("nothing is painted that the scene has not already: paint what it should become")
        with self._lock:
            self.space.begin(self.editor.start(self._folder(draft.scene), draft.view, mask), index)

    def job(self) -> dict[str, Any]:
        """How far the edit is, see `Editor.state`; a scene that is done has its view from then on, and that is open."""
        with self._lock:
            told = self.editor.state()
            if told["state"] == "done":
                self._take_up()
        return told

    def comparison(self, index: int) -> bytes:
        """Before and after of the edit that made the scene of a view, PNG. Raises IndexError: none did."""
        number = self.space.draft(index).scene
        if number is None:
            raise IndexError("the first scene was made by no edit")
        return (self._edit(number) / _COMPARISON).read_bytes()

    def stop(self) -> None:
        """Ends an edit that is going on."""
        self.editor.runs.stop()

    def close(self) -> None:
        """Ends an edit that is going on."""
        self.stop()

    def _take_up(self) -> None:
        """Gives every scene that an edit has made a view, that of the edit; also those of a server that was killed."""
        for edit in self.space.content.edits:
            content = self.space.content
            there = any(draft.scene == edit.number for draft in content.drafts)
            if not there and (self._edit(edit.number) / written.RESULT).exists():
                draft = dataclasses.replace(content.drafts[edit.draft], scene=edit.number)
                self.space.add(draft, self._view(draft).mask)

    def _described(self, index: int) -> dict[str, Any]:
        draft, mask = self.space.draft(index), self.space.mask(index)
        loaded = self.eye.scene(self._scene, self.editor.checkpoint)
        orbit = self.eye.orbit(loaded, draft.view)
        yaw, pitch = (round(float(np.degrees(x))) for x in (orbit.yaw, orbit.pitch))
        begun = next((edit.draft for edit in self.space.content.edits if edit.number == draft.scene), None)
        digits = zlib.crc32(f"{self.space.path.resolve()} {self.space.content.latents} {draft}".encode())
        return {
            "key": f"{index:04d}_{digits:08x}",
            "scene": draft.scene,
            "own": not draft.view,
            "yaw": yaw,
            "pitch": pitch,
            "version": workspace.version(mask),
            "from": begun,
            "result": None if draft.scene is None else self._result(draft.scene),
        }

    def _result(self, number: int) -> dict[str, Any]:
        made = files.read_json(self._edit(number) / written.RESULT, "what an edit came to")
        after = made["after"]
        return {
            "iou": [made["before"]["iou"], after["iou"]],
            "per_class": after["per_class"],
            "outside": after["outside"],
            "identity": after["identity"],
            "seconds": made["seconds"],
            "doubts": made["doubts"],
        }

    def _turned(self, index: int, yaw: float, pitch: float) -> Draft:
        yaw, pitch = (round(float(np.degrees(x)), 3) + 0.0 for x in (yaw, pitch))  # and no -0
        return Draft(self.space.draft(index).scene, f"{yaw:g},{pitch:g}")

    def _view(self, draft: Draft) -> Any:
        folder = self._folder(draft.scene)
        return self.eye.view(folder, draft.view, self.editor.checkpoint_of(folder))

    def _edit(self, number: int) -> Path:
        return self.editor.runs.workdir / f"{number:03}"

    def _folder(self, number: int | None) -> Path:
        return self._scene if number is None else self._edit(number) / "scene"
