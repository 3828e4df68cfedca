"""Photos, masks and cameras as the command line names them, read into what is inverted.

One object is inverted at a time: several photos are several views of it, frames of a video too. What was done to a
photo, and what about it the generator has never seen, is said in notes, sentences that begin with the file's name.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from dnerf_jax.io import camera_files, face_crops, photos, png
from dnerf_jax.models.model import Model
from dnerf_jax.ops import orbiting
from dnerf_jax.ops.orbiting import Orbit
from dnerf_jax.training import frozen
from dnerf_jax.training.inversion.objectives import Target

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".ppm")
_BACKGROUND = 0  # of every label map, what is no object
Crop = str | tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """What is to be inverted: the target of V views, the names of their files, and what was noted while reading them.

    known: orbits (V,) of the cameras, or None where they are to be found.
    """

    target: Target
    names: tuple[str, ...]
    known: Orbit | None
    notes: tuple[str, ...]


def read(
    model: Model, image: str = "", mask: str = "", camera: str = "", *, crop: str = "none", class_balance: float = 0.0
) -> Given:
    """Reads the target from files, at the model's resolution.

    Args:
      image, mask: names of files with commas between them, or a folder, whose pictures are taken by name; "" for none.
        Where there are both, there are as many of each, in the same order.
      camera: a file of `io.camera_files`, or "": the cameras are not known.
      crop: how all are cut to squares: "none", "centre", "auto" (see `io.face_crops`), or a box in pixels, as
        "left,top,right,bottom".
      class_balance: see `plan.Settings`.

    Raises ValueError, naming the file: there is nothing to invert; a file cannot be read, or is not what it should be
    (see `io.photos` and `io.camera_files`); photos and masks differ in number; a mask, and the model has no branch;
    a camera that does not see the subject, or stands in it. ImportError: "auto" without the extra `faces`.
    """
    photo_files, mask_files = files_of(image, "image"), files_of(mask, "mask")
    if not photo_files and not mask_files:
        raise ValueError("there is nothing to invert: pass --image, --mask, or both")
    if mask_files and (model.semantic is None or model.label_map is None):
        raise ValueError(
            f"{mask_files[0]} is inverted through the semantic branch, and the checkpoint has none: train one with"
            " python -m dnerf_jax.train, and pass its checkpoint"
        )
    if photo_files and mask_files and len(photo_files) != len(mask_files):
        raise ValueError(
            f"there are {len(photo_files)} photos and {len(mask_files)} masks, expected a mask for every photo, in the"
            " same order, or photos or masks alone"
        )
    names = tuple(str(path) for path in photo_files or mask_files)
    crops, notes = _crops(model, photo_files, len(names), crop)
    masks = _masks(model, mask_files, crops)
    images, weights = None, np.ones((len(names), *[model.generator.config.image_resolution] * 2), np.float32)
    if photo_files:
        images, weights, said = _photos(model, photo_files, crops, masks)
        notes += said
    return Given(
        Target(
            None if images is None else jnp.asarray(images),
            None if masks is None else jnp.asarray(masks),
            jnp.asarray(weights),
            _class_weights(model, masks, class_balance),
        ),
        names,
        _known(model, camera, names, crops) if camera else None,
        tuple(notes),
    )


def files_of(text: str, what: str) -> list[pathlib.Path]:
    """The files that a flag names: see `read`. Raises ValueError: there is no such file, or no picture in a folder."""
    path = pathlib.Path(text)
    if not text:
        return []
    if os.path.isdir(path):
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != ".")
        if not found:
            raise ValueError(f"the folder {text} has no pictures ({', '.join(SUFFIXES)}): name another for --{what}")
        return found
    named = [path] if os.path.exists(path) else [pathlib.Path(part.strip()) for part in text.split(",") if part.strip()]
    absent = [str(file) for file in named if not os.path.isfile(file)]
    if absent or not named:
        raise ValueError(
            f"--{what} is {text!r:.200}: there is no file {(absent or [text])[0]!r:.200}. Name a file, several with"
            " commas between them, or a folder"
        )
    return named


def _crops(model: Model, photo_files: Sequence[pathlib.Path], views: int, crop: str) -> tuple[list[Crop], list[str]]:
    """How every view is cut, and what was noted while finding heads."""
    if crop == "auto":
        if not photo_files:
            raise ValueError("--crop auto finds the face in a photo, and there are only masks: cut these to squares")
        found, notes = [], []
        for path in photo_files:
            picture = png.read_picture(path, white=model.generator.config.rendering.white_back)
            head = face_crops.find_head(picture, source=str(path))
            found.append(head.box)
            notes += [f"{path.name}: {note}" for note in head.notes]
        return list(found), notes
    if "," in crop:
        numbers = crop.split(",")
        if not all(number.strip().lstrip("-").isdecimal() for number in numbers):
            raise ValueError(f"--crop is {crop!r:.80}, expected four whole numbers: left,top,right,bottom in pixels")
        return [tuple(int(number) for number in numbers)] * views, []
    if crop not in ("none", "centre"):
        raise ValueError(f"--crop is {crop!r:.80}, expected none, centre, auto, or left,top,right,bottom in pixels")
    return [crop] * views, []


def _masks(model: Model, mask_files: Sequence[pathlib.Path], crops: Sequence[Crop]) -> np.ndarray | None:
    """The masks (V, R, R), or None."""
    if not mask_files or model.label_map is None:
        return None
    size = model.generator.config.image_resolution
    pairs = zip(mask_files, crops, strict=True)
    return np.stack([photos.read_mask(path, model.label_map, size, crop=crop) for path, crop in pairs])


def _photos(
    model: Model, photo_files: Sequence[pathlib.Path], crops: Sequence[Crop], masks: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Images (V, R, R, 3) in [-1, 1], weights (V, R, R), and what is to be said of them."""
    config = model.generator.config
    white, size = config.rendering.white_back, config.image_resolution
    images, weights, notes = [], [], []
    for v, (path, crop) in enumerate(zip(photo_files, crops, strict=True)):
        photo = photos.read_photo(path, size, white=white, crop=crop)
        image, said = photo.image, list(photo.notes)
        framing = photos.framing_notes(image, white=white)
        if framing and masks is not None and (masks[v] == _BACKGROUND).any():
            # Behind the object a generator of cut-out objects shows one colour, and so the mask cuts it out.
            image = np.where((masks[v] == _BACKGROUND)[..., None], np.float32(1.0 if white else -1.0), image)
            framing = photos.framing_notes(image, white=white)
            said.append(f"what its mask calls background is shown {'white' if white else 'black'}, as the model has it")
        images.append(image)
        weights.append(np.ones((size, size), np.float32) if photo.weights is None else photo.weights)
        notes += [f"{path.name}: {note}" for note in (*said, *framing)]
    return np.stack(images), np.stack(weights), notes


def _class_weights(model: Model, masks: np.ndarray | None, balance: float) -> jnp.ndarray | None:
    if masks is None or not balance or model.semantic is None:
        return None
    return jnp.asarray(frozen.class_weights(masks, model.semantic.config.num_classes, balance))


def _known(model: Model, camera: str, names: Sequence[str], crops: Sequence[Crop]) -> Orbit:
    """The orbits (V,) of the cameras in a file, of what is cut out of the pictures."""
    options = model.generator.config.rendering
    if isinstance(crops[0], str):
        found = camera_files.read_cameras(camera, names=names, crop=crops[0])
    else:
        each = [camera_files.read_cameras(camera, names=[n], crop=c) for n, c in zip(names, crops, strict=True)]
        found = type(each[0])(*(jnp.concatenate(parts) for parts in zip(*map(_matrices, each), strict=True)))
    try:
        camera_files.require_sight(found, options.box_warp)
        return orbiting.of_camera(found, pivot=options.avg_camera_pivot).spread()
    except ValueError as error:
        raise ValueError(f"{camera}: {error}") from error


def _matrices(camera: camera_files.Camera) -> tuple[jnp.ndarray, jnp.ndarray]:
    return camera.cam2world, camera.intrinsics
