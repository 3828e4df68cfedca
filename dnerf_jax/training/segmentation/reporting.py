"""The page of a network that was trained and scored: what it learned from, how well it labels, and what it mistakes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.io import files, png
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.training import logs, runs
from dnerf_jax.training.segmentation.scores import mistakes
from dnerf_jax.viz import pictures, reports

REPORT = "report.html"
_MEASURES = {"mIoU": "miou", "accuracy": "accuracy"}
_CURVES = {"loss": "cross-entropy", "accuracy": "accuracy on the batch"}


def write(found: Mapping[str, Mapping[str, Any]], label_map: LabelMap, folder: Path, *, learned_from: str) -> Path:
    """Writes a run's report.html: scores, classes, confusion, its pictures, curves and settings; returns its path.

    Args:
      found: scores by the names of what was labelled, as `scores.compare` has them.
      label_map: of the classes.
      folder: of the run, whose metrics, settings and pictures (one of each name of `found`, or none) are shown.
      learned_from: what the network learned from, in words.
    """
    names, colors = label_map.names, label_map.colors
    records = [record for record in logs.read_metrics(folder / "metrics.jsonl") if "loss" in record]
    steps = [record["step"] for record in records]
    values = {f"{what}, {on}": of[key] for on, of in found.items() for what, key in _MEASURES.items()}
    sections = [
        reports.text(
            f"A network that learned from {learned_from} in {steps[-1]} steps, scored where labels are exact."
        ),
        reports.facts(values),
        reports.heading("Per class"),
        reports.table(
            ["class", *(f"IoU, {on}" for on in found)],
            [[name, *(of["per_class"][name] for of in found.values())] for name in names],
            colors=colors,
            bar=1,
        ),
    ]
    for on, of in found.items():
        counts = np.array(of["confusion"], np.float64)
        rows = [[f"{count:.0%}" for count in row / row.sum()] if row.any() else [None] * len(row) for row in counts]
        sections += [
            reports.heading(f"What is mistaken in {on}"),
            reports.text(
                "A row is what has that label, and the shares of it that are called each class. Most often taken for "
                f"another: {'; '.join(mistakes(of)) or 'nothing'}."
            ),
            reports.table(
                ["label", *names],
                [[name, *row] for name, row in zip(names, rows, strict=True)],
                colors=colors,
            ),
        ]
        if (picture := folder / f"{on}.png").is_file():
            sections.append(reports.figure(png.load_image(picture), "Image, label, prediction, and where they differ."))
    curves = [
        pictures.curve_picture({name: (steps, [record[name] for record in records])}, y_label=said)
        for name, said in _CURVES.items()
    ]
    settings = files.read_json(folder / runs.SETTINGS, "a run's settings")
    sections += [
        reports.heading("Training"),
        reports.gallery([reports.figure(curve) for curve in curves]),
        reports.heading("Settings"),
        reports.terms([(name, _told(value)) for name, value in settings.items()]),
    ]
    return reports.write(folder / REPORT, f"Trained on {learned_from}", sections)


def _told(value: Any) -> str:
    return value if isinstance(value, str) else files.to_json(value, indent=None).strip()
