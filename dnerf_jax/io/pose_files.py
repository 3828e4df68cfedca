"""Motions in files: poses of a template for every frame, as JSON or out of recordings (BVH).

    {"bones": ["root", "upperarm01.L"],              those that are turned; others are as in the bind pose
     "rotations": [[[0, 0, 0], [0, 0, 0.8]], ...],   (F, bones, 3), each an axis times an angle in radians
     "translation": [[0, 0, 0], ...],                (F, 3) world units; may be left out: none
     "scale": 1,                                     or (F,); may be left out: 1
     "shape": [0, ...],                              (S,) or (F, S); may be left out: the mean body
     "fps": 30}                                      frames per second; may be left out

Each bone turns about its joint, against its parent, in the axes of the bind pose's world, as in
`models.articulated.Pose`. What a BVH becomes is said in `retargeting`.
"""

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from dnerf_jax.io import bvh, files, retargeting
from dnerf_jax.models import articulated
from dnerf_jax.models.articulated import ArticulationConfig, Pose
from dnerf_jax.ops import overlaps
from dnerf_jax.ops.messages import did_you_mean, some

SUFFIXES = (".json", ".bvh")
FRAMES = bvh.FRAMES  # at most
OVERLAP = 0.05  # share of a body that may be inside of itself before that is said
_LOOKED_AT = 200  # frames, evenly spread
_FIELDS = ("bones", "rotations", "translation", "scale", "shape", "fps")
_DIGITS = 8  # after the point


@dataclasses.dataclass(frozen=True)
class Motion:
    """Poses (F,) of a template, NumPy float32, and how many there are in a second, None where the file does not say."""

    pose: Pose
    fps: float | None


def load(
    path: str | os.PathLike,
    config: ArticulationConfig,
    template: Mapping[str, Any],
    *,
    joints: Mapping[str, str | None] | None = None,
    up: str = "y",
    in_place: bool = False,
) -> Motion:
    """Reads a motion of this template, by the suffix of its file.

    Warns of frames in which more than OVERLAP of the body is inside of itself: they can be rendered as all others.

    Args:
      template: its arrays, see `articulated.abstract_template`; without its faces no frame is looked at.
      joints: of a BVH, which bone a joint moves, or None, where its name does not say: {"Belly": "spine03"}.
      up: "y" or "z", the axis of a BVH's world: lying bodies that should stand have the other one.
      in_place: without the way over the ground: the root stays above where it is in the first frame, and a camera that
        looks at the origin sees it throughout.

    Raises ValueError, always naming the file: it has another suffix, is damaged, has unknown bones or joints (which are
    listed), no frame or more than FRAMES, or poses that `articulated.check` refuses.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} has the suffix {path.suffix!r}, expected a motion: {' or '.join(SUFFIXES)}")
    if (joints or up != "y") and suffix != ".bvh":
        raise ValueError(f"{path} is no BVH: `joints` and `up` are for those; a JSON has the template's bones and axes")
    content = files.read_json(path, "a motion") if suffix == ".json" else bvh.read(path)
    fps: float | None
    try:
        if isinstance(content, bvh.Recording):
            pose, fps = retargeting.retarget(content, config, template, joints, up=up), 1 / content.frame_time
        else:
            pose, fps = from_data(content, config)
        articulated.check(config, pose)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a motion: {error}") from error
    if in_place:
        over = np.array([False, True, False])
        pose = dataclasses.replace(pose, translation=np.where(over, pose.translation, pose.translation[:1]))
    if "faces" in template and (said := _overlapping(config, template, pose)):
        warnings.warn(f"{path}: {said}", stacklevel=2)
    return Motion(pose, fps)


def save(path: str | os.PathLike, config: ArticulationConfig, pose: Pose, fps: float | None = None) -> None:
    """Writes poses (F,), or one, as JSON; whole or not at all.

    Raises ValueError as `articulated.check`, for another suffix than .json, and for what `load` would refuse.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() != ".json":
        raise ValueError(f"{path} has the suffix {path.suffix!r}, expected .json: no other form is written")
    text = files.to_json(to_data(config, pose, fps), indent=None)
    if len(text) > files.TEXT_LIMIT:
        raise ValueError(f"{path} would have more than {files.TEXT_LIMIT >> 20} MiB: save fewer frames in a file")
    files.write_text(path, text)


def to_data(config: ArticulationConfig, pose: Pose, fps: float | None = None) -> dict[str, Any]:
    """Poses (F,), or one, as they are in JSON. Raises ValueError as `save`."""
    articulated.check(config, pose)
    if len(pose.batch_shape) > 1:
        raise ValueError(f"the pose has the leading dimensions {pose.batch_shape}, expected (F,): one motion")
    frames = pose.batch_shape[0] if pose.batch_shape else 1
    _require_frames(frames)
    matrices = np.asarray(pose.rotations, np.float64).reshape(-1, 3, 3)
    turned = Rotation.from_matrix(matrices).as_rotvec().reshape(frames, len(config.bones), 3)
    parts = {
        "rotations": turned,
        "translation": np.reshape(pose.translation, (frames, 3)),
        "scale": np.reshape(pose.scale, (frames,)),
        "shape": np.reshape(pose.shape, (frames, config.num_shapes)),
    }
    made = {name: np.asarray(x, np.float64).round(_DIGITS).tolist() for name, x in parts.items()}
    return {"bones": list(config.bones)} | made | ({} if fps is None else {"fps": _fps(fps)})


def from_data(content: Mapping[str, Any], config: ArticulationConfig) -> tuple[Pose, float | None]:
    """The poses (F,), NumPy float32, of what `to_data` makes, and the frames per second.

    Raises ValueError, naming the field: it is missing, unknown, or has other numbers than were expected; bones are
    unknown, or named twice.
    """
    unknown = [f"{name!r:.80}{did_you_mean(name, _FIELDS)}" for name in content if name not in _FIELDS]
    absent = [name for name in _FIELDS[:2] if name not in content]
    if unknown or absent:
        raise ValueError(
            f"it lacks {' and '.join(absent)}; it has [{some(content)}]"
            if absent
            else f"it has unknown fields: {some(unknown)}"
        )
    bones = content["bones"]
    if not isinstance(bones, list) or not bones or not all(isinstance(bone, str) for bone in bones):
        raise ValueError(f"its bones are {bones!r:.80}, expected a list of at least one name")
    strange = [bone for bone in bones if bone not in config.bones]
    if strange:
        raise ValueError(
            f"it has bones that the template has not: [{some(strange, 40)}]; the template has"
            f" [{some(config.bones, 40)}]"
        )
    if len(set(bones)) != len(bones):
        raise ValueError(f"its bones [{some(sorted({b for b in bones if bones.count(b) > 1}))}] are named twice")
    count = content["rotations"]
    frames = len(count) if isinstance(count, list) else 0
    _require_frames(frames)
    vectors = _numbers("rotations", count, (frames, len(bones), 3))
    length = np.linalg.norm(vectors, axis=-1)
    if not (length <= 2 * np.pi + 1e-3).all():
        frame, bone = np.unravel_index(np.argmax(length), length.shape)
        raise ValueError(
            f"its rotations turn {bones[bone]!r} in frame {frame} by {length[frame, bone]:g}, expected an axis times an"
            " angle in radians, of at most a full turn: are these degrees?"
        )
    rotations = np.tile(np.eye(3), (frames, len(config.bones), 1, 1))
    numbers = [config.bones.index(bone) for bone in bones]
    rotations[:, numbers] = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(frames, -1, 3, 3)
    sizes = {"translation": (3,), "scale": (), "shape": (config.num_shapes,)}
    usual = {"translation": np.zeros(3), "scale": np.ones(()), "shape": np.zeros(config.num_shapes)}
    others = []
    for name, size in sizes.items():
        every = (size,) if name != "translation" else ()  # one for all frames
        given = _numbers(name, content[name], (frames, *size), *every) if name in content else usual[name]
        others.append(np.broadcast_to(given, (frames, *size)))
    fps = _fps(content["fps"]) if content.get("fps") is not None else None
    return Pose(*(x.astype(np.float32) for x in (rotations, *others))), fps


def _overlapping(config: ArticulationConfig, template: Mapping[str, Any], pose: Pose) -> str:
    """Says in which frames the body is inside of itself, or nothing."""
    frames = len(pose.translation)
    looked_at = np.unique(np.linspace(0, frames - 1, min(frames, _LOOKED_AT)).round().astype(int))
    # Operation by operation: as one program, dozens of bones take longer to compile than to move.
    body = articulated.body(config, template, jax.tree.map(lambda x: x[looked_at], pose))
    share = np.array([overlaps.share_inside(*one) for one in zip(body.posed, body.faces, strict=True)])
    found = looked_at[share > OVERLAP]
    if not len(found):
        return ""
    of = f" of {len(looked_at)} that were looked at" if len(looked_at) < frames else ""
    return (
        f"over {OVERLAP:.0%} of the body is inside of itself in frames {some(found.tolist(), 12)}{of}, at most"
        f" {share.max():.0%} in {looked_at[share.argmax()]}"
    )


def _require_frames(frames: int) -> None:
    if not 1 <= frames <= FRAMES:
        raise ValueError(f"there are rotations of {frames} frames, expected a list of 1 to {FRAMES}")


def _numbers(name: str, value: Any, *shapes: tuple[int, ...]) -> np.ndarray:
    expected = " or ".join(map(str, shapes))
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        raise ValueError(f"{name} is {value!r:.80}, expected numbers of shape {expected}") from None
    if array.dtype.kind not in "iuf" or array.shape not in shapes:
        found = f"has the shape {array.shape}" if array.dtype.kind in "iuf" else f"is {value!r:.80}"
        raise ValueError(f"{name} {found}, expected numbers of shape {expected}")
    if not (np.abs(array.astype(np.float64)) <= bvh.LARGEST).all():
        raise ValueError(f"{name} has numbers that are not finite or beyond {bvh.LARGEST:g}")
    return array.astype(np.float64)


def _fps(value: Any) -> float:
    fps = float(_numbers("fps", value, ()))
    if not 0 < fps <= 1e6:
        raise ValueError(f"fps is {fps:g}, expected frames per second, greater than 0")
    return fps
