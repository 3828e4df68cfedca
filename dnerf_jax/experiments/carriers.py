"""Which features carry the labels? What a trained branch loses with some of them silenced; a figure of ours.

The paper leaves open which semantic features are the most representative. Of a branch that learned from all of them,
and of one that a penalty made sparing (`Settings.sparsity`), on validation views that are in no other pack:

    without   one scale silenced: its channels are their own means, which the branch's bias could as well hold
    strongest only so many channels left, those of which the branch makes the most: the root mean square of a channel's
              weights times its standard deviation over latents and places

Neither is trained again, so it tells what this branch relies on; what another branch does without a scale from the
start is told by the table of the same name (`rows`). Branches and scores stay in `out`.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.experiments import ablations
from dnerf_jax.experiments.ablations import Bench
from dnerf_jax.experiments.rows import TABLES, Row
from dnerf_jax.experiments.summaries import spread
from dnerf_jax.io import files, packs, png
from dnerf_jax.models import semantic
from dnerf_jax.models.model import Model
from dnerf_jax.training import frozen
from dnerf_jax.training.frozen import Frozen
from dnerf_jax.viz import pictures

BRANCHES = ("default", "sparse")  # rows of the table
SHARES = (1 / 2, 1 / 4, 1 / 8, 1 / 16)  # of the channels that are left


def make_figure(bench: Bench, seeds: Sequence[int]) -> dict[str, Any]:
    """Trains and scores what is missing, prints a table, writes features.json, .md and .png; returns the first."""
    table = {row.name: row for row in TABLES["features"]}
    found = {name: [score(bench, table[name], seed) for seed in seeds] for name in BRANCHES}
    result = {"figure": "features", "branches": found}
    files.write_json(bench.out / "features.json", result)
    files.write_text(bench.out / "features.md", markdown(result))
    png.save_image(bench.out / "features.png", curve(result), optimize=True)
    print(markdown(result), flush=True)
    return result


def score(bench: Bench, row: Row, seed: int) -> dict[str, Any]:
    """What a row's branch of that seed has with all features, with some silenced, and how it weighs every scale.

    Scores are {"miou", "accuracy"}: "all"; "without" by the name of a scale; "strongest" by the number of channels,
    with how many of every scale these are. "weight": of every scale its share of the squares of what makes a channel
    strong; "used": how many of its channels have any weight.
    """
    path = ablations.run_folder(bench, row, seed) / "features.json"
    if path.exists():
        return files.read_json(path, "scores of silenced features")
    (name,) = ablations.scored_on(bench, "features").values()
    model = ablations.trained(bench, row, seed)
    views, form = packs.load(name, model), model.semantic.config
    known = frozen.freeze(form, model, views, selected=ablations.known_samples(bench, form, views, name))
    names = [str(size) for size in semantic.feature_resolutions(form, model.generator.config)]
    names = [*names[:-1], "last"] if "last" in form.features else names
    strength = strengths(model, known)

    def scored(kept: list[np.ndarray]) -> dict[str, float]:
        found = ablations.measure_frozen(model, views, silence(known, kept))
        print(f"{row.name} seed {seed}: {sum(map(np.sum, kept))} channels, mIoU {found['miou']:.4f}", flush=True)
        return {measure: found[measure] for measure in ("miou", "accuracy")}

    every = [np.ones(len(x), bool) for x in strength]
    without = {
        silent: scored([kept if name != silent else ~kept for name, kept in zip(names, every, strict=True)])
        for silent in names
    }
    strongest = {}
    for share in SHARES:
        kept = keep(strength, round(share * sum(map(len, strength))))
        of_scales = dict(zip(names, (int(x.sum()) for x in kept), strict=True))
        strongest[str(sum(of_scales.values()))] = scored(kept) | {"of_scales": of_scales}
    squares = np.array([np.sum(np.square(x)) for x in strength])
    weight = dict(zip(names, (squares / squares.sum()).tolist(), strict=True))
    channels = dict(zip(names, map(len, strength), strict=True))
    used = dict(zip(names, (int(np.count_nonzero(x)) for x in strength), strict=True))
    result = {"channels": channels, "used": used, "weight": weight, "all": scored(every)}
    result |= {"without": without, "strongest": strongest}
    files.write_json(path, result)
    return result


def strengths(model: Model, known: Frozen) -> list[np.ndarray]:
    """How much a branch makes of every channel: of each scale (channels,) float32."""
    norms = semantic.channel_norms(model.semantic, model.generator.config)
    return [np.asarray(norm * jnp.std(x, axis=(0, 1, 2))) for norm, x in zip(norms, known.features, strict=True)]


def keep(strength: list[np.ndarray], count: int) -> list[np.ndarray]:
    """The `count` strongest channels of all scales together: of each scale (channels,) bool."""
    order = np.argsort(-np.concatenate(strength), kind="stable")
    kept = np.zeros(len(order), bool)
    kept[order[:count]] = True
    return np.split(kept, np.cumsum([len(x) for x in strength])[:-1])


def silence(known: Frozen, kept: list[np.ndarray]) -> Frozen:
    """What is frozen, with all other channels everywhere at their means over latents and places."""
    pairs = zip(known.features, kept, strict=True)
    return known.replace(features=[_silenced(x, jnp.asarray(of_scale)) for x, of_scale in pairs])


@jax.jit
def _silenced(features: jax.Array, kept: jax.Array) -> jax.Array:
    return jnp.where(kept, features, jnp.mean(features, axis=(0, 1, 2)))


def markdown(result: dict[str, Any]) -> str:
    """A table of mIoU by what is silenced, mean ± standard deviation over seeds, and the scales' weights."""
    branches = result["branches"]
    first = branches[BRANCHES[0]][0]
    seeds = len(branches[BRANCHES[0]])
    lines = [
        f"mIoU on the validation views, mean ± standard deviation over {seeds} seeds; nothing is trained again.",
        "",
    ]
    lines += ["| features | channels | " + " | ".join(branches) + " |", "|" + " --- |" * (2 + len(branches))]

    def line(name: str, channels: int, *keys: str) -> str:
        cells = [
            spread([functools.reduce(dict.__getitem__, keys, one)["miou"] for one in runs])
            for runs in branches.values()
        ]
        return f"| {name} | {channels} | " + " | ".join(cells) + " |"

    total = sum(first["channels"].values())
    lines.append(line("all", total, "all"))
    lines += [line(f"without {name}", total - first["channels"][name], "without", name) for name in first["without"]]
    lines += [line("the strongest", int(count), "strongest", count) for count in first["strongest"]]
    columns = [f"{what}, {name}" for name in branches for what in ("weight", "channels in use")]
    lines += ["", "| scale | channels | " + " | ".join(columns) + " |", "|" + " --- |" * (2 + len(columns))]
    for name, channels in first["channels"].items():
        cells = []
        for runs in branches.values():
            cells += [
                spread([one["weight"][name] for one in runs]),
                f"{np.mean([one['used'][name] for one in runs]):.0f}",
            ]
        lines.append(f"| {name} | {channels} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def curve(result: dict[str, Any]) -> np.ndarray:
    """The mean mIoU over seeds of both branches by the number of channels that are left."""
    curves = {}
    for name, runs in result["branches"].items():
        counts = [*map(int, runs[0]["strongest"]), sum(runs[0]["channels"].values())]
        each = [np.mean([one["strongest"][str(count)]["miou"] for one in runs]) for count in counts[:-1]]
        pairs = sorted(zip(counts, [*each, np.mean([one["all"]["miou"] for one in runs])], strict=True))
        curves[name] = tuple(map(list, zip(*pairs, strict=True)))
    return pictures.curve_picture(curves, x_label="channels", y_label="mIoU")
