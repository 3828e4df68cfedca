"""An edit from a scene's folder to files: what the door calls.

scene/             the edited scene, which may be edited again (see `io.scene_folders`)
before.png, wanted.png, after.png    masks of ids: the view's own, the edited one, what was made
comparison.png     before and after, from the edited view and from further ones
report.html        all of it on a page
result.json        the numbers; written last, so where it is, all is
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dnerf_jax.io import files, loss_networks, png, scene_folders
from dnerf_jax.io.scene_folders import LoadedScene
from dnerf_jax.models.model import Model
from dnerf_jax.models.scenes import View
from dnerf_jax.ops import images
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.orbiting import Orbit
from dnerf_jax.training.editing import requests, search, wanted
from dnerf_jax.training.editing.plan import Settings
from dnerf_jax.training.editing.requests import Request
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.stages import Outcome, Tell
from dnerf_jax.training.inversion.subject import Subject
from dnerf_jax.viz import pictures, reports

RESULT, REPORT = "result.json", "report.html"
_FULL = 0.25  # of the range of colours: a change that is drawn white


def run(
    settings: Settings,
    loaded: LoadedScene,
    request: Request,
    view: Orbit,
    out: pathlib.Path,
    *,
    perception: str = "squeezenet",
    face: str = "dlib_face",
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Edits a scene, and writes what was found into the folder `out`; returns the content of result.json.

    Args:
      view: orbit () that the edit is meant in.
      perception, face: networks of the perceptual and the identity term, folders or embedded names; the latter is used
        for the embedded heads only, whose landmarks are known.

    Raises ValueError: the scene is a batch, its model has no semantic branch, or the edit does not fit the view.
    """
    model = loaded.model
    if loaded.ws.ndim != 2:
        raise ValueError(f"the scene holds {loaded.ws.shape[:-2]} scenes, expected one: save them one by one")
    before = wanted.look(settings, model, Subject(loaded.z, None if loaded.z is not None else loaded.ws, view), view)
    assert model.label_map is not None
    want = wanted.prepare(
        settings,
        model,
        before,
        request.of(before.mask[0], model.label_map),
        labels=request.labels(model.label_map),
        perception=loss_networks.load_perception(perception) if settings.terms.perceptual else None,
        network=loss_networks.load_identity(face) if requests.is_of_heads(model) else None,
    )
    outcomes = search.run(settings, model, want, tell=tell)
    last = search.result(outcomes)
    tuned = subjects.model_of(model, last.subject)
    scene_folders.save_scene(
        out / "scene",
        tuned,
        subjects.ws_of(tuned, last.subject),
        loaded.camera,
        checkpoint=loaded.checkpoint,
        z=last.subject.z,
        tuned=loaded.tuned or last.subject.weights is not None,
        info={**loaded.info, "edited by": "dnerf_jax.edit", "edit": request.name},
        replace=True,
    )
    seen = subjects.views_of(model, last.subject)
    for name, mask in (("before", before.mask[0]), ("wanted", want.mask), ("after", seen[0].mask)):
        png.save_mask(out / f"{name}.png", np.asarray(mask), model.label_map)
    comparison = comparison_of(settings, model.label_map, before, want, seen)
    png.save_image(out / "comparison.png", comparison)
    result = numbers(settings, model, request, outcomes)
    _write_report(out / REPORT, request, outcomes, result, comparison)
    files.write_json(out / RESULT, result, indent=2)
    return result


def numbers(settings: Settings, model: Model, request: Request, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The content of result.json; see `search.scores` for what scores are."""
    last = search.result(outcomes)
    pose = outcomes[0].subject.orbit
    return {
        "edit": request.name,
        "found_by": last.stage,
        "before": outcomes[0].scores,
        "after": last.scores,
        "seconds": sum(outcome.seconds for outcome in outcomes),
        "stages": {
            outcome.stage: {
                "kept": outcome.kept,
                "seconds": outcome.seconds,
                "scores": outcome.scores,
                "losses": list(outcome.losses),
            }
            for outcome in outcomes
        },
        "weights": dataclasses.asdict(settings.terms),
        "views": {name: np.degrees(np.asarray(getattr(pose, name), np.float64)).tolist() for name in ("yaw", "pitch")},
        "fingerprint": model.fingerprint,
        "doubts": list(doubts(last, outcomes)),
    }


def doubts(last: Outcome, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Why the edit may not be what was wanted, in sentences; () where nothing speaks against it."""
    if last is outcomes[0]:
        return ("no stage made the loss less, so the scene is as it was: weigh the label more, or ask for less",)
    found, begun = [], outcomes[0].scores["areas"]
    if last.scores["iou"] <= outcomes[0].scores["iou"]:
        found.append("the edited classes agree with the wanted mask no better than before")
    for name, areas in last.scores["areas"].items():
        changes = np.subtract(areas, begun[name])
        if (np.sign(changes) != np.sign(changes[0])).any():
            found.append(f"{name} becomes larger in some views and smaller in others")
    return tuple(found)


def comparison_of(
    settings: Settings, label_map: LabelMap, before: wanted.Before, want: wanted.Wanted, seen: Sequence[View]
) -> np.ndarray:
    """A row for each view: image before and after, what changed, mask before, wanted in the first view, and after."""
    rows = []
    for v, view in enumerate(seen):
        after = np.asarray(view.image)
        change = np.abs(np.clip(after, -1, 1) - np.clip(before.image[v], -1, 1)).mean(axis=-1) / 2
        row = [images.to_uint8(x, span=(-1, 1)) for x in (before.image[v], after)]
        row += [pictures.share_picture(change / _FULL), label_map.colorize(before.mask[v])]
        row.append(label_map.colorize(np.asarray(view.mask)))
        row += [label_map.colorize(np.asarray(want.mask))] if v == 0 else []
        rows.append(row)
    titles = ["before", "after", "change", "mask before", "mask after", "wanted"]
    return pictures.sheet(rows, column_labels=titles, row_labels=["edited", *(f"{yaw:+g}" for yaw in settings.views)])


def _write_report(
    path: pathlib.Path,
    request: Request,
    outcomes: Sequence[Outcome],
    result: dict[str, Any],
    comparison: np.ndarray,
) -> None:
    last, first = result["after"], result["before"]
    facts = {"IoU before": first["iou"], "IoU after": last["iou"], "change outside": last["outside"]}
    facts |= {} if last["identity"] is None else {"identity distance": last["identity"]}
    sections = [reports.facts({name: float(value) for name, value in facts.items()} | {"found by": result["found_by"]})]
    if result["doubts"]:
        sections += [reports.heading("Doubts"), reports.text(*(f"{text}." for text in result["doubts"]))]
    sections += [
        reports.heading("Before and after"),
        reports.figure(
            comparison,
            "The edited view, and others by their yaw beside it in degrees. Change: black none, white"
            f" {_FULL:.0%} of the range of colours or more.",
        ),
        reports.text(
            "IoU is that of the edited classes, as the branch labels the final view, with the wanted mask. The change"
            " outside of the region of interest is a mean absolute difference, from 0 to 1."
        ),
        reports.heading("Edited classes"),
        reports.table(
            ["class", "IoU before", "IoU after", *(f"area {yaw:.0f}, % more" for yaw in result["views"]["yaw"])],
            [
                [
                    name,
                    first["per_class"][name],
                    last["per_class"][name],
                    *(100 * (b / a - 1) if a else None for a, b in zip(first["areas"][name], areas, strict=True)),
                ]
                for name, areas in last["areas"].items()
            ],
        ),
        reports.heading("Stages"),
        reports.table(
            ["stage", "loss", *last["terms"], "IoU", "mIoU", "change outside", "kept", "seconds"],
            [
                [one.stage, one.scores["loss"], *one.scores["terms"].values()]
                + [one.scores[name] for name in ("iou", "miou", "outside")]
                + ["yes" if one.kept else "no", one.seconds]
                for one in outcomes
            ],
        ),
    ]
    curves = {one.stage: (range(len(one.losses)), one.losses) for one in outcomes if one.losses}
    if curves:
        curve = pictures.curve_picture(curves, x_label="step", y_label="loss", log_y=True)
        sections.append(reports.figure(curve, "The loss before every step of Adam, of each stage its own."))
    reports.write(path, f"Edit: {request.name}", sections)
