"""Annotation packs: a folder of labelled views of a generator's scenes, checked as a whole when it is loaded.

    pack.json             {"schema_version": 1, "name", "fingerprint", "resolution", "licence", "truncation_psi"}
    labelmap.json         ids, names and colours of the classes (see ops.labels)
    images/0000.png ...   8-bit RGB, square, all of one size
    masks/0000.png ...    single-channel ids of the same size, 0 = background, 255 = ignore
    views.npz             z (N, z_dim) float, cam2world (N, 4, 4), intrinsics (N, 3, 3), latent_id (N,) int; of bodies
                          also rotations (N, B, 3, 3), translation (N, 3), scale (N,), shape (N, S), see
                          `models.articulated.Pose`

Anyone can make such a folder by hand. View i is image i, mask i and row i of views.npz. Cameras are OpenCV
camera-to-world in the world frame, whose units are the generator's (its tri-planes' box has the side
`rendering.box_warp`), intrinsics divided by the image size (see cameras). latent_id numbers the identities from 0:
views of one latent share it, so that splits by identity are possible. fingerprint is that of the checkpoint whose
latents these are (`dnerf_jax.load(...).fingerprint`). truncation_psi is that of all its scenes, 0.7 where EG3D's images
were labelled as its scripts make them; 1 where it is left out. Masks whose palettes an editor has numbered anew are
read by their colours.

The one mistake that ruins everything silently is images out of step with latents or cameras, or masks with images. So
`verify` renders some of the views again and compares; `python -m dnerf_jax.pack --show` draws masks over images.
"""

import dataclasses
import functools
import json
import numbers
import os
import pathlib
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.io import arrays, files, png
from dnerf_jax.io import pack_checks as checks
from dnerf_jax.models.articulated import Pose
from dnerf_jax.models.model import Model
from dnerf_jax.ops import cameras
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some

SCHEMA_VERSION = 1
PIXELS = 2**32  # of all images together: some 16,000 of 512 x 512, which take 17 GB with their masks
_VIEWS = ("z", "cam2world", "intrinsics", "latent_id")
_ARRAYS = ("images", "masks", *_VIEWS)
_POSES = tuple(field.name for field in dataclasses.fields(Pose))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Annotations:
    """N labelled views; the arrays are converted to these types, all else is checked by save, load, verify.

    images: (N, R, R, 3) uint8 RGB.
    masks: (N, R, R) uint8 ids, 255 = ignore; label_map says what they are.
    z: (N, z_dim) float32, the latents.
    cam2world, intrinsics: (N, 4, 4) and (N, 3, 3) float32, see `cameras`.
    latent_id: (N,) int64, equal for views of one latent.
    fingerprint: of the checkpoint that the latents are of. name, licence: of the pack, for people.
    truncation_psi: with which the latents become the scenes that were labelled (`scenes.synthesize`).
    pose: (N) of bodies, else None.
    """

    images: np.ndarray
    masks: np.ndarray
    z: np.ndarray
    cam2world: np.ndarray
    intrinsics: np.ndarray
    latent_id: np.ndarray
    label_map: LabelMap
    fingerprint: str
    name: str
    licence: str = "not stated"
    truncation_psi: float = 1.0
    pose: Pose | None = None

    def __post_init__(self) -> None:
        if isinstance(self.pose, Pose):
            object.__setattr__(self, "pose", jax.tree.map(lambda x: np.asarray(x, np.float32), self.pose))
        for name in _ARRAYS:
            array = np.asarray(getattr(self, name))
            if name in _VIEWS and array.dtype.kind in "fiu":
                array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
            object.__setattr__(self, name, array)
        if isinstance(self.truncation_psi, numbers.Real):
            object.__setattr__(self, "truncation_psi", float(self.truncation_psi))

    def __repr__(self) -> str:
        latents, classes = len(np.unique(self.latent_id)), self.label_map.num_classes
        return f"<Annotations {self.name!r:.80}: images {self.images.shape} of {latents} latents, {classes} classes>"

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> "Annotations":
        """The views chosen by a slice, a mask (N,) or a list of indices, never a single index."""
        if np.ndim(index) == 0 and not isinstance(index, slice):
            raise ValueError(f"the index is {index!r}, expected a slice, mask or list of views; for one, [{index!r}]")
        index = index if isinstance(index, slice) else np.asarray(index, dtype=None if len(index) else int)
        chosen = {name: getattr(self, name)[index] for name in _ARRAYS}
        return dataclasses.replace(self, pose=jax.tree.map(lambda x: x[index], self.pose), **chosen)

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.images.shape[2]

    @property
    def camera(self) -> cameras.Camera:
        """The N cameras."""
        return cameras.Camera(jnp.asarray(self.cam2world), jnp.asarray(self.intrinsics))


def select(annotations: Annotations, latent_ids: Iterable[int]) -> Annotations:
    """All views of the given latents, in the pack's order: how to split by identity, never by view.

    Raises ValueError on ids that the pack does not have.
    """
    wanted = np.asarray(list(latent_ids), dtype=np.int64)
    absent = np.setdiff1d(wanted, annotations.latent_id)
    if absent.size:
        have = np.unique(annotations.latent_id)
        raise ValueError(f"the pack {annotations.name!r} has no latents {some(absent)}; it has {some(have)}")
    return annotations[np.isin(annotations.latent_id, wanted)]


def save(path: str | os.PathLike, annotations: Annotations, *, replace: bool = False, unlabelled: bool = False) -> None:
    """Writes a pack, whole or not at all, after the same checks that `load` makes without a model.

    unlabelled: see `load`.

    Raises ValueError listing all problems, or if there is a folder with content already and `replace` is False.
    """
    problems = checks.field_problems(vars(annotations), unlabelled=unlabelled)
    if problems:
        raise ValueError(checks.listed(f"the annotations for {path}", problems))
    with files.atomic_folder(path, replace=replace) as folder:
        (folder / "images").mkdir()
        (folder / "masks").mkdir()
        for index in range(len(annotations)):
            name = file_name(index)
            png.save_image(folder / "images" / name, annotations.images[index], optimize=True)
            png.save_mask(folder / "masks" / name, annotations.masks[index], annotations.label_map)
        write_views(folder, annotations)
        png.save_label_map(folder / "labelmap.json", annotations.label_map)
        description = {
            "schema_version": SCHEMA_VERSION,
            "name": annotations.name,
            "fingerprint": annotations.fingerprint,
            "resolution": annotations.resolution,
            "licence": annotations.licence,
            "truncation_psi": annotations.truncation_psi,
        }
        files.write_text(folder / "pack.json", json.dumps(description, indent=1, ensure_ascii=False) + "\n")


def write_views(folder: pathlib.Path, annotations: Annotations) -> None:
    """Writes the latents, cameras and poses of views, views.npz, into a pack's folder."""
    poses = {} if annotations.pose is None else {name: getattr(annotations.pose, name) for name in _POSES}
    np.savez(folder / "views.npz", **{name: getattr(annotations, name) for name in _VIEWS}, **poses)


def load(
    path: str | os.PathLike, model: Model | None = None, *, check: int = 4, unlabelled: bool = False
) -> Annotations:
    """Reads a pack and checks all of it; with a model, checks also that the pack belongs to it (see `verify`).

    path: the folder, or the name of an embedded pack.

    check: how many views to render again, 0 for none.

    unlabelled: it is being labelled, masks may be all ignore.

    Raises ValueError listing all problems at once, each naming its file or views: files missing or too many,
    unreadable or of the wrong kind, sizes and counts that differ, unknown ids, latents not finite or of
    another size, identities that contradict the latents, cameras that are none or look away, another
    checkpoint, no class in any mask, images out of step, masks out of step. Warns of classes that no pixel has, and of
    masks whose palettes were numbered anew.
    """
    path = files.located(path, "pack.json")
    parts, problems = _read(path)
    problems += checks.field_problems(parts, unlabelled=unlabelled)
    if model is not None:
        problems += checks.model_problems(parts, model)
    if problems:
        raise ValueError(checks.listed(f"the pack {path}", problems))
    annotations = Annotations(**parts)
    if model is not None:
        problems = checks.rendering_problems(annotations, model, check)
        if problems:
            raise ValueError(checks.listed(f"the pack {path}", problems))
    counts = annotations.label_map.counts(annotations.masks)
    unseen = [name for name, count in zip(annotations.label_map.names, counts, strict=True) if not count]
    if unseen and not unlabelled:
        warnings.warn(
            f"no pixel of the pack {path} has the classes {some(unseen)}: nothing is known of them", stacklevel=2
        )
    return annotations


def verify(annotations: Annotations, model: Model, *, check: int = 4) -> None:
    """Checks that these annotations are of this model.

    Compared are the fingerprint, the size of the latents and the resolution. Then `check` views, evenly
    spread, are rendered at their own latents and cameras. A rendering must match its image with a PSNR of at
    least 15 dB, and no other image of the pack may match it better by more than 2 dB; the message says which
    view, its PSNR, and the likely cause. Where the generator leaves the background empty, what is rendered must not
    be covered much better by the mask of another view, or by the view's own mirrored or turned, and most of a mask's
    foreground must lie on it.

    Raises ValueError listing all problems.
    """
    parts = vars(annotations)
    problems = checks.field_problems(parts) + checks.model_problems(parts, model)
    problems = problems or checks.rendering_problems(annotations, model, check)
    if problems:
        raise ValueError(checks.listed(f"the annotations {annotations.name!r}", problems))


def _read(path: pathlib.Path) -> tuple[dict[str, Any], list[str]]:
    """The fields of Annotations that could be read, and what is wrong with the files."""
    if not path.is_dir():
        known = some(files.embedded_names("pack.json"), 9)
        raise ValueError(f"{path} is no folder, expected a pack (pack.json, images/, ...), or one of {known}")
    problems: list[str] = []
    parts, resolution = _read_description(path / "pack.json", problems)
    parts |= _read_views(path / "views.npz", problems)
    count = len(parts["z"]) if np.ndim(parts.get("z", 0)) and parts["z"].size else None
    images = _read_pictures(path / "images", png.load_image, count, resolution, problems)
    if images is not None:
        parts["images"] = images
    try:
        parts["label_map"] = png.load_label_map(path / "labelmap.json")
    except ValueError as error:
        problems.append(str(error))
        return parts, problems
    renumbered: list[str] = []
    load_mask = functools.partial(png.load_mask, label_map=parts["label_map"], renumbered=renumbered)
    masks = _read_pictures(path / "masks", load_mask, count, resolution, problems)
    if masks is not None:
        parts["masks"] = masks
    if renumbered:
        # Of the line that called `load`.
        warnings.warn(f"the palettes of {path / 'masks'}, {some(renumbered)}, are {png.RENUMBERED}", stacklevel=3)
    return parts, problems


def _read_description(path: pathlib.Path, problems: list[str]) -> tuple[dict[str, Any], int | None]:
    wanted = {"schema_version": int, "name": str, "fingerprint": str, "resolution": int, "licence": str}
    try:
        description = files.read_json(path, "the description of a pack")
    except ValueError as error:
        problems.append(str(error))
        return {}, None
    wrong = [key for key, kind in wanted.items() if type(description.get(key)) is not kind]
    if wrong:
        kinds = ", ".join(f"{key} ({wanted[key].__name__})" for key in wrong)
        problems.append(f"pack.json lacks {kinds}, or has them of another type")
    elif description["schema_version"] != SCHEMA_VERSION:
        problems.append(
            f"pack.json has schema version {description['schema_version']}, expected {SCHEMA_VERSION}:"
            " update dnerf_jax if the pack is newer"
        )
    names = ("name", "fingerprint", "licence", "truncation_psi")
    parts = {key: description[key] for key in names if key in description and key not in wrong}
    return parts, None if "resolution" in wrong else description["resolution"]


def _read_views(path: pathlib.Path, problems: list[str]) -> dict[str, Any]:
    try:
        views = arrays.load_arrays(path)
    except ValueError as error:
        problems.append(str(error))
        return {}
    absent = [name for name in _VIEWS if name not in views]
    if absent:
        problems.append(f"views.npz lacks the arrays {absent}, it has {some(sorted(views))}")
    posed = [name for name in _POSES if name in views]
    if posed and len(posed) < len(_POSES):
        absent = [name for name in _POSES if name not in views]
        problems.append(f"views.npz has {some(posed)} of poses, which also need {some(absent)}")
    poses = {"pose": Pose(**{name: views[name] for name in _POSES})} if len(posed) == len(_POSES) else {}
    return {name: views[name] for name in _VIEWS if name in views} | poses


def _read_pictures(
    folder: pathlib.Path,
    reader: Callable[..., np.ndarray],
    count: int | None,
    resolution: int | None,
    problems: list[str],
) -> np.ndarray | None:
    """0000.png ... in one array, or None, with all that is wrong added to `problems`."""
    before = len(problems)
    found = {entry.name for entry in folder.glob("*.png")}
    expected = {file_name(index) for index in range(len(found) if count is None else count)}
    for names, what in ((expected - found, "lacks"), (found - expected, "has the unexpected")):
        if names:
            problems.append(f"{folder.name}/ {what} {some(sorted(names))}: expected {len(expected)} from 0000.png")
    pictures: list[np.ndarray] = []
    for name in sorted(found & expected):
        try:
            pictures.append(reader(folder / name, size=resolution))
        except ValueError as error:
            problems.append(str(error))
            continue
        resolution = resolution or pictures[0].shape[0]
        if len(found) * resolution**2 > PIXELS:
            sizes = f"{len(found)} pictures of {resolution} x {resolution} pixels"
            problems.append(f"{folder.name}/ has {sizes}, more than are held at once: make several packs")
            break
    return np.stack(pictures) if len(problems) == before and pictures else None


def file_name(index: int) -> str:
    """The name of a view's image, and of its mask."""
    return f"{index:04d}.png"
