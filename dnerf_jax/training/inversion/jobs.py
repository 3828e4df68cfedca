"""An inversion from files to files: what the door calls, which goes on where it was stopped."""

import dataclasses
import io
import itertools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from dnerf_jax.io import encoders, files, loss_networks, png
from dnerf_jax.models import perception as perceptions
from dnerf_jax.models.encoders import TrainedEncoder
from dnerf_jax.models.model import Model, fingerprint
from dnerf_jax.models.perception import Perception
from dnerf_jax.ops import images
from dnerf_jax.training import logs, runs
from dnerf_jax.training.inversion import exhibits, results, stages, stored
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.plan import Settings
from dnerf_jax.training.inversion.results import Record
from dnerf_jax.training.inversion.targets import Given
from dnerf_jax.viz import pictures

SAMPLES = "samples.json"


def run(
    settings: Settings,
    model: Model,
    given: Given,
    out: pathlib.Path,
    *,
    checkpoint: str | os.PathLike,
    encoder: str = "",
    perception: str = "squeezenet",
    samples: int = 1,
) -> list[Record]:
    """Inverts a target, and writes what was found into the folder `out`: see `results`.

    Args:
      checkpoint: the model's, a folder or an embedded name.
      encoder: its folder; "" is the one beside the checkpoint, or the embedded one.
      perception: the perceptual distance's network, a folder or an embedded name.
      samples: with more than one, as many inversions, of seeds one after the other, in the folders sample_0, sample_1,
        ... of `out`, and how their frontal images differ in samples.json (mean absolute differences of colours, range 0
        to 1, and perceptual distances, of each pair and in the mean) and samples.png.

    Raises ValueError: `out` holds the inversion of another target or model, or with other settings; an encoder that is
    none, or of another generator.
    """
    several = samples > 1
    guesser = encoders.find(model.fingerprint, checkpoint, encoder) if settings.encoder else None
    target = {
        name: np.asarray(x) for name in ("image", "mask", "weights") if (x := getattr(given.target, name)) is not None
    }
    target |= {} if given.known is None else {name: np.asarray(x) for name, x in vars(given.known).items()}
    inputs = {
        "generator": model.fingerprint,
        "target": fingerprint(target),
        "encoder's weights": "none" if guesser is None else fingerprint(guesser.params),
        "samples": "several" if several else "one",
    }
    if model.semantic is not None:
        inputs["semantic branch"] = fingerprint(model.semantic.params)
    runs.remember(out, settings, inputs=inputs, made=f"**/{stored.FOLDER}/*.npz")
    notes = given.notes
    if settings.encoder and guesser is None:
        notes += (
            "there is no encoder of this generator, so it starts from random candidates, which finds less: python -m"
            " dnerf_jax.encode trains one",
        )
    for text in notes:
        print(f"note: {text}", flush=True)
    records = []
    for i in range(samples):
        one = dataclasses.replace(settings, seed=settings.seed + i)
        folder = out / f"sample_{i}" if several else out
        folder.mkdir(exist_ok=True)
        files.remove_partials(folder)
        records.append(
            _one(one, model, dataclasses.replace(given, notes=notes), folder, checkpoint, guesser, perception)
        )
    if several:
        _compare(out, model, records, loss_networks.load_perception(perception))
    return records


def _one(
    settings: Settings,
    model: Model,
    given: Given,
    out: pathlib.Path,
    checkpoint: str | os.PathLike,
    guesser: TrainedEncoder | None,
    perception: str,
) -> Record:
    """One inversion into its folder."""
    weighed = any(settings.stage(name).whole and settings.stage(name).perceptual for name in settings.stages)
    finished = stored.load(out, ["start", *settings.stages])
    if finished:
        print(f"{out} has the stages {', '.join(one.stage for one in finished)} already: it goes on after them")

    def done(outcome: stages.Outcome) -> None:
        stored.save(out, outcome)
        print(f"{outcome.stage}: {_scores(outcome)}, {outcome.seconds:.1f} s" + ("" if outcome.kept else ", not kept"))

    outcomes = stages.run(
        settings,
        model,
        given.target,
        encoder=guesser,
        known=given.known,
        network=loss_networks.load_perception(perception) if weighed else None,
        finished=finished,
        done=done,
        tell=_teller(),
    )
    record = Record(settings, given, outcomes, given.notes, results.doubts(settings, given, outcomes))
    print("writing the scene, its views, cloud and mesh", flush=True)
    results.write(out, model, record, checkpoint)
    pose = results.degrees(record.last.subject)
    print(f"{_scores(record.last)}  yaw {pose['yaw'][0]:.1f}  pitch {pose['pitch'][0]:.1f} degrees")
    for text in record.doubts:
        print(f"warning: {text}")
    print(f"see {out / results.REPORT}", flush=True)
    return record


def _teller() -> stages.Tell:
    """Prints how far a stage is, every few seconds."""
    bars: dict[str, tuple[int, logs.Progress, io.StringIO]] = {}

    def tell(stage: str, done: int, total: int, loss: float) -> None:
        last, progress, line = bars.get(stage, (done, logs.Progress(0), io.StringIO()))
        if done <= last:  # it begins, for another start perhaps
            line = io.StringIO()
            progress = logs.Progress(total, stream=line)
        progress.update(done, {"loss": loss})
        bars[stage] = done, progress, line
        if line.getvalue():
            print(f"{stage}: {line.getvalue()}", end="", flush=True)
            line.seek(0)
            line.truncate()

    return tell


def _scores(outcome: stages.Outcome) -> str:
    forms: dict[str, Callable[[float], str]] = {"psnr": "PSNR {:.2f} dB".format, "miou": "mIoU {:.3f}".format}
    return "  ".join(form(outcome.scores[name]) for name, form in forms.items() if name in outcome.scores)


def _compare(out: pathlib.Path, model: Model, records: list[Record], network: Perception) -> None:
    """Writes how the samples differ: see `run`."""
    views = []
    for record in records:
        subject = record.last.subject
        tuned = subjects.model_of(model, subject)
        views.append(exhibits.look(tuned, subjects.synthesize(model, subject), exhibits.YAWS[::2]))
    front = len(exhibits.YAWS[::2]) // 2
    frontal = np.stack([np.clip(view.image[front], -1, 1) for view in views])
    pairs = list(itertools.combinations(range(len(views)), 2))
    distances = {
        "distances": [float(np.abs(frontal[a] - frontal[b]).mean() / 2) for a, b in pairs],
        "perceptual_distances": [float(perceptions.distance(network, frontal[a], frontal[b])) for a, b in pairs],
    }
    png.save_image(
        out / "samples.png", pictures.sheet([list(images.to_uint8(view.image, span=(-1, 1))) for view in views])
    )
    summary: dict[str, Any] = {"scores": [record.last.scores for record in records]}
    for name, values in distances.items():
        summary[name] = {f"{a}, {b}": value for (a, b), value in zip(pairs, values, strict=True)}
        summary[f"mean_{name[:-1]}"] = float(np.mean(values))
    files.write_json(out / SAMPLES, summary, indent=2)
