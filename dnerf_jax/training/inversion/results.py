"""What an inversion writes of what it found, and what it says of how far that can be trusted.

    scene/            the scene (see `io.scene_folders`), with the generator's own weights where it was tuned
    comparison.png    input, reconstruction after every stage, error, masks, depth
    views/, turntable.jpg, cloud.ply, mesh.ply    see `exhibits`
    report.html       all of it on a page, with the curves
    result.json       the numbers; written last, so where it is, all is

Every file is written whole or not at all.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dnerf_jax.io import files, png, scene_folders
from dnerf_jax.models.model import Model, fingerprint
from dnerf_jax.ops import images
from dnerf_jax.training.inversion import exhibits
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.exhibits import Exhibits
from dnerf_jax.training.inversion.plan import Settings
from dnerf_jax.training.inversion.stages import Outcome
from dnerf_jax.training.inversion.subject import Subject
from dnerf_jax.training.inversion.targets import Given
from dnerf_jax.viz import cloud_viewer, pictures, reports

RESULT, REPORT = "result.json", "report.html"
ANGLES, LENGTHS = ("yaw", "pitch", "roll"), ("radius", "focal")
# See the docstring of `doubts` for where these come from.
POOR_PSNR, POOR_MIOU, NEAR_LIMIT = 25.0, 0.6, 0.95
_ROWS = 8  # views that the comparison shows
_FULL = 0.25  # of the range of colours: an error that is drawn white


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """An inversion that is done: what it was of and with which settings, its stages, notes and doubts, sentences."""

    settings: Settings
    given: Given
    outcomes: Sequence[Outcome]
    notes: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def last(self) -> Outcome:
        """The last stage that was kept."""
        return next(outcome for outcome in reversed(self.outcomes) if outcome.kept)


def write(out: pathlib.Path, model: Model, record: Record, checkpoint: str | os.PathLike) -> Exhibits:
    """Writes all files of an inversion into a folder; checkpoint: the model's, a folder or an embedded name."""
    subject = record.last.subject
    tuned = subjects.model_of(model, subject)
    scene_folders.save_scene(
        out / "scene",
        tuned,
        subjects.ws_of(tuned, subject),
        subjects.camera_of(subject),
        checkpoint=checkpoint,
        z=subject.z,
        tuned=subject.weights is not None,
        info={"made by": "dnerf_jax.invert", "of": ", ".join(os.path.basename(name) for name in record.given.names)},
        replace=True,
    )
    comparison = comparison_of(model, record)
    png.save_image(out / "comparison.png", comparison)
    shown = exhibits.write(out, tuned, subjects.synthesize(model, subject))
    record = dataclasses.replace(record, notes=(*record.notes, *shown.notes))
    result = numbers(model, record)
    _write_report(out / REPORT, record, result, comparison, shown)
    files.write_json(out / RESULT, result, indent=2)
    return shown


def doubts(settings: Settings, given: Given, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Why what was found may be wrong, in sentences; () where nothing speaks against it.

    What is judged is the last stage before `tune`, which makes any picture look better than the shape behind it.
    A photo's reconstruction has less than POOR_PSNR dB. A view of the embedded heads' own latents, which the stage z
    brought from 18.9 to 32.5 dB without an encoder, is far above that. A mask's has a mean IoU below POOR_MIOU: the
    best of random candidates, followed for 20 steps, had 0.51 with the mask of such a view. A yaw or pitch is beyond
    NEAR_LIMIT of the limits within which poses were looked for, in the cameras that were not given.
    """
    kept = [outcome for outcome in outcomes if outcome.kept and outcome.stage != "tune"]
    found, last = [], kept[-1] if kept else outcomes[-1]
    psnr, miou = (last.scores.get(name) for name in ("psnr", "miou"))
    if psnr is not None and not psnr >= POOR_PSNR:
        found.append(
            f"this is not reconstructed well: {psnr:.1f} dB, of a picture like the generator's own at least"
            f" {POOR_PSNR:g} are expected. Is it framed and cut out like the checkpoint's images? Shape and labels are"
            " the generator's guess here"
        )
    if miou is not None and not miou >= POOR_MIOU:
        found.append(
            f"the mask is not met well: mIoU {miou:.2f}, expected at least {POOR_MIOU:g}. Is it framed like the"
            " checkpoint's images, and are all of its classes where the generator has them?"
        )
    pose = degrees(last.subject)
    if given.known is None:
        for name in ("yaw", "pitch"):
            limit, values = getattr(settings, name), np.asarray(pose[name])
            found += [
                f"{name} is {values[view]:.1f} degrees in {os.path.basename(given.names[view])}, at the limit of"
                f" {limit:g} within which poses are looked for: the pose may be wrong, or --config.{name} too small"
                for view in np.flatnonzero(np.abs(values) > NEAR_LIMIT * limit)
            ]
    return tuple(found)


def degrees(subject: Subject) -> dict[str, list[Any]]:
    """The pose of every view (V,): angles in degrees, radius and pivot in world units, focal length in image sizes."""
    orbit = subject.orbit.spread()
    pose = {name: np.degrees(np.asarray(getattr(orbit, name), np.float64)).tolist() for name in ANGLES}
    return pose | {name: np.asarray(getattr(orbit, name), np.float64).tolist() for name in (*LENGTHS, "pivot")}


def numbers(model: Model, record: Record) -> dict[str, Any]:
    """The content of result.json."""
    last, pose = record.last, degrees(record.last.subject)
    return {
        "views": [
            {"file": name} | {part: values[v] for part, values in pose.items()}
            for v, name in enumerate(record.given.names)
        ],
        "found_by": last.stage,
        "scores": last.scores,
        "seconds": sum(outcome.seconds for outcome in record.outcomes),
        "stages": {
            outcome.stage: {
                "kept": outcome.kept,
                "seconds": outcome.seconds,
                "scores": outcome.scores,
                "losses": list(outcome.losses),
            }
            for outcome in record.outcomes
        },
        "camera": "given" if record.given.known is not None else "found",
        "fingerprint": model.fingerprint,
        "semantic_fingerprint": None if model.semantic is None else fingerprint(model.semantic.params),
        "notes": list(record.notes),
        "doubts": list(record.doubts),
    }


def comparison_of(model: Model, record: Record) -> np.ndarray:
    """A row for each view: input, every stage, error of the one that was kept last, masks, depth."""
    target, last, rows = record.given.target, record.last, []
    few = [outcome.subject.replace(orbit=outcome.subject.orbit[:_ROWS]) for outcome in record.outcomes]
    shown = [subjects.views_of(model, subject) for subject in few]
    for v in range(min(_ROWS, len(record.given.names))):
        made = [views[v] for views in shown]
        view = made[[outcome is last for outcome in record.outcomes].index(True)]
        row, titles = [], []
        if target.image is not None:
            row.append(images.to_uint8(target.image[v], span=(-1, 1)))
            titles.append("input")
        row += [images.to_uint8(one.image, span=(-1, 1)) for one in made]
        titles += [one.stage if one.kept else f"{one.stage} (not kept)" for one in record.outcomes]
        if target.image is not None:
            error = np.abs(np.clip(view.image, -1, 1) - target.image[v]).mean(axis=-1) / 2 * target.weights[v]
            row.append(pictures.share_picture(error / _FULL))
            titles.append("error")
        if target.mask is not None:
            row.append(model.label_map.colorize(np.asarray(target.mask[v])))  # type: ignore[union-attr]
            titles.append("input mask")
        if view.mask is not None and model.label_map is not None:
            row.append(model.label_map.colorize(np.asarray(view.mask)))
            titles.append("mask")
        row.append(pictures.depth_picture(np.asarray(view.depth_z)))
        titles.append("depth")
        rows.append(row)
    return pictures.sheet(rows, column_labels=titles)


def _write_report(
    path: pathlib.Path, record: Record, result: dict[str, Any], comparison: np.ndarray, shown: Exhibits
) -> None:
    names = [os.path.basename(name) for name in record.given.names]
    scores, views = record.last.scores, result["views"]
    facts = {"PSNR, dB": scores["psnr"]} if "psnr" in scores else {}
    facts |= {"mIoU with the mask": scores["miou"]} if "miou" in scores else {}
    facts |= {f"{name}, degrees": views[0][name] for name in ("yaw", "pitch")} if len(views) == 1 else {}
    sections = [
        reports.facts({name: f"{value:.2f}" for name, value in facts.items()} | {"found by": record.last.stage})
    ]
    if record.doubts:
        sections += [reports.heading("Doubts"), reports.text(*(f"{text}." for text in record.doubts))]
    if record.notes:
        sections += [reports.heading("Notes"), reports.text(*(f"{text}." for text in record.notes))]
    sections += [
        reports.heading("Input and reconstruction"),
        reports.figure(
            comparison,
            "Input, the start, and what every stage left; the error of the last one kept, black none and white"
            f" {_FULL:.0%} of the range or more; masks and depth.",
        ),
        reports.heading("Stages"),
        reports.table(
            ["stage", *scores, "kept", "seconds"],
            [
                [one.stage, *(one.scores[name] for name in scores), "yes" if one.kept else "no", one.seconds]
                for one in record.outcomes
            ],
        ),
    ]
    curves = {one.stage: (range(len(one.losses)), one.losses) for one in record.outcomes if one.losses}
    if curves:
        curve = pictures.curve_picture(curves, x_label="step", y_label="loss", log_y=True)
        sections.append(reports.figure(curve, "The loss before every step of Adam, of each stage its own."))
    sections += [
        reports.heading("Cameras"),
        reports.text(
            f"{result['camera'].capitalize()}. Angles in degrees, lengths in world units, focal in image sizes."
        ),
        reports.table(
            ["view", *ANGLES, *LENGTHS, "pivot"],
            [
                [name, *(view[n] for n in (*ANGLES, *LENGTHS)), ", ".join(f"{x:.3f}" for x in view["pivot"])]
                for name, view in zip(names, views, strict=True)
            ],
        ),
        reports.heading("From other sides"),
        reports.figure(
            shown.turntable, "From yaw -40 to 40 degrees: what the input did not show is the model's guess."
        ),
    ]
    if len(shown.cloud):
        sections += [reports.heading("Point cloud"), cloud_viewer.piece([("scene", shown.cloud)])]
    title = f"Inversion of {names[0]}" + (f" and {len(names) - 1} more views" if len(names) > 1 else "")
    reports.write(path, title, sections, style=cloud_viewer.STYLE)
