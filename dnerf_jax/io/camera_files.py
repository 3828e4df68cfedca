"""Cameras of photographs, from the JSON files that people have.

    ours              {"cam2world": 4 x 4, "intrinsics": 3 x 3}, one, a list of them, or by name: a view's JSON of a
                      dataset, cameras.json of a world
    EG3D's numbers    25 of them, or a list of such lists; {"labels": [[name, [25 numbers]], ...]}: its dataset.json
    transforms.json   of nerfstudio and instant-ngp: {"frames": [{"file_path", "transform_matrix"}, ...]} with fl_x,
                      fl_y, cx, cy, w, h or camera_angle_x, of all frames or of each

All but the last have intrinsics divided by the image size. transforms.json has pixels, of pictures that need not be
square: its cameras are cut as the photos are. The frame is the generator's (see `ops.cameras`); nothing is aligned.
"""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from dnerf_jax.io import files, photos
from dnerf_jax.ops import cameras
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.messages import some

_WHAT = "cameras"
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
_SMALL = 0.05  # of the picture's side that the subject's box should fill at least
_FORMS = (
    'expected {"cam2world", "intrinsics"}, a list or named ones of them, EG3D\'s 25 numbers or its {"labels"}, or a '
    'transforms.json with "frames"'
)


def read_cameras(
    path: str | os.PathLike, *, names: Sequence[str] | None = None, crop: str | Sequence[int] = "none"
) -> Camera:
    """Reads the cameras of a file: () where it has one by itself, else (V,) in the file's order.

    Args:
      names: of the photos whose cameras are wanted, (V,) in their order; folders and suffixes do not count. Where a
        file has no names, it has as many cameras as there are photos.
      crop: how the photos are cut to squares, see `photos.read_photo`: a box in pixels, or "centre", which the cameras
        of transforms.json follow. Of others the pictures' sizes are not known, and a box is refused.

    Raises ValueError, always naming the file: it is no JSON, of no form that is known, has no such cameras, pictures
    that are no squares without a crop, lenses with distortion, or cameras that `cameras.validate` refuses.
    """
    content = files.read_json(path, _WHAT, kind=object)
    try:
        found, alone = _cameras(content, crop, str(path))
        if names is not None:
            found = _of_names(found, names)
        elif alone:
            return _joined([camera for _, camera in found])[0]
        return _joined([camera for _, camera in found])
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as {_WHAT}: {error}") from error


def require_sight(camera: Camera, box_side: float) -> None:
    """Raises ValueError unless cameras (...) see the subject: from outside, before them, in the picture, not far off.

    box_side: of the generator's tri-planes around the origin, world units: `rendering.box_warp`. A camera nearer to the
    origin than half of it stands in the subject.
    """
    pose = np.asarray(camera.cam2world, np.float64).reshape(-1, 4, 4)
    distance = np.linalg.norm(pose[:, :3, 3], axis=-1)
    if (distance < box_side / 2).any():
        index = int(distance.argmin())
        raise ValueError(
            f"camera {index} of {distance.size} stands {distance[index]:.3g} world units from the origin, inside of the"
            f" subject, whose box has the side {box_side:g}, expected at least {box_side / 2:g}: are these metres or"
            " millimetres, or world-to-camera matrices?"
        )
    intrinsics = np.broadcast_to(np.asarray(camera.intrinsics, np.float64), (*camera.batch_shape, 3, 3))
    middle = -np.einsum("nji,nj->ni", pose[:, :3, :3], pose[:, :3, 3])  # the origin, as the cameras see it
    behind = middle[:, 2] <= 0
    seen = np.einsum("nij,nj->ni", intrinsics.reshape(-1, 3, 3), middle / np.where(behind, 1.0, middle[:, 2])[:, None])
    size = intrinsics.reshape(-1, 3, 3)[:, 0, 0] * box_side / np.where(behind, 1.0, middle[:, 2])
    beside = np.abs(seen[:, :2] - 0.5).max(axis=-1) > (1 + size) / 2
    for wrong, what in (
        (
            behind,
            "looks away from the subject: its axes are OpenCV's, +y down and +z forward; OpenGL's, +y up and +z"
            " backward, are those of a transforms.json",
        ),
        (
            beside,
            "has the subject beside its picture: are its intrinsics divided by the image size, and is the origin"
            " of its world the middle of the subject?",
        ),
        (
            size < _SMALL,
            f"sees the subject smaller than {_SMALL:.0%} of the picture: are these world units, of which the"
            f" subject's box has {box_side:g}?",
        ),
    ):
        if wrong.any():
            raise ValueError(f"camera {int(wrong.argmax())} of {len(wrong)} {what}")


def _cameras(content: Any, crop: str | Sequence[int], source: str) -> tuple[list[tuple[str | None, Camera]], bool]:
    """Names (None: it has none) and cameras of a file's content, and whether it is one camera by itself."""
    if isinstance(content, Mapping) and "frames" in content:
        return _of_transforms(content, crop, source), False
    if not isinstance(crop, str):
        raise ValueError(
            f"the photos are cut by the box {tuple(crop)}, but the file does not say their size in pixels: give the"
            " cameras of the pictures that were cut, or a transforms.json with w and h"
        )
    if isinstance(content, Mapping) and "labels" in content:
        labels = content["labels"]
        pairs = isinstance(labels, list) and all(isinstance(x, list) and len(x) == 2 for x in labels)
        if not labels or not pairs:
            raise ValueError(f"its labels are {labels!r:.80}, expected a list of [name, 25 numbers]")
        return [(str(name), _named(str(name), _of_numbers, numbers)) for name, numbers in labels], False
    if isinstance(content, Mapping) and {"cam2world", "intrinsics"} & content.keys():
        return [(None, _of_matrices(content))], True
    if isinstance(content, Mapping) and content:
        return [(name, _named(name, _of_matrices, one)) for name, one in content.items()], False
    if isinstance(content, list) and content:
        if all(isinstance(number, int | float) for number in content):
            return [(None, _of_numbers(content))], True
        return [(None, _named(f"entry {i}", _of_any, one)) for i, one in enumerate(content)], False
    raise ValueError(f"it holds {content!r:.80}; {_FORMS}")


def _named(name: str, read: Callable[[Any], Camera], content: Any) -> Camera:
    try:
        return read(content)
    except ValueError as error:
        raise ValueError(f"{name:.100}: {error}") from error


def _of_any(content: Any) -> Camera:
    return _of_numbers(content) if isinstance(content, list) else _of_matrices(content)


def _of_numbers(content: Any) -> Camera:
    return cameras.from_eg3d(_numbers("an EG3D camera", content, (25,)))


def _of_matrices(content: Any) -> Camera:
    if not isinstance(content, Mapping) or not {"cam2world", "intrinsics"} <= content.keys():
        has = f"the keys [{some(content)}]" if isinstance(content, Mapping) else f"{content!r:.80}"
        raise ValueError(f"it has {has}; {_FORMS}")
    pose = _numbers("cam2world", content["cam2world"], (4, 4))
    camera = Camera(jnp.asarray(pose), jnp.asarray(_numbers("intrinsics", content["intrinsics"], (3, 3))))
    cameras.validate(camera)
    return camera


def _numbers(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r:.80}, expected {shape} numbers") from None
    if array.shape != shape:
        raise ValueError(f"{name} has the shape {array.shape}, expected {shape}")
    return array


def _of_transforms(content: Mapping, crop: str | Sequence[int], source: str) -> list[tuple[str | None, Camera]]:
    frames = content["frames"]
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, Mapping) for frame in frames):
        raise ValueError(f"its frames are {frames!r:.80}, expected a list of objects, one for each picture")
    found: list[tuple[str | None, Camera]] = []
    for index, frame in enumerate(frames):
        name = str(frame.get("file_path", f"frame {index}"))
        whole = {**content, **frame}
        found.append((name, _named(name, lambda one: _of_frame(one, crop, source), whole)))
    return found


def _of_frame(frame: Mapping, crop: str | Sequence[int], source: str) -> Camera:
    """The camera of a frame with what all frames share, of the square that is cut out of its picture."""
    lens = [key for key in _DISTORTION if frame.get(key)]
    if lens or frame.get("camera_model", "OPENCV") not in ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE"):
        raise ValueError(
            f"its lens is no pinhole ({frame.get('camera_model', 'distortion')}: {', '.join(lens) or 'other model'}):"
            " undistort the pictures first, with colmap image_undistorter for example"
        )
    if "transform_matrix" not in frame:
        raise ValueError(f"it lacks the transform_matrix; it has [{some(frame)}]")
    pose = _numbers("transform_matrix", frame["transform_matrix"], (4, 4))
    if "fl_x" not in frame and "camera_angle_x" not in frame:
        raise ValueError("it says no focal length, expected fl_x in pixels, or camera_angle_x in radians")
    # Sizes in pixels; without them pictures are squares, and lengths are in image sizes.
    size = {key: _positive(key, frame[key]) for key in ("w", "h") if key in frame}
    if ("fl_x" in frame or not isinstance(crop, str)) and len(size) < 2:
        raise ValueError("it has lengths in pixels, but not both w and h, the size of its pictures")
    width, height = size.get("w", 1.0), size.get("h", size.get("w", 1.0))
    left, top, side = 0.0, 0.0, width
    if len(size) == 2:
        box = photos.square_box(round(width), round(height), crop, f"a picture of {source}")
        left, top, side = box[0], box[1], box[2] - box[0]
    if "fl_x" in frame:
        fx = _positive("fl_x", frame["fl_x"])
    else:
        fx = width / (2 * np.tan(_positive("camera_angle_x", frame["camera_angle_x"]) / 2))
    fy = _positive("fl_y", frame["fl_y"]) if "fl_y" in frame else fx
    cx, cy = (_numbers(key, frame.get(key, middle / 2), ()) for key, middle in (("cx", width), ("cy", height)))
    k = np.array([[fx, 0, cx - left], [0, fy, cy - top], [0, 0, side]], np.float32) / np.float32(side)
    camera = Camera(cameras.flip_opengl(pose), jnp.asarray(k))
    cameras.validate(camera)
    return camera


def _positive(name: str, value: Any) -> float:
    number = float(_numbers(name, value, ()))
    if not 0 < number < np.inf:
        raise ValueError(f"{name} is {value!r:.40}, expected a positive number")
    return number


def _of_names(found: list[tuple[str | None, Camera]], names: Sequence[str]) -> list[tuple[str | None, Camera]]:
    """The cameras of these photos, in their order."""
    if all(name is None for name, _ in found):
        if len(found) != len(names):
            raise ValueError(f"it has {len(found)} cameras without names, and there are {len(names)} photos")
        return found
    known = [pathlib.PurePath(str(name)).stem for name, _ in found]
    wanted = [pathlib.PurePath(name).stem for name in names]
    absent = [name for name, stem in zip(names, wanted, strict=True) if known.count(stem) != 1]
    if absent:
        raise ValueError(f"it has not exactly one camera for [{some(absent)}]; it has [{some(known)}]")
    return [found[known.index(stem)] for stem in wanted]


def _joined(found: list[Camera]) -> Camera:
    return Camera(jnp.stack([x.cam2world for x in found]), jnp.stack([x.intrinsics for x in found]))
