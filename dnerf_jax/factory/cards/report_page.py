"""The report of a dataset: one page with its pictures, numbers, cameras and clouds, to look at in a browser."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.factory import description
from dnerf_jax.factory.cards import card, samples, statistics
from dnerf_jax.factory.cards.statistics import Statistics
from dnerf_jax.factory.description import Description
from dnerf_jax.factory.loading import Dataset, load
from dnerf_jax.factory.plan import split_of
from dnerf_jax.factory.runs import running
from dnerf_jax.factory.runs.space import said
from dnerf_jax.io import files
from dnerf_jax.viz import cloud_viewer, pictures, reports

_IDENTITIES, _VIEWS, _SIDE = 9, 4, 128  # shown: of each split, of each identity, and the pixels of each
_CLOUDS, _POINTS = 6, 6000  # that can be turned, and points of each
_DOTS = 1500  # cameras in a plot


def write(out: Path, path: Path) -> Path:
    """Writes the page of a finished dataset; returns its path.

    Raises ValueError: the dataset is not finished, or damaged.
    """
    told, counts = description.read(out), statistics.collect(out)
    dataset = load(out, only=[name for name in told.forms if name != "logits"])
    agreement = statistics.agreement(out)
    sections = [
        reports.text(card.summary_of(told, counts)),
        reports.facts(_facts(told, counts, agreement)),
        reports.heading("Splits"),
        reports.table(["split", "identities", "views", "shards", "size"], _splits(counts)),
        *_sheets(dataset),
        *_cloud(dataset),
        *_classes(counts),
        *_consistency(agreement),
        *_cameras(out, told),
        *_drops(counts),
        *_origin(told, counts),
        *_runs(out),
    ]
    return reports.write(path, card.title(told), sections, style=cloud_viewer.STYLE)


def _facts(told: Description, counts: Statistics, agreement: Mapping[str, Any] | None) -> dict[str, Any]:
    facts = {
        "views": f"{counts.views:,}",
        "identities": f"{told.plan.num_identities:,}",
        "pixels": f"{told.image_resolution}²",
        "size": said(counts.bytes),
    }
    if counts.label_map is not None:
        facts["classes"] = str(counts.label_map.num_classes)
    if agreement is not None and agreement["agreement"] is not None:
        facts["agreement in 3D"] = f"{100 * agreement['agreement']:.2f} %"
    return facts


def _splits(counts: Statistics) -> list[list[str]]:
    return [
        [name, f"{found.identities:,}", f"{found.views:,}", f"{found.shards:,}", said(found.bytes)]
        for name, found in counts.splits.items()
    ]


def _sheets(dataset: Dataset) -> list[str]:
    """A sheet for each of a few identities: its views below each other, what they have side by side."""
    figures = []
    for place in samples.choose(dataset, _IDENTITIES):
        records = samples.views(dataset, place, _VIEWS)
        rows = [samples.drawn(dataset, record) for record in records]
        picture = pictures.sheet([[samples.thumbnail(cell, _SIDE) for cell in row.values()] for row in rows])
        names = ", ".join(rows[0])
        identity = records[0]["identity"]
        caption = f"Identity {identity}, {split_of(dataset.plan, identity)}: {names} of {_views(len(records))}"
        figures.append(reports.figure(picture, caption))
    return [reports.heading("Samples"), reports.gallery(figures)]


def _views(number: int) -> str:
    return f"{number} view{'s' * (number > 1)}"


def _cloud(dataset: Dataset) -> list[str]:
    found = []
    for place in samples.choose(dataset, _CLOUDS):
        cloud = samples.cloud(dataset, place, _POINTS)
        if cloud is not None:
            identity = dataset[place * dataset.plan.views_per_identity]["identity"]
            found.append((f"identity {identity}, {len(cloud.points):,} points", cloud))
    return [reports.heading("In space"), cloud_viewer.piece(found)] if found else []


def _classes(counts: Statistics) -> list[str]:
    if counts.label_map is None:
        return []
    splits = {name: found for name, found in counts.splits.items() if found.views}
    columns = ["class", *(f"pixels, {name}" for name in splits), *(f"views, {name}" for name in splits)]
    rows = [
        [label, *(float(of.shares[c]) for of in splits.values()), *(of.showing[c] / of.views for of in splits.values())]
        for c, label in enumerate(counts.label_map.names)
    ]
    table = reports.table(columns, rows, colors=counts.label_map.colors, bar=1, percent=range(1, len(columns)))
    return [
        reports.heading("Classes"),
        reports.text("Shares of the pixels, and of the views in which the class has any."),
        table,
    ]


def _consistency(agreement: Mapping[str, Any] | None) -> list[str]:
    if agreement is None:
        return []
    by_class = [[name, share] for name, share in agreement["per_class"].items()]
    by_angle = [
        [f"{of['from']:g}° to {of['to']:g}°", of["agreement"], f"{of['pixels']:,}"]
        for of in agreement["by_angle"]
        if of["pixels"]
    ]
    return [
        reports.heading("Consistency in 3D"),
        reports.text(
            f"Labels of one view were warped by depth and cameras into the others of its identity, of "
            f"{agreement['identities']:,} identities, and compared on the {agreement['pixels']:,} pixels that both "
            "see. At the borders of classes the nearest pixel may be of the other class even where labels are exact; "
            "background is compared only where it has depth, at outlines."
        ),
        reports.table(["angle between the views", "agreement", "pixels"], by_angle, bar=1, percent=[1]),
        reports.table(["class", "agreement"], by_class, bar=1, percent=[1]),
    ]


def _cameras(out: Path, told: Description) -> list[str]:
    found = statistics.standpoints(out)
    number = len(found.positions)
    x, y, z = found.positions[np.linspace(0, number - 1, min(_DOTS, number)).astype(int)].T
    box = told.content.get("box_side")
    subject = [float(box) / 2] if isinstance(box, int | float) else []
    above = "Cameras from above, in world units; the circle is as wide as the subject's box"
    top = reports.scatter(np.stack([x, -z], -1), above, axes=("x", "−z"), around=subject)
    beside = "Cameras from the side: the subject looks to the right"
    side = reports.scatter(np.stack([z, y], -1), beside, axes=("z", "y"), around=subject)
    rows = [
        [name, *(f"{number:.2f}" for number in (values.min(), values.mean(), values.max(), values.std()))]
        for name, values in (("yaw, degrees", found.yaw), ("pitch, degrees", found.pitch), ("distance", found.distance))
    ]
    return [
        reports.heading("Cameras"),
        reports.text(f"Of {_views(len(found.positions))}, {told.plan.viewpoints.distribution}."),
        reports.gallery([top, side]),
        reports.table(["of the cameras", "least", "mean", "greatest", "standard deviation"], rows),
    ]


def _drops(counts: Statistics) -> list[str]:
    if not counts.drops:
        return [reports.heading("Drops"), reports.text("No draw was dropped.")]
    rows = [[rule, f"{number:,}"] for rule, number in counts.drops.items()]
    return [
        reports.heading("Drops"),
        reports.text(f"Draws that broke a rule of the plan, of {counts.redrawn:,} identities, which were drawn anew."),
        reports.table(["rule", "draws"], rows),
    ]


def _origin(told: Description, counts: Statistics) -> list[str]:
    rows = [(name.replace("_", " "), value) for name, value in told.checkpoint.items()]
    rows += [("seed", told.plan.seed), ("truncation psi", f"{told.plan.truncation_psi:g}")]
    rows += [(f"stack of {number:,} shards", stack) for stack, number in counts.stacks.items()]
    return [reports.heading("Provenance"), reports.terms(rows)]


def _runs(out: Path) -> list[str]:
    """What run/log.jsonl says of who made how much, and how fast."""
    hosts: dict[str, list[dict[str, Any]]] = {}
    for line in _log(out):
        hosts.setdefault(str(line["host"]), []).append(line)
    if not hosts:
        return []
    rows = []
    for host, lines in sorted(hosts.items()):
        views, seconds, rendering = (
            sum(line[name] for line in lines) for name in ("views", "seconds", "render_seconds")
        )
        workers = len({line.get("process") for line in lines})
        rate = views / seconds if seconds else math.nan
        share = rendering / seconds if seconds else None
        rows.append([host, workers, f"{len(lines):,}", f"{views:,}", rate, share])
    return [
        reports.heading("How it was made"),
        reports.text("Rates are of one worker. This is what the runs tell, and no part of the dataset."),
        reports.table(["host", "workers", "shards", "views", "views/s", "rendering"], rows, percent=[5]),
    ]


def _log(out: Path) -> list[dict[str, Any]]:
    """The lines about shards; a line that a killed process left half-written is none."""
    path = out / running.LOG
    found = []
    for text in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            line = files.parse_json(text)
        except ValueError:
            continue
        numbers = (line.get(name) for name in ("views", "seconds", "render_seconds"))
        if "host" in line and all(isinstance(number, int | float) for number in numbers):
            found.append(line)
    return found
