"""How well a semantic branch labels views whose labels are known, and how consistently any others.

The latents and cameras of a pack are known, so what is measured is the branch (and the backbone's fit), not an
inversion.
"""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.io import files, png
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models import articulated, scenes
from dnerf_jax.models.model import Model
from dnerf_jax.models.scenes import Scene, View
from dnerf_jax.ops import consistency, images, metrics
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.viz import pictures

# The embedded packs under the names of the paper's table 1.
EMBEDDED = {"single": "heads_test", "video": "heads_video"}
BODIES = {"single": "bodies_test", "motion": "bodies_motion"}
# Beside the names of packs.
CONSISTENCY = "consistency in 3D"
OVER_POSES = "consistency over poses"
YAW, BODIES_YAW = 30.0, 180.0  # degrees to either side of frontal within which scenes are compared
_FOLLOWED = 200  # surface points of each view


def embedded_packs(model: Model) -> dict[str, str]:
    """The embedded packs to score a model of the heads or the bodies world on."""
    return BODIES if model.generator.config.articulation else EMBEDDED


def score_pack(
    model: Model,
    pack: Annotations,
    *,
    picture: str | os.PathLike | None = None,
    show: int = 6,
    rows_at_once: int | None = None,
) -> dict[str, Any]:
    """Scores of one pack: {"miou", "accuracy", "per_class", ...}, PSNR of the images; optionally a picture.

    Args:
      picture: path of a PNG with `show` views spread over the pack, one row each: image, rendering, label,
        prediction, and where they differ.
      rows_at_once: see `scenes.render`.

    Raises ValueError: the model has no semantic branch, or one with other classes.
    """
    label_map = require_labels(model, pack)
    counts = np.zeros((label_map.num_classes,) * 2, np.int64)
    shown = set(np.linspace(0, len(pack) - 1, min(show, len(pack))).round().astype(int))
    rows, psnr, latent, current, camera = [], [], None, None, pack.camera
    for i in np.argsort(pack.latent_id, kind="stable"):
        if current is None or pack.latent_id[i] != latent:
            latent = pack.latent_id[i]
            current = _synthesize(model, pack.z[i], truncation_psi=pack.truncation_psi)
        if pack.pose is not None:
            current = _repose(model, current, jax.tree.map(lambda x, i=i: x[i], pack.pose))
        view = _render(model, current, camera[i], rows_at_once=rows_at_once)
        mask, image = np.asarray(view.mask), np.clip(view.image, -1, 1)
        counts += np.asarray(metrics.confusion(pack.masks[i], mask, label_map.num_classes), np.int64)
        psnr.append(float(metrics.psnr(image, images.from_uint8(pack.images[i]))))
        if i in shown:
            label, prediction = label_map.colorize(pack.masks[i]), label_map.colorize(mask)
            rendering = images.to_uint8(image, span=(-1, 1))
            differ = pictures.difference_picture(pack.masks[i], mask, rendering)
            rows.append([pack.images[i], rendering, label, prediction, differ])
    if picture is not None:
        columns = ["image", "rendering", "label", "prediction", "difference"]
        png.save_image(picture, pictures.sheet(rows, column_labels=columns))
    return metrics.scores(counts, label_map.names) | {"views": len(pack), "psnr": float(np.mean(psnr))}


def measure_agreement(
    model: Model, *, scenes_seen: int = 12, views: int = 6, yaw: float | None = None, **options: Any
) -> dict[str, dict[str, Any]]:
    """How consistent the labels of a model's own scenes are: what scores have beside those of packs, by name.

    Of scenes that stay as they are `measure_consistency`; of bodies `measure_followed`, between the views of one pose,
    and, of about as many views, between all poses of the template.

    yaw: degrees; None is YAW, and of bodies all around. options: those of both.
    """
    articulation = model.generator.config.articulation
    if not articulation:
        yaw = YAW if yaw is None else yaw
        return {CONSISTENCY: measure_consistency(model, scenes_seen=scenes_seen, views=views, yaw=yaw, **options)}
    options["yaw"] = BODIES_YAW if yaw is None else yaw
    found = {CONSISTENCY: measure_followed(model, latents=scenes_seen, views=views, **options)}
    if articulation.num_poses > 1:
        latents = -(-scenes_seen * views // articulation.num_poses)
        found[OVER_POSES] = measure_followed(model, latents=latents, **options)
    return found


def measure_consistency(
    model: Model,
    *,
    scenes_seen: int = 12,
    views: int = 6,
    yaw: float = YAW,
    truncation_psi: float = 1.0,
    rows_at_once: int | None = None,
) -> dict[str, Any]:
    """How consistent the labels of a model's own scenes are in 3D: what `consistency.shares` has, and of what views.

    Every scene is of a latent of its own, seen from random cameras of the generator's orbit within +-yaw degrees of
    frontal, and labels are warped by the rendered depth: they need not be right to agree. The latents are the same for
    all models with such latents.

    Args:
      rows_at_once: see `scenes.render`.

    Raises ValueError: the model has no semantic branch.
    """
    label_map = _require_branch(model)
    counts: Any = 0
    for index in range(scenes_seen):
        of_latent, of_cameras = jax.random.split(jax.random.fold_in(jax.random.key(0), index))
        scene = _synthesize(model, _latent(model, of_latent), truncation_psi=truncation_psi)
        camera = _cameras(model, of_cameras, views, yaw)
        seen = [_render(model, scene, camera[v], rows_at_once=rows_at_once) for v in range(views)]
        masks, distance = (
            np.stack([np.asarray(x) for x in part]) for part in zip(*((s.mask, s.distance) for s in seen), strict=True)
        )
        counts = counts + consistency.confusion(masks, distance, camera, label_map.num_classes)
    made_of = {"scenes": scenes_seen, "views": views, "yaw": yaw}
    return consistency.shares(counts, label_map.names) | made_of


def measure_followed(
    model: Model,
    *,
    latents: int = 2,
    views: int | None = None,
    yaw: float = BODIES_YAW,
    truncation_psi: float = 1.0,
    rows_at_once: int | None = None,
) -> dict[str, Any]:
    """How far surface points of bodies keep their labels: what `consistency.shares` has of any two views.

    Every latent is in one of its template's poses, seen from random cameras within +-yaw degrees of frontal; or,
    without a number of views, in all of these poses, each seen by one such camera. Points that are seen, evenly spread,
    go to the canonical world and from there into every pose; where a view sees them (`consistency.sightings`, which
    does not take a limb's other side for them), its label is compared with theirs in all other views.

    - "usual": the share of sightings whose label is the one that most sightings of the point have.
    - "points": how many were followed, of how many "latents", "poses" and "views" each.

    Raises ValueError: the model has no semantic branch, or no body that has poses.
    """
    label_map, config = _require_branch(model), model.generator.config.articulation
    if config is None or not config.num_poses:
        raise ValueError("this generator has no poses of a body to compare: it is not articulated, or keeps none")
    template, count = model.generator.variables["template"], views or config.num_poses
    found = []
    for index in range(latents):
        of_latent, of_cameras, of_pose = jax.random.split(jax.random.fold_in(jax.random.key(1), index), 3)
        made = _synthesize(model, _latent(model, of_latent), truncation_psi=truncation_psi)
        camera = _cameras(model, of_cameras, count, yaw)
        pose = jax.random.randint(of_pose, (), 0, config.num_poses)
        numbers = [pose] * count if views else range(count)
        posed = [_repose(model, made, articulated.known(config, template, number)) for number in numbers]
        masks, distance, shown = [], [], []
        for scene, one in zip(posed, camera, strict=True):
            view = _render(model, scene, one, rows_at_once=rows_at_once)
            masks.append(np.asarray(view.mask))
            distance.append(np.asarray(view.distance))
            shown.append(np.asarray(_shown(model, scene, view)))
        every = np.stack(shown).reshape(-1, 3)
        every = every[np.isfinite(every[:, 0])]
        chosen = every[np.linspace(0, len(every) - 1, _FOLLOWED * count).astype(int)] if len(every) else every
        there = np.stack([np.asarray(_place(model, scene, chosen)) for scene in posed])
        found.append(consistency.sightings(there, chosen, np.stack(masks), np.stack(distance), np.stack(shown), camera))
    labels = np.concatenate(found)
    told = consistency.shares(consistency.recalled(labels, label_map.num_classes), label_map.names, angles=())
    del told["by_angle"]
    of = {"latents": latents, "poses": 1 if views else count, "views": count, "yaw": yaw, "points": len(labels)}
    return told | {"usual": consistency.usual(labels, label_map.num_classes)} | of


def require_labels(model: Model, pack: Annotations) -> LabelMap:
    """The label map that a model and a pack share. Raises ValueError: the model has none, or another."""
    label_map = _require_branch(model)
    if label_map.names != pack.label_map.names:
        raise ValueError(
            f"The checkpoint predicts {label_map.names}, the pack {pack.name!r} has {pack.label_map.names}: "
            "evaluate on a pack with the label map that the branch was trained on."
        )
    return pack.label_map


def write(scores: dict[str, dict[str, Any]], out: Path, *, agreement: dict[str, dict[str, Any]] | None = None) -> None:
    """Writes the scores of packs by name to scores.json in the folder `out`, and prints a line per pack.

    agreement: of views of the model's own scenes, as `measure_agreement` has it: written beside them.
    """
    agreement = agreement or {}
    files.write_json(out / "scores.json", scores | agreement, indent=2)
    for name, score in scores.items():
        print(
            f"{name:8s} mIoU {score['miou']:.4f} ({score['classes_seen']} of {len(score['per_class'])} classes)  "
            f"accuracy {score['accuracy']:.4f}  "
            f"image PSNR {score['psnr']:.2f} dB  ({score['views']} views)"
        )
    for name, found in agreement.items():
        print(f"{name}: {consistency.describe(found)}")


def _require_branch(model: Model) -> LabelMap:
    if model.semantic is None or model.label_map is None:
        raise ValueError("This checkpoint has no semantic branch: train one with dnerf_jax.train first.")
    return model.label_map


def _latent(model: Model, key: jax.Array) -> jax.Array:
    return jax.random.normal(key, (model.generator.config.z_dim,), "float32")


def _cameras(model: Model, key: jax.Array, count: int, yaw: float) -> Any:
    turned = jax.random.uniform(key, (count,), "float32", minval=-1.0, maxval=1.0)
    return scenes.default_camera(model.generator.config, turned * np.float32(np.radians(yaw)))


_synthesize, _repose = jax.jit(scenes.synthesize), jax.jit(scenes.repose)
_render = jax.jit(scenes.render, static_argnames="rows_at_once")


@jax.jit
def _shown(model: Model, scene: Scene, view: View) -> jax.Array:
    """The canonical points (R, R, 3) of a view's pixels, NaN where there is none."""
    solid = jnp.isfinite(view.distance).ravel()
    # What is empty is put onto the body, whose nearest face is sooner found than one of far away.
    points = jnp.where(solid[:, None], view.points.reshape(-1, 3), scene.body.posed[0])  # type: ignore[union-attr]
    moved, inside = scenes.to_canonical(model, scene, points)
    return jnp.where((solid & inside)[:, None], moved, jnp.nan).reshape(view.points.shape)


@jax.jit
def _place(model: Model, scene: Scene, points: jax.Array) -> jax.Array:
    """Where canonical points (N, 3) are in the scene's pose, NaN beside the body."""
    moved, inside = scenes.to_posed(model, scene, points)
    return jnp.where(inside[:, None], moved, jnp.nan)
