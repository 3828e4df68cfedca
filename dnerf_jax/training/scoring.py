"""Scores a semantic branch on labelled views: python -m dnerf_jax.evaluate --checkpoint DIR --out DIR

The latents and cameras of the pack are known, so what is measured is the branch (and the backbone's fit), not an
inversion. Writes scores.json, and per pack a picture of image, label, prediction and difference.
"""

import json
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, files, packs
from dnerf_jax.models import scenes
from dnerf_jax.ops import cameras, metrics
from dnerf_jax.training import process
from dnerf_jax.viz import pictures

# The embedded packs under the names of the paper's table 1.
EMBEDDED = {"single": "heads_test", "video": "heads_video"}


def main(checkpoint: str, out: str, annotations: str = ""):
    """Evaluates a checkpoint with a semantic branch.

    checkpoint: folder of the model
    out: folder for scores.json and the pictures
    annotations: a labelled pack of your own; by default the embedded single views and video
    """
    process.prepare()
    packs = {Path(annotations).name: annotations} if annotations else EMBEDDED
    model = _load(checkpoint)
    scores = {name: evaluate(model, _pack(pack, model), Path(out) / f"{name}.png") for name, pack in packs.items()}
    write(scores, out)


def evaluate(model, pack, picture=None, *, show=6):
    """Scores of one pack: {"miou", "accuracy", "per_class", ...}, PSNR of the images; optionally a picture.

    Args:
      picture: path of a PNG with `show` views spread over the pack, one row each: image, rendering, label,
        prediction, and where they differ.
    """
    if model.semantic_config is None:
        raise ValueError("This checkpoint has no semantic branch: train one with dnerf_jax.train first.")
    if model.label_map.names != pack.label_map.names:
        raise ValueError(
            f"The checkpoint predicts {model.label_map.names}, the pack {pack.name!r} has {pack.label_map.names}: "
            "evaluate on a pack with the label map that the branch was trained on."
        )
    counts = np.zeros((pack.label_map.num_classes,) * 2, np.int64)
    shown = set(np.linspace(0, len(pack) - 1, min(show, len(pack))).round().astype(int))
    rows, psnr, latent, current = [], [], None, None
    for i in np.argsort(pack.latent_id, kind="stable"):
        if pack.latent_id[i] != latent:
            latent, current = pack.latent_id[i], _synthesize(model, pack.z[i])
        view = _render(model, current, cameras.Camera(pack.cam2world[i], pack.intrinsics[i]))
        mask, image = np.asarray(view.mask), np.clip(view.image, -1, 1)
        counts += np.asarray(metrics.confusion(pack.masks[i], mask, pack.label_map.num_classes), np.int64)
        psnr.append(float(metrics.psnr(image, pack.images[i].astype(np.float32) / 127.5 - 1, peak=2.0)))
        if i in shown:
            label, prediction = pack.label_map.colorize(pack.masks[i]), pack.label_map.colorize(mask)
            differ = pictures.difference_picture(pack.masks[i], mask, pictures.to_uint8(image))
            rows.append([pack.images[i], pictures.to_uint8(image), label, prediction, differ])
    if picture is not None:
        columns = ["image", "rendering", "label", "prediction", "difference"]
        with files.atomic_file(picture) as file:
            Image.fromarray(pictures.sheet(rows, column_labels=columns)).save(file)
    return metrics.scores(counts, pack.label_map.names) | {"views": len(pack), "psnr": float(np.mean(psnr))}


def write(scores, out):
    """Writes scores.json into the folder `out` and prints a line per pack."""
    with files.atomic_file(Path(out) / "scores.json") as file:
        file.write_text(json.dumps(scores, indent=2) + "\n")
    for name, score in scores.items():
        print(
            f"{name:8s} mIoU {score['miou']:.4f}  accuracy {score['accuracy']:.4f}  "
            f"image PSNR {score['psnr']:.2f} dB  ({score['views']} views)"
        )


# The door's parameters have the names of these modules, because its flags do.
_load, _pack = checkpoints.load, packs.load
_synthesize, _render = jax.jit(scenes.synthesize), jax.jit(scenes.render)


if __name__ == "__main__":
    cli.door(main)
