"""Clouds to learn from: tables 2 and 3 of the paper and its figure S12, on generated clouds and on exact ones.

Exact clouds of the heads world, scanned from cameras that are drawn as the factory's (`worlds.clouds`), are in the
part of ShapeNet's. Every row is a number of exact and of generated clouds, which each seed chooses from those that
there are; a smaller row of a seed is part of its larger ones. All rows are trained for the same number of steps, so
they differ in their data alone, and all are scored on two fixed sets of the same latents and cameras: the clouds that
the generator makes of them, labelled by the branch, and the exact ones.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.experiments import summaries
from dnerf_jax.experiments.summaries import Scores
from dnerf_jax.factory import draws, provenance, record
from dnerf_jax.factory.plan import Plan
from dnerf_jax.factory.runs import engines
from dnerf_jax.factory.runs.work import Job
from dnerf_jax.io import checkpoints, files, folders, ply, png
from dnerf_jax.models.model import Model
from dnerf_jax.training import process, runs
from dnerf_jax.training.points import clouds, learning
from dnerf_jax.training.points.clouds import Clouds
from dnerf_jax.training.points.plan import Settings
from dnerf_jax.viz import pictures
from dnerf_jax.worlds import clouds as scanned
from dnerf_jax.worlds import views

TESTS, LEAST_TESTS = 100, 50  # clouds of each set that is scored on, and how few at any scale
VIEWS = 2  # from which a cloud is made
SPLIT = "clouds"
# Seeds of latents and cameras; the tests' are alike.
SEEDS = {"generated": 0, "exact": 2, "generated_test": 1, "exact_test": 1}


@dataclasses.dataclass(frozen=True)
class Row:
    """A number of exact and of generated clouds to learn from, and the paper's (mIoU, accuracy) by what it tested."""

    exact: int
    generated: int
    paper: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """What tables and claims call it, by the paper's numbers."""
        counts = {"exact": self.exact, "generated": self.generated}
        return " + ".join(f"{count} {kind}" for kind, count in counts.items() if count)


TABLES = {
    "2": (
        Row(0, 400, {"generated": (0.6268, 0.8788)}),
        Row(0, 600, {"generated": (0.6447, 0.8809)}),
        Row(0, 800, {"generated": (0.6403, 0.8828)}),
        Row(0, 1100, {"generated": (0.6651, 0.8950)}),
    ),
    "3": (
        Row(600, 0, {"exact": (0.6773, 0.8796)}),
        Row(600, 725, {"exact": (0.7519, 0.9073)}),
        Row(1325, 0, {"exact": (0.7412, 0.9059)}),
        Row(1325, 1325, {"exact": (0.7571, 0.9104)}),
    ),
    "S12": (Row(150, 0), Row(300, 0), Row(600, 0), Row(1000, 0), Row(1325, 0)),
}
# What the paper claims: the first row is better than the second.
CLAIMS = {
    "2": {"more generated clouds help": ("1100 generated", "400 generated")},
    "3": {
        "generated clouds help 600 exact ones": ("600 exact + 725 generated", "600 exact"),
        "725 generated ones are better than 725 more exact ones": ("600 exact + 725 generated", "1325 exact"),
        "generated clouds help 1325 exact ones": ("1325 exact + 1325 generated", "1325 exact"),
    },
    "S12": {"325 clouds help 1000 exact ones": ("1325 exact", "1000 exact")},
}
ABOUT = "The paper's numbers (cats and cars, other networks' sizes) are in the last columns."


def make(out: str, name: str, checkpoint: str, base: Settings, seeds: Sequence[int], scale: float) -> dict[str, Any]:
    """Makes what is missing of a table or of figure S12 in the folder `out`: clouds, networks, scores; returns it.

    Writes table<N>.json and table<N>.md, of the figure also figureS12.png.

    Args:
      checkpoint: a generator of a world, with a semantic branch.
      base: how networks are trained; seed and data are the rows'.
      scale: share of the paper's numbers of clouds, to learn from and to be scored on, of which there are 50 at least.

    Raises ValueError: the checkpoint has no branch or is of no world, or `out` is of another one or other settings.
    """
    with folders.claimed(out, known_by=[runs.SETTINGS]) as folder:
        process.prepare()
        model = checkpoints.load(checkpoint)
        if model.semantic is None:
            raise ValueError(f"{checkpoint} has no semantic branch, which labels clouds: train one (dnerf_jax.train)")
        made_by = provenance.origin(model)
        inputs = {name: str(made_by[name]) for name in ("fingerprint", "semantic_fingerprint")} | {"scale": str(scale)}
        runs.remember(folder, base, inputs=inputs, made="*/*/scores.json")
        rows = TABLES[name]
        kinds = [kind for kind in SEEDS if kind.endswith("_test") or any(getattr(row, kind) for row in rows)]
        known = {kind: supply(kind, model, checkpoint, folder, base.points, scale) for kind in kinds}
        found = {(row.name, seed): trained(row, base, known, folder, seed, scale) for seed in seeds for row in rows}
        scores = {row.name: [found[row.name, seed] for seed in seeds] for row in rows}
        described = [
            {
                "name": row.name,
                "data": " + ".join(f"{scaled(x, scale)}" for x in (row.exact, row.generated) if x),
                "paper": row.paper,
                "seeds": scores[row.name],
            }
            for row in rows
        ]
        return write(folder, name, described, scores)


def write(folder: Path, name: str, described: list[dict[str, Any]], scores: dict[str, list[Scores]]) -> dict[str, Any]:
    """Writes a table, of S12 a figure too, and prints it; returns what its JSON holds."""
    result = summaries.write(folder, f"table{name}", name, described, scores, CLAIMS[name], about=ABOUT)
    if name == "S12":
        counts = [int(row["data"]) for row in described]
        curves = {
            f"{measure}, {on}": (counts, [float(np.mean([x[on][key] for x in row["seeds"]])) for row in described])
            for on in ("exact", "generated")
            for measure, key in (("mIoU", "miou"), ("accuracy", "accuracy"))
        }
        picture = pictures.curve_picture(curves, x_label="clouds", y_label="of points")
        png.save_image(folder / "figureS12.png", picture, optimize=True)
    return result


def scaled(count: int, scale: float) -> int:
    """So many clouds of the paper's number, at least one of any."""
    return max(round(count * scale), int(count > 0))


def supply(kind: str, model: Model, checkpoint: str, folder: Path, count: int, scale: float) -> Clouds:
    """The clouds of a kind (of SEEDS), made where they are missing, with `count` points each."""
    most = max(getattr(row, kind.removesuffix("_test")) for rows in TABLES.values() for row in rows)
    number = max(scaled(TESTS, scale), LEAST_TESTS) if kind.endswith("_test") else scaled(most, scale)
    wanted = Plan(
        seed=SEEDS[kind],
        num_identities=number,
        views_per_identity=VIEWS,
        splits=((SPLIT, 1),),
        modalities=("image", "mask", "points"),
        shard_size=10,
    )
    where = folder / kind
    if kind.startswith("generated"):
        engines.generate(Job(wanted, checkpoint, str(where)))
    else:
        scan(wanted, model, where)
    return clouds.load(where, count, split=SPLIT)[slice(number)]


def scan(wanted: Plan, model: Model, folder: Path) -> None:
    """Writes the exact clouds of a plan's identities into a folder, those that are missing."""
    world, config = views.of_classes(model.label_map), model.generator.config
    folder.mkdir(exist_ok=True)
    for identity in range(wanted.num_identities):
        path = folder / f"{record.key_of(identity)}.{record.OBJECT_SUFFIX['points']}"
        if path.exists():
            continue
        z, camera = draws.draw(wanted, config, identity)
        poses = list(zip(camera.cam2world, camera.intrinsics, strict=True))
        cloud = scanned.scan(
            world,
            z,
            poses,
            config.image_resolution,
            voxel_size=wanted.cloud.voxel_size,
            num_points=wanted.cloud.num_points,
        )
        ply.save_cloud(path, cloud)
        if identity % 25 == 0:
            print(f"{folder.name}: cloud {identity + 1} of {wanted.num_identities}", flush=True)


def run_of(row: Row, folder: Path, seed: int, scale: float) -> Path:
    """Where the training of a row and seed lies."""
    return folder / "runs" / f"{scaled(row.exact, scale)}_{scaled(row.generated, scale)}_seed{seed}"


def trained(row: Row, base: Settings, known: dict[str, Clouds], folder: Path, seed: int, scale: float) -> Scores:
    """Scores of a row and seed on both tests, trained and scored unless that is done already."""
    run = run_of(row, folder, seed, scale)
    path = run / "scores.json"
    if not path.exists():
        counts = {kind: scaled(getattr(row, kind), scale) for kind in ("exact", "generated")}
        given = clouds.joined([chosen(known[kind], count, seed) for kind, count in counts.items() if count])
        settings = dataclasses.replace(base, seed=seed)
        run.mkdir(parents=True, exist_ok=True)
        segmenter = learning.learn_from(settings, given, run, origin=f"trained on {row.name} clouds")
        tests = {on: known[f"{on}_test"] for on in ("generated", "exact")}
        learning.write_scores(segmenter, tests, run)
    found = files.read_json(path, "scores")
    print(f"{run.name}: " + ", ".join(f"{on} {found[on]['miou']:.4f}" for on in found), flush=True)
    return found


def chosen(some: Clouds, count: int, seed: int) -> Clouds:
    """So many of the clouds, in an order that is the seed's: fewer of them are part of more."""
    return some[np.random.default_rng([seed, len(some)]).permutation(len(some))[:count]]
