"""Figure S13 of the paper: a video labelled by the branch, and frame by frame by networks that see pixels alone.

The branch labels one scene, at the video's latent, from each of its cameras; a network labels the video's own frames,
one by one. Flicker is the share of the surface points seen in two neighbouring frames that these call differently,
found by the world's exact distance. Exact labels have some too, at the borders of classes (see `ops.consistency`): that
is what others cannot be below.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.experiments import textures
from dnerf_jax.experiments.ablations import Bench
from dnerf_jax.io import files, networks, packs, png
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models import segmenters
from dnerf_jax.models.segmenters import Segmenter
from dnerf_jax.ops import consistency, images, metrics
from dnerf_jax.training import scoring
from dnerf_jax.training.scoring import EMBEDDED
from dnerf_jax.training.segmentation.learning import MODEL
from dnerf_jax.viz import pictures

SHOWN = 8  # frames of a strip
EXACT, BRANCH = "exact", "branch"


def named(folders: str) -> dict[str, Segmenter]:
    """The segmentation networks in folders, separated by commas, by their names; of `model`, by that of the run.

    Raises ValueError: none is named, a folder holds no such network, or names do not tell them apart.
    """
    if not folders:
        raise ValueError(
            "--files is empty: name segmentation networks that python -m dnerf_jax.downstream trained, "
            "out/transfer/model say, separated by commas"
        )
    paths = [Path(folder).resolve() for folder in folders.split(",")]
    names = [path.parent.name if path.name == MODEL else path.name for path in paths]
    if len({EXACT, BRANCH, *names}) < 2 + len(names):
        raise ValueError(f"--files names {', '.join(names)}: expected names of their own, not {EXACT} or {BRANCH}")
    return {name: networks.load(path, "segmenter") for name, path in zip(names, paths, strict=True)}


def make_figure(bench: Bench, known: Mapping[str, Segmenter]) -> dict[str, dict[str, Any]]:
    """The held-out video as exact labels, the bench's branch and networks label it, in strips of frames and in numbers.

    Writes figureS13.png, tableS13.json and tableS13.md; returns what the second holds.

    Raises ValueError: the checkpoint has no branch, or it or a network has other classes than the video.
    """
    video = packs.load(EMBEDDED["video"], bench.model)
    label_map = scoring.require_labels(bench.model, video)
    for name, network in known.items():
        if network.config.label_map is None or network.config.label_map.names != label_map.names:
            theirs = "unknown classes" if network.config.label_map is None else network.config.label_map.names
            raise ValueError(f"the network {name} has {theirs}, expected those of the video, {label_map.names}")
    distance = textures.exact_distance(video)
    labels = {EXACT: video.masks, BRANCH: textures.film(bench.model, video)[1]}
    labels |= {name: frame_by_frame(network, video.images) for name, network in known.items()}
    found = {name: measure(masks, video, distance) for name, masks in labels.items()}
    shown = np.linspace(0, len(video) - 1, min(SHOWN, len(video))).round().astype(int)
    strips = [video.images[shown], *(label_map.colorize(masks[shown]) for masks in labels.values())]
    columns = [f"frame {frame}" for frame in shown]
    sheet = pictures.sheet(strips, row_labels=["image", *labels], column_labels=columns)
    text = markdown(found, video)
    png.save_image(bench.out / "figureS13.png", sheet, optimize=True)
    files.write_json(bench.out / "tableS13.json", found)
    files.write_text(bench.out / "tableS13.md", text)
    print(text)
    return found


def frame_by_frame(network: Segmenter, frames: np.ndarray) -> np.ndarray:
    """The masks (T, R, R) that a network gives frames (T, R, R, 3), uint8."""
    return np.stack([segmenters.predict(network, images.from_uint8(frame)[None])[0] for frame in frames])


def measure(masks: np.ndarray, video: Annotations, distance: np.ndarray) -> dict[str, Any]:
    """What `metrics.scores` has of the masks (T, R, R) of a video, and their flicker.

    - "flicker": of the points that a frame and the next one see, the share that they call differently; None of none.
    - "flicker_per_class": by name, of those that the former calls so; None where it calls nothing so.
    - "points": how many they are, over all frames.
    """
    names = video.label_map.names
    scores = metrics.scores(metrics.confusion(video.masks, masks, len(names)), names)
    following = list(itertools.pairwise(range(len(masks))))
    counts = consistency.confusion(masks, distance, video.camera, len(names), angles=(), pairs=following)
    seen = consistency.shares(counts, names, angles=())
    flicker = {name: _rest(share) for name, share in seen["per_class"].items()}
    of_points = {"flicker": _rest(seen["agreement"]), "flicker_per_class": flicker, "points": seen["pixels"]}
    return scores | of_points


def markdown(found: Mapping[str, Mapping[str, Any]], video: Annotations) -> str:
    """The table: a row of each of `measure`, flicker in percent."""
    names, points = video.label_map.names, next(iter(found.values()))["points"]
    lines = [
        f"Figure S13: {len(video)} frames of {video.name}. Flicker: of {points:,} points seen in two neighbouring "
        "frames, the percentage that these call differently; by class, of those that the first of them calls so.",
        "",
        f"| labels | mIoU | acc. | flicker | {' | '.join(names)} |",
        "|" + " --- |" * (4 + len(names)),
    ]
    for name, of_labels in found.items():
        shares = [of_labels["flicker"], *of_labels["flicker_per_class"].values()]
        cells = ["" if share is None else f"{share:.1%}" for share in shares]
        lines.append(f"| {name} | {of_labels['miou']:.3f} | {of_labels['accuracy']:.3f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _rest(share: float | None) -> float | None:
    return None if share is None else 1 - share
