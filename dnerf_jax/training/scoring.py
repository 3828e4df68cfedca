"""How well a semantic branch labels views whose labels are known, and how consistently any others.

The latents and cameras of a pack are known, so what is measured is the branch (and the backbone's fit), not an
inversion.
"""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dnerf_jax.io import files, png
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models import scenes
from dnerf_jax.models.model import Model
from dnerf_jax.ops import consistency, images, metrics
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.viz import pictures

# The embedded packs under the names of the paper's table 1.
EMBEDDED = {"single": "heads_test", "video": "heads_video"}
BODIES = {"single": "bodies_test", "motion": "bodies_motion"}
CONSISTENCY = "consistency in 3D"  # beside the names of packs


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


def measure_consistency(
    model: Model,
    *,
    scenes_seen: int = 12,
    views: int = 6,
    yaw: float = 30.0,
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
    label_map, config = _require_branch(model), model.generator.config
    counts: Any = 0
    for index in range(scenes_seen):
        of_latent, of_cameras = jax.random.split(jax.random.fold_in(jax.random.key(0), index))
        z = jax.random.normal(of_latent, (config.z_dim,), "float32")
        turned = jax.random.uniform(of_cameras, (views,), "float32", minval=-1.0, maxval=1.0)
        camera = scenes.default_camera(config, turned * np.float32(np.radians(yaw)))
        scene = _synthesize(model, z, truncation_psi=truncation_psi)
        seen = [_render(model, scene, camera[v], rows_at_once=rows_at_once) for v in range(views)]
        masks, distance = (
            np.stack([np.asarray(x) for x in part]) for part in zip(*((s.mask, s.distance) for s in seen), strict=True)
        )
        counts = counts + consistency.confusion(masks, distance, camera, label_map.num_classes)
    return consistency.shares(counts, label_map.names) | {"scenes": scenes_seen, "views": views, "yaw": yaw}


def require_labels(model: Model, pack: Annotations) -> LabelMap:
    """The label map that a model and a pack share. Raises ValueError: the model has none, or another."""
    label_map = _require_branch(model)
    if label_map.names != pack.label_map.names:
        raise ValueError(
            f"The checkpoint predicts {label_map.names}, the pack {pack.name!r} has {pack.label_map.names}: "
            "evaluate on a pack with the label map that the branch was trained on."
        )
    return pack.label_map


def write(scores: dict[str, dict[str, Any]], out: Path, *, agreement: dict[str, Any] | None = None) -> None:
    """Writes the scores of packs by name to scores.json in the folder `out`, and prints a line per pack.

    agreement: of views of the model's own scenes, as `measure_consistency` has it: written as "consistency in 3D".
    """
    files.write_json(out / "scores.json", scores | ({CONSISTENCY: agreement} if agreement else {}), indent=2)
    for name, score in scores.items():
        print(
            f"{name:8s} mIoU {score['miou']:.4f} ({score['classes_seen']} of {len(score['per_class'])} classes)  "
            f"accuracy {score['accuracy']:.4f}  "
            f"image PSNR {score['psnr']:.2f} dB  ({score['views']} views)"
        )
    if agreement:
        print(f"{CONSISTENCY}: {consistency.describe(agreement)}")


def _require_branch(model: Model) -> LabelMap:
    if model.semantic is None or model.label_map is None:
        raise ValueError("This checkpoint has no semantic branch: train one with dnerf_jax.train first.")
    return model.label_map


_synthesize, _repose = jax.jit(scenes.synthesize), jax.jit(scenes.repose)
_render = jax.jit(scenes.render, static_argnames="rows_at_once")
