"""What can be wrong with annotations: every check returns a list of problems, empty if all is well.

All are collected before anything is raised, so that who made a pack by hand mends it in one go. `parts` are
fields of `packs.Annotations` by name; while a pack is being read some may be absent, and are passed
over.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.models import scenes
from dnerf_jax.models.generator import Generator
from dnerf_jax.models.model import Model
from dnerf_jax.ops import cameras, images, metrics
from dnerf_jax.ops.messages import some

# Decibels. A view rendered again must match its image at least so well, and no other image better by more
# than the margin, which is for look-alikes. Measured on 30 heads in 3 poses, rendering blurred: 22 to 25
# against their own images and at least 2.4 less against all others; 10 to 19 against images of wrong latents,
# which the floor alone would not tell; 10 to 15 from mirrored poses.
PSNR_FLOOR = 15.0
PSNR_MARGIN = 2.0


def field_problems(parts: Mapping[str, Any]) -> list[str]:
    """What is wrong with the fields: types, shapes, counts, ids, latents, identities, cameras."""
    shapes = {name: np.shape(parts[name]) for name in parts if isinstance(parts[name], np.ndarray)}
    expected = _expected_shapes(shapes)
    fits, problems = [], []
    problems += [
        f"{name} is {parts[name]!r}, expected a non-empty string"
        for name in ("fingerprint", "name", "licence")
        if name in parts and not (isinstance(parts[name], str) and parts[name])
    ]
    for name, shape in shapes.items():
        if shape and shape[1:] == expected.get(name, shape[1:]):
            fits.append(name)
        else:
            wanted = ", ".join(str(size) for size in ("N", *expected.get(name, ())))
            problems.append(f"{name} has shape {shape}, expected ({wanted})")
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
        for view, mask in enumerate(parts["masks"]):
            try:
                parts["label_map"].check(mask, f"the mask of view {view}")
            except ValueError as error:
                problems.append(str(error))
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
    return problems


def rendering_problems(annotations: Any, model: Model, check: int) -> list[str]:
    """Which of `check` views, evenly spread, do not show their own images when they are rendered again."""
    problems = []
    count = min(check, len(annotations))
    for view in np.unique(np.linspace(0, len(annotations) - 1, count).round().astype(int)):
        rendered = _render_image(model.generator, jnp.asarray(annotations.z[view]), annotations.camera[view])
        rendered = np.clip(np.asarray(rendered, np.float32), -1, 1)
        psnr = [float(metrics.psnr(rendered, images.from_uint8(image))) for image in annotations.images]
        best = int(np.argmax(psnr))
        own = f"view {view}, rendered again, is at {psnr[view]:.1f} dB from its image"
        if psnr[best] > psnr[view] + PSNR_MARGIN:
            same = annotations.latent_id[best] == annotations.latent_id[view]
            cause = "cameras and images are" if same else "latents and images are"
            problems.append(
                f"{own}, but at {psnr[best]:.1f} dB from image {best} of"
                f" {'the same' if same else 'another'} latent: {cause} out of step"
            )
        elif psnr[view] < PSNR_FLOOR:
            problems.append(
                f"{own}, expected at least {PSNR_FLOOR:.0f}: latents and images do not belong together,"
                " the cameras follow another convention, or the images were made with truncation"
            )
    return problems


@jax.jit
def _render_image(generator: Generator, z: jax.Array, camera: cameras.Camera) -> jax.Array:
    model = Model(generator)  # without what all models of this generator differ in: one program for them
    return scenes.render(model, scenes.synthesize(model, z), camera).image


def listed(what: str, problems: list[str], limit: int = 40) -> str:
    """The message that `what` cannot be used because of the problems."""
    return f"{what} cannot be used: \n  - " + some(problems, limit, separator="\n  - ")


def _expected_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int | str, ...]]:
    """What must follow N in the shapes, as far as images and latents say their own sizes."""
    images, z = shapes.get("images", ()), shapes.get("z", ())
    expected: dict[str, tuple[int | str, ...]] = {"cam2world": (4, 4), "intrinsics": (3, 3), "latent_id": ()}
    expected["z"] = z[1:] if len(z) == 2 else ("z_dim",)
    if images:
        side: int | str = images[1] if len(images) > 1 else "R"
        expected |= {"images": (side, side, 3), "masks": (side, side)}
    return expected


def _latent_problems(z: np.ndarray, latent_id: np.ndarray | None) -> list[str]:
    if z.dtype.kind != "f":
        return [f"z has type {z.dtype}, expected floats"]
    bad = np.flatnonzero(~np.isfinite(z).all(axis=1))
    if bad.size:
        return [f"the latents of views {some(bad)} are not finite"]
    if latent_id is None:
        return []
    if latent_id.dtype.kind not in "iu":
        return [f"latent_id has type {latent_id.dtype}, expected integers"]
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


def _camera_problems(cam2world: np.ndarray, intrinsics: np.ndarray) -> list[str]:
    """What is wrong with the cameras, each message once with its views; all must see the box."""
    views: dict[str, list[int]] = {}
    for index, (pose, intrinsic) in enumerate(zip(cam2world, intrinsics, strict=True)):
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
