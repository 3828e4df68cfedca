"""Does a branch know where it is wrong? Measures of confidence in its labels, on exact ground truth; a figure of ours.

A pixel's label is that of the branch of one seed. How sure it is, is the probability that the label is given

    own       by that branch: what datasets hold as `confidence`
    dropout   by its mean over DRAWS draws of the dropout of coarse features that it was trained with
    ensemble  by the mean of the branches of all seeds, of other labelled views and first weights

and good is what is small where the label is wrong: AUROC, the probability that a wrong label has less than a right one,
and the share of all wrong labels that is found among the least sure pixels. Since means label, too, their own labels
are scored beside. On views at their known latents, of the video some; branches, the table's `default`, stay in `out`.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.experiments import ablations
from dnerf_jax.experiments.ablations import Bench
from dnerf_jax.experiments.rows import TABLES
from dnerf_jax.experiments.summaries import spread
from dnerf_jax.io import files, packs, png
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.semantic import Branch
from dnerf_jax.ops import metrics
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.training import branch, frozen, scoring
from dnerf_jax.training.frozen import Frozen
from dnerf_jax.viz import pictures

DRAWS = 4
FRAMES = 4  # of a video every so many
MEASURES = ("own", "dropout", "ensemble")
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)  # of all pixels, the least sure


def make_figure(bench: Bench, seeds: Sequence[int]) -> dict[str, Any]:
    """Trains what is missing, prints a table, writes confidence.json, .md and .png; returns the first.

    Raises ValueError: fewer than two seeds, of which none disagrees.
    """
    if len(seeds) < 2:
        raise ValueError(f"{len(seeds)} seed: an ensemble has at least two branches, so give --seeds 2 or more")
    row = next(row for row in TABLES["features"] if row.name == "default")
    models = [ablations.trained(bench, row, seed) for seed in seeds]
    result: dict[str, Any] = {"figure": "confidence", "draws": DRAWS, "packs": {}}
    for on, name in scoring.EMBEDDED.items():
        views, form = packs.load(name, bench.model), models[0].semantic.config
        views = views[:: FRAMES if on == "video" else 1]
        known = frozen.freeze(form, models[0], views)
        branches, label_map = [model.semantic for model in models], models[0].label_map
        config = bench.model.generator.config
        result["packs"][on] = measure(branches, config, known, label_map, bench.base.coarse_dropout)
    files.write_json(bench.out / "confidence.json", result)
    files.write_text(bench.out / "confidence.md", markdown(result))
    png.save_image(bench.out / "confidence.png", curve(result), optimize=True)
    print(markdown(result), flush=True)
    return result


def measure(
    branches: Sequence[Branch], config: GeneratorConfig, known: Frozen, label_map: LabelMap, rate: float
) -> dict[str, list[dict[str, Any]]]:
    """Of every measure, branch by branch, `ranking` of its confidence in the branch's labels, and its own mIoU.

    known: what is frozen of the views, with their exact masks. rate: of the dropout.
    """
    sure: dict[str, list[list[np.ndarray]]] = {measure: [[] for _ in branches] for measure in MEASURES}
    wrong: list[list[np.ndarray]] = [[] for _ in branches]
    counts = np.zeros((len(MEASURES), len(branches), label_map.num_classes, label_map.num_classes), np.int64)
    for i in range(len(known.masks)):
        view = frozen.choose(known, np.array([i]))
        mask = np.asarray(view.masks[0])
        counted, key = mask != LabelMap.IGNORE, jax.random.key(i)
        each = [_probabilities(x, config, view) for x in branches]
        ensemble = jnp.mean(jnp.stack(each), axis=0)
        for j, own in enumerate(each):
            dropped = _dropped(branches[j], config, view, jax.random.fold_in(key, j), rate)
            label = jnp.argmax(own, axis=-1)
            wrong[j].append((np.asarray(label) != mask)[counted])
            for k, probabilities in enumerate((own, dropped, ensemble)):
                of_label = jnp.take_along_axis(probabilities, label[..., None], axis=-1)[..., 0]
                sure[MEASURES[k]][j].append(np.asarray(of_label)[counted])
                best = jnp.argmax(probabilities, axis=-1)
                counts[k, j] += np.asarray(metrics.confusion(mask, best, label_map.num_classes), np.int64)
    found: dict[str, list[dict[str, Any]]] = {measure: [] for measure in MEASURES}
    for k, name in enumerate(MEASURES):
        for j in range(len(branches)):
            ranked = ranking(np.concatenate(sure[name][j]), np.concatenate(wrong[j]))
            found[name].append(ranked | {"miou": metrics.scores(counts[k, j], label_map.names)["miou"]})
    return found


@functools.partial(jax.jit, static_argnums=1)
def _probabilities(of: Branch, config: GeneratorConfig, view: Frozen) -> jax.Array:
    """(R, R, C) of one view."""
    return jax.nn.softmax(branch.predict(of, config, view)[0], axis=-1)


@functools.partial(jax.jit, static_argnums=(1, 4))
def _dropped(of: Branch, config: GeneratorConfig, view: Frozen, key: jax.Array, rate: float) -> jax.Array:
    """(R, R, C) of one view, the mean over draws."""

    def draw(key: jax.Array) -> jax.Array:
        features = branch.drop_coarse(key, view.features, rate)
        return _probabilities(of, config, view.replace(features=features))

    return jnp.mean(jax.lax.map(draw, jax.random.split(key, DRAWS)), axis=0)


def ranking(sure: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    """How well confidences (N,) tell which of N labels are wrong (N,).

    "wrong": their share; "auroc"; "found": by the share of the least sure pixels the share of all wrong labels that is
    among them. Of equal confidences none comes first.
    """
    order = np.argsort(sure, kind="stable")
    sure, wrong = sure[order], wrong[order]
    last = np.flatnonzero(np.append(np.diff(sure) > 0, True))  # of those that are equally sure
    found, right = (np.concatenate([[0], np.cumsum(x)[last] / max(x.sum(), 1)]) for x in (wrong, ~wrong))
    seen = np.concatenate([[0], (last + 1) / len(sure)])
    return {
        "wrong": float(wrong.mean()),
        "auroc": float(np.trapezoid(found, right)),
        "found": {str(share): float(np.interp(share, seen, found)) for share in SHARES},
    }


def markdown(result: dict[str, Any]) -> str:
    """A table by pack and measure, mean ± standard deviation over the branches."""
    seeds = len(next(iter(result["packs"].values()))["own"])
    shares = [str(share) for share in SHARES]
    columns = ["pack", "measure", "AUROC", *(f"found in {100 * share:g} %" for share in SHARES), "mIoU of its labels"]
    lines = [f"Mean ± standard deviation over {seeds} branches; dropout of {result['draws']} draws.", ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for on, measures in result["packs"].items():
        for name, runs in measures.items():
            cells = [spread([one["auroc"] for one in runs])]
            cells += [spread([one["found"][share] for one in runs]) for share in shares]
            cells.append(spread([one["miou"] for one in runs]))
            lines.append(f"| {on} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def curve(result: dict[str, Any]) -> np.ndarray:
    """The share of wrong labels that is found by the share of pixels looked at, the mean over branches and packs."""
    curves = {}
    for name in MEASURES:
        runs = [one["found"] for measures in result["packs"].values() for one in measures[name]]
        curves[name] = ([0, *SHARES], [0, *(float(np.mean([one[str(share)] for one in runs])) for share in SHARES)])
    return pictures.curve_picture(curves, x_label="share of the pixels, the least sure", y_label="wrong labels found")
