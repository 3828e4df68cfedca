"""Does it help to choose what is labelled? Rounds of ten labels each, on exact ground truth; a figure of ours.

A round is what a user does: `proposing.propose` adds ten views to a folder, they are labelled, a branch is trained on
all labels so far, from scratch. The world paints: its masks at the latents and cameras proposed are exact. Of the arms

    active    first far from one another in w, then by the doubt of the branch of the round before
    random    as many candidates as are wanted, so that nothing is chosen
    latents   always far from one another in w, and from those that are there

the first and the last have the same first round. The branch that doubts is a short one, as a user would have it while
labelling; those that are scored learn to the end. A seed is of candidates, cameras, initial weights and order of views.
Runs and scores stay in `out`; what was stopped continues.
"""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.experiments import ablations
from dnerf_jax.experiments.ablations import Bench
from dnerf_jax.experiments.summaries import spread, verdict
from dnerf_jax.io import checkpoints, files, label_folders, packs, png
from dnerf_jax.io.packs import Annotations
from dnerf_jax.labelling import proposing
from dnerf_jax.labelling.proposing import Request
from dnerf_jax.models.model import Model
from dnerf_jax.training import branch
from dnerf_jax.training.scoring import EMBEDDED
from dnerf_jax.viz import pictures
from dnerf_jax.worlds import views

ARMS = ("active", "random", "latents")
ROUND, COUNTS = 10, (10, 20, 30, 40)  # labels added at a time, and how many there are then
QUICK = 30  # steps of a branch that doubts: nine are trained, and 2,700 views looked at
TESTED = slice(None, None, 2)  # every second of the test's views
WORDS = {"reproduced": "yes", "not reproduced": "no, worse", "undecided": "undecided"}


def make_figure(
    bench: Bench, seeds: Sequence[int], arms: Sequence[str] = ARMS, counts: Sequence[int] = ()
) -> dict[str, Any]:
    """Trains and scores what is missing, prints the table, writes choosing.json, .md and .png; returns the first.

    They are written as soon as a number of labels is done for all seeds and arms, of those that are.
    counts: of labels, some of COUNTS; all unless given.
    """
    if not (test := _folder(bench) / "test").exists():
        packs.save(test, packs.load(EMBEDDED["single"], bench.model)[TESTED])
    found: dict[str, dict[str, list[dict[str, Any]]]] = {arm: {} for arm in arms}
    for count in counts or COUNTS:
        for arm in arms:
            found[arm][str(count)] = [score(bench, arm, seed, count) for seed in seeds]
        result = summary(found, bench.base.steps)
        files.write_json(bench.out / "choosing.json", result)
        files.write_text(bench.out / "choosing.md", markdown(result))
        png.save_image(bench.out / "choosing.png", curve(result), optimize=True)
        print(markdown(result), flush=True)
    return result


def score(bench: Bench, arm: str, seed: int, count: int) -> dict[str, Any]:
    """Scores of an arm's branch with so many labels, trained and scored unless that is done already."""
    folder = _run(bench, arm, seed, count)
    path = folder / "scores.json"
    if not path.exists():
        files.write_json(path, ablations.measure(bench, trained(bench, arm, seed, count), str(_folder(bench) / "test")))
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # the run is over
    found = files.read_json(path, "scores")
    print(f"{arm} seed {seed}, {count} labels: mIoU {found['miou']:.4f}", flush=True)
    return found


def trained(bench: Bench, arm: str, seed: int, count: int, *, quick: bool = False) -> Model:
    """The model of an arm with so many labels, trained unless it is there. quick: for QUICK steps alone."""
    folder = _run(bench, arm, seed, count)
    folder = folder.with_name(f"{count}_quick") if quick else folder
    if (folder / branch.MODEL).exists():
        return checkpoints.load(folder / branch.MODEL)
    where = str(folder.parent / "labels")
    steps = QUICK if quick else bench.base.steps
    settings = dataclasses.replace(bench.base, seed=seed, annotations=where, steps=steps)
    return branch.train(settings, bench.model, labelled(bench, arm, seed, count), folder)


def labelled(bench: Bench, arm: str, seed: int, count: int) -> Annotations:
    """The first views of an arm, so many, labelled; proposed and painted unless they are there."""
    path, before = _folder(bench) / f"{arm}_seed{seed}" / "labels", count - ROUND
    if before:
        labelled(bench, arm, seed, before)
    elif arm == "active" and not path.exists():
        packs.save(path, labelled(bench, "latents", seed, ROUND))
    there = packs.load(path, unlabelled=True) if path.exists() else ()
    if len(there) < count:
        doubts = arm == "active"
        model = trained(bench, arm, seed, before, quick=True) if doubts else bench.model
        request = Request(
            num=ROUND,
            by="uncertainty" if doubts else "latents",
            seed=seed,
            candidates=ROUND if arm == "random" else None,
        )
        there = proposing.propose(model, None, request, path)
    paint(there, path)
    return packs.load(path, unlabelled=True)[:count]


def paint(pack: Annotations, path: Path) -> None:
    """Labels those views of the pack in `path` that are not labelled yet, as the world has them."""
    world = views.of_classes(pack.label_map)
    for index in np.flatnonzero(~label_folders.has_labels(pack)):
        scene = world.build(pack.z[index])
        seen = world.render(scene, pack.cam2world[index], pack.intrinsics[index], pack.resolution)
        label_folders.write_mask(path, index, seen.mask, pack.label_map)


def summary(found: dict[str, dict[str, list[dict[str, Any]]]], steps: int) -> dict[str, Any]:
    """Scores by arm and number of labels, seed by seed, and what runs of equal seeds say of one arm against another."""
    claims: dict[str, dict[str, Any]] = {}
    for better, worse in (("active", "random"), ("latents", "random"), ("active", "latents")):
        if {better, worse} <= set(found):
            for count in found[worse]:
                both = [[{count: one} for one in found[arm][count]] for arm in (better, worse)]
                said = verdict(*both, count)
                claim = claims.setdefault(f"{better} is better than {worse}", {})
                claim[count] = said | {"verdict": WORDS[said["verdict"]]}
    return {"figure": "choosing", "steps": steps, "arms": found, "claims": claims}


def markdown(result: dict[str, Any]) -> str:
    """A table of the scores by number of labels, means and standard deviations over seeds, and the differences."""
    arms = result["arms"]
    seeds = len(next(iter(arms["random"].values())))
    columns = ["labels", *(f"{arm} {measure}" for arm in arms for measure in ("mIoU", "acc."))]
    lines = [f"Mean ± standard deviation over {seeds} seeds, {result['steps']} steps.", ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for count in arms["random"]:
        cells = [count]
        for runs in arms.values():
            cells += [spread([one[measure] for one in runs[count]]) for measure in ("miou", "accuracy")]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for claim, by_count in result["claims"].items():
        for count, said in by_count.items():
            differences = ", ".join(f"{value:+.3f}" for value in said["differences"])
            lines.append(f"- {claim}, {count} labels: {said['verdict']} (differences in mIoU by seed: {differences})")
    return "\n".join(lines) + "\n"


def curve(result: dict[str, Any]) -> np.ndarray:
    """The mean mIoU over seeds of every arm by the number of labels."""
    curves = {
        arm: ([int(count) for count in runs], [np.mean([one["miou"] for one in each]) for each in runs.values()])
        for arm, runs in result["arms"].items()
    }
    return pictures.curve_picture(curves, x_label="labels", y_label="mIoU")


def _folder(bench: Bench) -> Path:
    return bench.out / "choosing"


def _run(bench: Bench, arm: str, seed: int, count: int) -> Path:
    """Where a run lies; the first round's of two arms is one."""
    arm = "latents" if arm == "active" and count == ROUND else arm
    return _folder(bench) / f"{arm}_seed{seed}" / str(count)
