"""What can be wrong with annotations: every check returns a list of problems, empty if all is well.

All are collected before anything is raised, so that who made a pack by hand mends it in one go. `parts` are
fields of `packs.Annotations` by name; while a pack is being read some may be absent, and are passed
over.
"""

import numbers
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.models import articulated, scenes
from dnerf_jax.models.articulated import Pose
from dnerf_jax.models.generator import Generator
from dnerf_jax.models.model import Model
from dnerf_jax.ops import cameras, images, metrics
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some

# Decibels. A view rendered again must match its image at least so well, and no other image better by more
# than the margin, which is for look-alikes. Measured on 30 heads in 3 poses, rendering blurred: 22 to 25
# against their own images and at least 2.4 less against all others; 10 to 19 against images of wrong latents,
# which the floor alone would not tell; 10 to 15 from mirrored poses.
PSNR_FLOOR = 15.0
PSNR_MARGIN = 2.0

# How masks must lie on what is rendered, where at least EMPTY of a picture is empty. Refused is a mask of which a share
# over SPILL lies beside, if another mask of the pack, or the same turned, has an IoU with it of FIT or more, and by the
# margin more than the own; or one of which a share over FAR lies beside, FAR_AREA of the picture at least. Measured on
# the 241 views of the embedded packs: own IoU 0.96 to 0.99 with at most 0.02 beside, others at most 0.01 better (a
# video's neighbours); shifted by one view 0.53 to 0.93, mirrored 0.65 to 0.91 where the head is turned by 15 degrees,
# medians of 0.08 and 0.11 beside. Partial labels, a class or all but one left out, lie on it too, and pass, as do masks
# drawn 3 pixels of 256 too large or small, or 4 beside.
EMPTY = 0.1
SPILL, FIT, FIT_MARGIN = 0.03, 0.9, 0.05
FAR, FAR_AREA = 0.25, 0.05
_SIDE = 64  # pixels at which masks are compared
_TURNS = {
    "mirrored": lambda mask: mask[:, ::-1],
    "upside down": lambda mask: mask[::-1],
    "turned by 180 degrees": lambda mask: mask[::-1, ::-1],
    "turned by 90 degrees to the left": lambda mask: np.rot90(mask),
    "turned by 90 degrees to the right": lambda mask: np.rot90(mask, -1),
    "transposed": lambda mask: mask.T,
}


def field_problems(parts: Mapping[str, Any], *, unlabelled: bool = False) -> list[str]:
    """What is wrong with the fields: types, shapes, counts, ids, latents, identities, cameras.

    unlabelled: no mask needs to have a label.
    """
    shapes = {name: np.shape(parts[name]) for name in parts if isinstance(parts[name], np.ndarray)}
    expected = _expected_shapes(shapes)
    fits, problems = [], []
    problems += [
        f"{name} is {parts[name]!r}, expected a non-empty string"
        for name in ("fingerprint", "name", "licence")
        if name in parts and not (isinstance(parts[name], str) and parts[name])
    ]
    psi = parts.get("truncation_psi", 1.0)
    if not isinstance(psi, numbers.Real) or isinstance(psi, bool) or not -1 <= psi <= 2:
        problems.append(f"truncation_psi is {psi!r:.50}, expected a number from -1 to 2")
    for name, shape in shapes.items():
        if shape and shape[1:] == expected.get(name, shape[1:]):
            fits.append(name)
        else:
            wanted = ", ".join(str(size) for size in ("N", *expected.get(name, ())))
            problems.append(f"{name} has shape {shape}, expected ({wanted})")
    if isinstance(parts.get("pose"), Pose):
        shapes["pose"] = (parts["pose"].rotations.shape or (0,))[:1]
        fits.append("pose")
    counts = {name: shapes[name][0] for name in fits}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        problems.append(f"the numbers of views must be equal and not 0, got {counts}")
        return problems
    problems += [
        f"{name} has type {parts[name].dtype}, expected uint8"
        for name in ("images", "masks")
        if name in fits and parts[name].dtype != np.uint8
    ]
    if "masks" in fits and "label_map" in parts:
        problems += _mask_problems(parts["masks"], parts["label_map"], unlabelled)
    if "z" in fits:
        problems += _latent_problems(parts["z"], parts["latent_id"] if "latent_id" in fits else None)
    if "cam2world" in fits and "intrinsics" in fits:
        problems += _camera_problems(parts["cam2world"], parts["intrinsics"])
    return problems


def model_problems(parts: Mapping[str, Any], model: Model) -> list[str]:
    """How these fields of Annotations contradict the model; those that are absent are passed over."""
    problems = []
    if "fingerprint" in parts and parts["fingerprint"] != model.fingerprint:
        problems.append(
            f"the fingerprint is {parts['fingerprint']!r}, the model's {model.fingerprint!r}: load the"
            " checkpoint that the latents are of"
        )
    if np.ndim(parts.get("z", 0)) == 2 and parts["z"].shape[1] != model.generator.config.z_dim:
        problems.append(f"latents have {parts['z'].shape[1]} numbers, the model's have {model.generator.config.z_dim}")
    resolution = model.generator.config.image_resolution
    if np.ndim(parts.get("images", 0)) == 4 and parts["images"].shape[2] != resolution:
        problems.append(
            f"images are {parts['images'].shape[2]} pixels wide, the model renders {resolution}:"
            " resize images, and masks by nearest neighbour"
        )
    articulation, pose = model.generator.config.articulation, parts.get("pose")
    if articulation is None and pose is not None:
        problems.append("the views have poses, the model has no body: load the checkpoint that they are of")
    if articulation is not None and "z" in parts and pose is None:
        problems.append("the model has a body, and the views have no poses: views.npz needs rotations and so on")
    if articulation is not None and pose is not None:
        try:
            articulated.check(articulation, pose)
        except ValueError as error:
            problems.append(str(error))
    return problems


def rendering_problems(annotations: Any, model: Model, check: int) -> list[str]:
    """Which of `check` views, evenly spread, do not show their own images or masks when they are rendered again."""
    problems = []
    count, psi = min(check, len(annotations)), annotations.truncation_psi
    masks = _small(annotations.masks) if count else None
    for view in np.unique(np.linspace(0, len(annotations) - 1, count).round().astype(int)):
        z, camera = jnp.asarray(annotations.z[view]), annotations.camera[view]
        pose = jax.tree.map(lambda x, view=view: x[view], annotations.pose)
        image, opacity = (np.asarray(part, np.float32) for part in rendered(model.generator, z, psi, camera, pose))
        problem = _image_problem(annotations, view, np.clip(image, -1, 1))
        problem = problem or mask_problem(view, _small(opacity) > 0.5, masks)
        problems += [problem] if problem else []
    return problems


def _image_problem(annotations: Any, view: int, rendered: np.ndarray) -> str:
    """Why the rendering (R, R, 3) of a view cannot be of its image, or ""."""
    psnr = [float(metrics.psnr(rendered, images.from_uint8(image))) for image in annotations.images]
    best = int(np.argmax(psnr))
    own = f"view {view}, rendered again, is at {psnr[view]:.1f} dB from its image"
    if psnr[best] > psnr[view] + PSNR_MARGIN:
        same = annotations.latent_id[best] == annotations.latent_id[view]
        cause = "cameras and images are" if same else "latents and images are"
        return (
            f"{own}, but at {psnr[best]:.1f} dB from image {best} of"
            f" {'the same' if same else 'another'} latent: {cause} out of step"
        )
    if psnr[view] < PSNR_FLOOR:
        return (
            f"{own}, expected at least {PSNR_FLOOR:.0f}: latents and images do not belong together, the cameras follow"
            f" another convention, or the images were not made with truncation_psi {annotations.truncation_psi:g}, as"
            " the pack says (EG3D's scripts make them with 0.7)"
        )
    return ""


def mask_problem(view: int, solid: np.ndarray, masks: np.ndarray) -> str:
    """Why the mask of a view cannot be of its image, or "".

    solid: (S, S) bool, where something is rendered. masks: (N, S, S) ids of all views. Pixels to ignore do not count.
    """
    if not EMPTY <= solid.mean() <= 1 - EMPTY:
        return ""  # with a background of its own the rendering does not tell
    turned = {name: turn(masks[view]) for name, turn in _TURNS.items()}
    candidates = np.concatenate([masks, np.stack(list(turned.values()))])
    known, foreground = candidates != LabelMap.IGNORE, (candidates != LabelMap.IGNORE) & (candidates != 0)
    both = (foreground & solid).sum((1, 2))
    iou = both / np.maximum((foreground | (solid & known)).sum((1, 2)), 1)
    beside = int((foreground[view] & ~solid).sum())
    spill = beside / max(int(foreground[view].sum()), 1)
    best = int(np.argmax(iou + 0.02 * (np.arange(len(iou)) >= len(masks))))  # of two causes the simpler
    if iou[best] > max(FIT, iou[view] + FIT_MARGIN) and spill > SPILL:
        other = f"the mask of view {best}" if best < len(masks) else f"the same mask {list(turned)[best - len(masks)]}"
        cause = "out of step" if best < len(masks) else "not turned alike"
        return (
            f"the mask of view {view} does not lie on what is rendered there (IoU {iou[view]:.2f}), but {other} does"
            f" ({iou[best]:.2f}): masks and images are {cause}"
        )
    if spill > FAR and beside > FAR_AREA * solid.size:
        return (
            f"{spill:.0%} of the foreground of the mask of view {view} lies where nothing is rendered: masks and images"
            " do not belong together, or the background has another id than 0"
        )
    return ""


def _small(pictures: np.ndarray) -> np.ndarray:
    """Every so many pixels of pictures (..., R, R), so that _SIDE x _SIDE or, of smaller ones, all are left."""
    size = pictures.shape[-1]
    places = ((np.arange(min(_SIDE, size)) + 0.5) * size / min(_SIDE, size)).astype(int)
    return pictures[..., places[:, None], places]


@jax.jit
def rendered(
    generator: Generator, z: jax.Array, psi: jax.Array, camera: cameras.Camera, pose: Pose | None
) -> tuple[jax.Array, jax.Array]:
    """Image (R, R, 3) and opacity (R, R) of a view, as those of packs are rendered again."""
    model = Model(generator)  # without what all models of this generator differ in: one program for them
    view = scenes.render(model, scenes.synthesize(model, z, truncation_psi=psi, pose=pose), camera)
    return view.image, view.opacity


def listed(what: str, problems: list[str], limit: int = 40) -> str:
    """The message that `what` cannot be used because of the problems."""
    return f"{what} cannot be used: \n  - " + some(problems, limit, separator="\n  - ")


def _expected_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int | str, ...]]:
    """What must follow N in the shapes, as far as images and latents say their own sizes."""
    images, z = shapes.get("images", ()), shapes.get("z", ())
    expected: dict[str, tuple[int | str, ...]] = {"cam2world": (4, 4), "intrinsics": (3, 3), "latent_id": ()}
    expected["z"] = z[1:] if len(z) == 2 and z[1] else ("z_dim",)
    if images:
        side: int | str = images[1] if len(images) > 1 else "R"
        expected |= {"images": (side, side, 3), "masks": (side, side)}
    return expected


def _mask_problems(masks: np.ndarray, label_map: LabelMap, unlabelled: bool) -> list[str]:
    problems = []
    for view, mask in enumerate(masks):
        try:
            label_map.check(mask, f"the mask of view {view}")
        except ValueError as error:
            problems.append(str(error))
    if unlabelled or problems:
        return problems
    if (masks == LabelMap.IGNORE).all():
        problems.append(
            f"none of the {len(masks)} views is labelled yet, all their pixels are {LabelMap.IGNORE} (ignore): label"
            " some first, see docs/labelling.md"
        )
    else:
        try:
            label_map.require_classes(masks)
        except ValueError as error:
            problems.append(str(error))
    return problems


def _latent_problems(z: np.ndarray, latent_id: np.ndarray | None) -> list[str]:
    if z.dtype.kind != "f":
        return [f"z has type {z.dtype}, expected floats"]
    bad = np.flatnonzero(~np.isfinite(_single(z)).all(axis=1))
    if bad.size:
        return [f"the latents of views {some(bad)} are not finite"]
    if latent_id is None:
        return []
    if latent_id.dtype.kind not in "iu":
        return [f"latent_id has type {latent_id.dtype}, expected integers"]
    negative = np.flatnonzero(latent_id.astype(np.int64) < 0)
    if negative.size:
        return [f"the latent_ids of views {some(negative)} are negative or beyond 63 bits: number latents from 0"]
    problems = []
    _, identity = np.unique(z, axis=0, return_inverse=True)
    for groups, others, text in (
        (latent_id, identity, "views {} have one latent_id, but different latents z"),
        (
            identity,
            latent_id,
            "views {} have one latent z, but different latent_ids: splits by identity would leak",
        ),
    ):
        for group in np.unique(groups):
            views = np.flatnonzero(groups == group)
            if len(np.unique(others[views])) > 1:
                problems.append(text.format(some(views)))
    return problems


def _single(array: np.ndarray) -> np.ndarray:
    """An array as it is used, in float32, where large numbers are infinite."""
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _camera_problems(cam2world: np.ndarray, intrinsics: np.ndarray) -> list[str]:
    """What is wrong with the cameras, each message once with its views; all must see the box."""
    if {cam2world.dtype.kind, intrinsics.dtype.kind} - set("fiu"):
        return [f"cam2world and intrinsics have types {cam2world.dtype} and {intrinsics.dtype}, expected numbers"]
    views: dict[str, list[int]] = {}
    for index, (pose, intrinsic) in enumerate(zip(_single(cam2world), _single(intrinsics), strict=True)):
        try:
            cameras.validate(cameras.Camera(pose, intrinsic))
        except ValueError as error:
            views.setdefault(str(error), []).append(index)
            continue
        center = intrinsic @ (pose[:3, :3].T @ -pose[:3, 3])  # The world's origin in this camera's picture.
        if center[2] <= 0:
            text = "they look away from the tri-plane box: flip OpenGL's axes with cameras.flip_opengl"
            views.setdefault(text, []).append(index)
        elif (np.abs(center[:2] / center[2] - 0.5) > 1).any():
            text = "the tri-plane box is far outside their pictures: are these world-to-camera matrices?"
            views.setdefault(text, []).append(index)
    return [f"the cameras of views {some(indices)}: {text}" for text, indices in views.items()]
