"""How well a segmentation network labels packs whose labels are exact: what its data was worth."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.io import files, png
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models import segmenters
from dnerf_jax.models.segmenters import Segmenter
from dnerf_jax.ops import images, metrics
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.viz import pictures

SCORES = "scores.json"


def score(
    segmenter: Segmenter,
    pack: Annotations,
    *,
    picture: str | os.PathLike | None = None,
    show: int = 6,
    at_most: int = 0,
) -> dict[str, Any]:
    """What `compare` finds of a network's labels, at the pack's own size, whatever the network's.

    Raises ValueError: the network has other classes than the pack.
    """
    require_same_labels(segmenter.config.label_map, "the network", pack)

    def predict(view: int) -> np.ndarray:
        return np.asarray(segmenters.predict(segmenter, images.from_uint8(pack.images[view])[None])[0])

    return compare(predict, pack, picture=picture, show=show, at_most=at_most)


def compare(
    predict: Callable[[int], np.ndarray],
    pack: Annotations,
    *,
    picture: str | os.PathLike | None = None,
    show: int = 6,
    at_most: int = 0,
) -> dict[str, Any]:
    """What `metrics.scores` has, "views", and "confusion": rows are labels, columns predictions, in pixels.

    Args:
      predict: the mask (R, R) of class ids that somebody gives view i of the pack, at the pack's size.
      picture: path of a PNG with `show` views spread over the pack, one row each: image, label, prediction, and where
        they differ.
      at_most: so many views spread over the pack; 0 is all of them.
    """
    label_map = pack.label_map
    chosen = np.linspace(0, len(pack) - 1, min(at_most or len(pack), len(pack))).round().astype(int)
    shown = set(chosen[np.linspace(0, len(chosen) - 1, min(show, len(chosen))).round().astype(int)].tolist())
    counts, rows = np.zeros((label_map.num_classes,) * 2, np.int64), []
    for i in chosen.tolist():
        image, label, mask = pack.images[i], pack.masks[i], predict(i)
        counts += np.asarray(metrics.confusion(label, mask, label_map.num_classes), np.int64)
        if picture is not None and i in shown:
            differ = pictures.difference_picture(label, mask, image)
            rows.append([image, label_map.colorize(label), label_map.colorize(mask), differ])
    if picture is not None:
        columns = ["image", "label", "prediction", "difference"]
        png.save_image(picture, pictures.sheet(rows, column_labels=columns))
    return metrics.scores(counts, label_map.names) | {"views": len(chosen), "confusion": counts.tolist()}


def require_same_labels(label_map: LabelMap | None, whose: str, pack: Annotations) -> None:
    """Raises ValueError: a pack's classes are others, or in another order, than those of a network or a dataset."""
    if label_map is None or label_map.names != pack.label_map.names:
        has = "no names of classes" if label_map is None else f"the classes {', '.join(label_map.names)}"
        raise ValueError(
            f"{whose} has {has}, the pack {pack.name!r} {', '.join(pack.label_map.names)}: name a pack of the same "
            "label map (--config.test, --config.real), or give the dataset these labels (python -m dnerf_jax.relabel)"
        )


def write(segmenter: Segmenter, packs: Mapping[str, Annotations], folder: Path) -> dict[str, dict[str, Any]]:
    """Scores all packs, by name; writes scores.json and a picture of each into a folder, and prints what they say."""
    found = {name: score(segmenter, pack, picture=folder / f"{name}.png") for name, pack in packs.items()}
    keep(found, folder)
    return found


def keep(found: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Writes the scores of packs, by name, into a folder's scores.json, and prints what they say."""
    files.write_json(folder / SCORES, found)
    for name, of_pack in found.items():
        tell(name, of_pack, "views")


def tell(name: str, of_pack: Mapping[str, Any], what: str) -> None:
    """Prints what scores on a pack, or on clouds, say. what: "views" or "clouds", under which their number is."""
    print(
        f"{name}: mIoU {of_pack['miou']:.4f} ({of_pack['classes_seen']} of {len(of_pack['per_class'])} classes)  "
        f"accuracy {of_pack['accuracy']:.4f}  ({of_pack[what]} {what})"
    )
    known = {label: iou for label, iou in of_pack["per_class"].items() if iou is not None}
    print("  " + "  ".join(f"{label} {iou:.3f}" for label, iou in known.items()))
    print(f"  most often taken for another: {'; '.join(mistakes(of_pack))}", flush=True)


def mistakes(of_pack: Mapping[str, Any], *, limit: int = 4) -> list[str]:
    """The largest entries beside the diagonal of a confusion matrix, as shares of their labels: "eye as skin 31 %"."""
    names, counts = list(of_pack["per_class"]), np.array(of_pack["confusion"], np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    order = np.argsort(-shares, axis=None, kind="stable")[:limit]
    places = [np.unravel_index(int(place), shares.shape) for place in order]
    return [f"{names[i]} as {names[j]} {shares[i, j]:.0%}" for i, j in places if shares[i, j] > 0]
