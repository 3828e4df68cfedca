"""The poses of a dataset's bodies: poses.json, a motion (see `io.pose_files`), and a frame of it for every view.

A dataset is a function of its checkpoint and its plan, so it keeps the poses themselves: a source that is moved, or
changed, changes nothing. dataset.json has their number and a fingerprint, the JSON of every view its frame ("pose").
Datasets of generators without a body, or of bodies that stay in their canonical pose, have none of it.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dnerf_jax.factory.plan import Plan
from dnerf_jax.io import files, pose_files
from dnerf_jax.models import articulated
from dnerf_jax.models.articulated import ArticulationConfig, Pose
from dnerf_jax.models.model import Model

NAME = "poses.json"
_SAME = 1e-5  # radians and world units by which the same poses may differ that two machines read


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
    """Poses (P,), NumPy float32, and the text of the file that they are the content of."""

    pose: Pose
    text: str

    def __len__(self) -> int:
        return len(self.pose.translation)

    def at(self, numbers: Sequence[int] | np.ndarray) -> Pose:
        """The poses (...) of these numbers (...). Raises ValueError: there are no such frames."""
        chosen = np.asarray(numbers)
        if chosen.dtype.kind not in "iu" or not ((chosen >= 0) & (chosen < len(self))).all():
            raise ValueError(f"{NAME} has the frames 0 to {len(self) - 1}, not {chosen.ravel().tolist()!r:.100}")
        return jax.tree.map(lambda x: x[chosen], self.pose)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the text."""
        return fingerprint(self.text)

    def told(self) -> dict[str, Any]:
        """What dataset.json says of them."""
        return {"frames": len(self), "fingerprint": self.fingerprint}


def chosen(plan: Plan, model: Model) -> Frames | None:
    """The poses that a plan takes for a model; None: there are no bodies, or all are in the canonical one.

    Raises ValueError: the generator has no body, and the plan poses; the source is no motion of this body; in the order
    "frames", there are more or fewer than views.
    """
    config, wanted = model.generator.config.articulation, plan.poses
    if config is None:
        if wanted.source or wanted.order != "drawn":
            raise ValueError(
                f"poses are wanted (source {wanted.source!r:.200}, order {wanted.order!r}), and this checkpoint's"
                " generator has no body that could take any: leave them out, or name one of bodies"
            )
        return None
    template, count = model.generator.variables["template"], config.num_poses
    fps = None
    if wanted.source:
        motion = pose_files.load(wanted.source, config, template, in_place=wanted.in_place)
        pose, fps, count = motion.pose, motion.fps, len(motion.pose.translation)
    if wanted.order == "frames" and count != plan.views_per_identity:
        of = wanted.source or "the checkpoint"
        raise ValueError(
            f'poses.order is "frames", one for each view: {of} has {count} poses, and views_per_identity is'
            f" {plan.views_per_identity}: expected as many"
        )
    if not count:
        return None
    if not wanted.source:
        pose = jax.tree.map(np.asarray, articulated.known(config, template, np.arange(count)))
    try:
        text = files.to_json(pose_files.to_data(config, pose, fps), indent=None)
    except ValueError as error:
        raise ValueError(f"the checkpoint's own poses are none: {error}") from error
    if len(text) > files.TEXT_LIMIT:
        raise ValueError(f"{NAME} would have more than {files.TEXT_LIMIT >> 20} MiB: take a motion of fewer frames")
    return _of(text, config)


def settled(frames: Frames | None, config: ArticulationConfig | None, out: Path) -> Frames | None:
    """The same as they are in the folder of a dataset already, where another machine read them otherwise by a digit."""
    if frames is None or config is None:
        return frames
    try:
        there = read(out, config)
    except ValueError:
        return frames
    pairs = zip(jax.tree.leaves(there.pose), jax.tree.leaves(frames.pose), strict=True)
    return there if all(a.shape == b.shape and np.allclose(a, b, rtol=0, atol=_SAME) for a, b in pairs) else frames


def write(frames: Frames | None, out: Path) -> None:
    """Writes poses.json into the folder of a dataset, or removes it where there are no poses; as it is, it stays."""
    path = out / NAME
    if frames is None:
        path.unlink(missing_ok=True)
    elif not path.exists() or path.read_bytes() != frames.text.encode():
        files.write_text(path, frames.text)


def read(out: Path, config: ArticulationConfig, expected: str = "") -> Frames:
    """The poses of a dataset's folder. expected: their fingerprint.

    Raises ValueError: they are missing, damaged, or others than expected.
    """
    text = read_text(out, expected)
    try:
        return _of(text, config)
    except ValueError as error:
        raise ValueError(f"{out / NAME} cannot be read as the poses of a dataset: {error}") from error


def read_text(out: Path, expected: str = "") -> str:
    """The text of the poses of a dataset's folder. Raises ValueError: it is missing, or another than expected."""
    path = out / NAME
    text = files.read_text(path, "the poses of a dataset")
    if expected and fingerprint(text) != expected:
        raise ValueError(
            f"{path} has other poses than dataset.json says (fingerprint {fingerprint(text)}, expected {expected:.50}):"
            " restore it"
        )
    return text


def fingerprint(text: str) -> str:
    """16 hexadecimal digits of the text of poses."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _of(text: str, config: ArticulationConfig) -> Frames:
    pose, _ = pose_files.from_data(files.parse_json(text), config)
    articulated.check(config, pose)
    return Frames(pose, text)
