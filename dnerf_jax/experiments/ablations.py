"""The paper's ablations on exact ground truth: the runs behind tables 4 and 5, and behind two of ours.

Every row (`rows`) is trained over several seeds as configs/heads.py says (its class balance and dropout, which the
paper does not have, are alike in all rows), on the heads world at known latents. A seed draws its own labelled latents,
initial weights and order of views, so the spread tells what another choice of labels would have given. Trained branches
and their scores stay in `out`; what was stopped continues, and tables share rows. With `inversions`, what they are
scored on was found from pictures alone, as in the paper (see `inverted`).
"""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.experiments import inverted, summaries
from dnerf_jax.experiments.inverted import Inversions
from dnerf_jax.experiments.rows import CLAIMS, FIGURES, LATENTS_PER_SEED, SETS, TABLES, Row
from dnerf_jax.experiments.summaries import Scores
from dnerf_jax.io import checkpoints, files, packs
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models.model import Model
from dnerf_jax.models.semantic import Selected, SemanticConfig
from dnerf_jax.ops import metrics
from dnerf_jax.training import branch, frozen, scoring
from dnerf_jax.training.frozen import Frozen
from dnerf_jax.worlds import labelled

KEPT = 4  # packs whose samples are kept: three to score on, and one to train on


@dataclasses.dataclass
class Bench:
    """Where ablations are run: the settings that rows change, the generator, the folder of what is made.

    inversions: of what rows are scored on; None where latents and cameras are the known ones.
    samples: of the packs used last, by generator, pack and `samples_kept`: what rows share that render with the
      generator's density.
    """

    base: branch.Settings
    model: Model
    out: Path
    inversions: Inversions | None = None
    samples: dict[tuple, Selected] = dataclasses.field(default_factory=dict)


def require_known(table: str, figure: str) -> None:
    """Raises ValueError: neither a table nor a figure that can be made is named, or both, or one that cannot."""
    if table not in ("", "2", "3", *TABLES) or figure not in ("", *FIGURES) or bool(table) == bool(figure):
        known = f"either --table 2, 3, {', '.join(TABLES)} or --figure {', '.join(FIGURES)}"
        raise ValueError(f"--table is {table!r} and --figure {figure!r}: give {known}")


def require_rows(table: str, names: str) -> list[str]:
    """The names, separated by commas, of rows of a table ("" for none). Raises ValueError: it has no such row."""
    wanted, known = [name for name in names.split(",") if name], [row.name for row in TABLES.get(table, ())]
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        rows = ", ".join(known) or f"none but of --table {', '.join(TABLES)}"
        raise ValueError(f"--rows names {', '.join(unknown)}; there are: {rows}.")
    return wanted


def require_protocol(protocol: str, table: str) -> None:
    """Raises ValueError: it is none, or the table is not scored on the single views that are inverted."""
    inverts = protocol == "inversion" and "single" in SETS.get(table, {})
    if not inverts and protocol != "known":
        tables = ", ".join(table for table, sets in SETS.items() if "single" in sets)
        raise ValueError(f"--protocol is {protocol!r}, expected known, or inversion with --table {tables}")


def make_table(bench: Bench, table: str, seeds: Sequence[int], wanted: Sequence[str] = ()) -> dict[str, Any]:
    """Trains and scores what is missing of a table, prints it, writes table<N>.json and table<N>.md; returns it.

    With inversions these are table<N>_inverted.json and .md. wanted: names of its rows; none for all.
    """
    sets = scored_on(bench, table)
    name, compared = f"table{table}", tuple(scoring.EMBEDDED)
    if bench.inversions is not None:
        name, compared = f"{name}_inverted", ("single",)
    chosen = [row for row in TABLES[table] if not wanted or row.name in wanted]
    # Seed by seed: rows with the same labelled views follow each other.
    order = sorted(chosen, key=lambda row: row.views)
    found = {(row.name, seed): score(bench, row, seed, sets) for seed in seeds for row in order}
    scores = {row.name: [found[row.name, seed] for seed in seeds] for row in chosen}
    rows = [
        {
            "name": row.name,
            "changes": row.changes | row.training,
            "latents": row.views[0],
            "views_per_latent": row.views[1],
            "paper": {on: pair for on, pair in zip(scoring.EMBEDDED, row.paper, strict=True) if on in compared},
            "seeds": scores[row.name],
        }
        for row in chosen
    ]
    return summaries.write(bench.out, name, table, rows, scores, CLAIMS[table])


def scored_on(bench: Bench, table: str) -> dict[str, str]:
    """The packs that a table's rows are scored on, by what they are called: embedded ones, or made in `out`."""
    if bench.inversions is not None:
        return inverted.make(bench.inversions, bench.model, str(SETS[table]["single"]), bench.out / "inverted")
    sets = {}
    for on, views in SETS[table].items():
        sets[on] = views if isinstance(views, str) else str(bench.out / views.name)
        if not isinstance(views, str) and not (bench.out / views.name).exists():
            resolution = bench.model.generator.config.image_resolution
            packs.save(bench.out / views.name, labelled.make(views, bench.model, resolution))
    return sets


def score(bench: Bench, row: Row, seed: int, sets: dict[str, str]) -> Scores:
    """Scores of one row and seed on the packs `sets`, trained and scored unless that is done already."""
    folder = run_folder(bench, row, seed)
    path = folder / "scores.json"
    found = files.read_json(path, "scores") if path.exists() else {}
    missing = [on for on in sets if on not in found]
    if missing:
        model = trained(bench, row, seed)
        found |= {on: measure(bench, model, sets[on]) for on in missing}
        files.write_json(path, found)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # the run is over
    print(f"{row.name} seed {seed}: " + ", ".join(f"{on} {found[on]['miou']:.4f}" for on in sets), flush=True)
    return {on: found[on] for on in sets}


def measure(bench: Bench, model: Model, name: str) -> dict[str, Any]:
    """Scores of a branch on a labelled pack, as `scoring.score_pack` has them.

    With the density prior, images are not among them: rows share them, and what is known of their samples.
    """
    # What inversion failed to find is a result, and no pack out of step.
    views = packs.load(name, model, check=4 if bench.inversions is None else 0)
    scoring.require_labels(model, views)
    config = model.semantic.config
    if not config.density_prior:
        return scoring.score_pack(model, views)
    known = frozen.freeze(config, model, views, selected=known_samples(bench, config, views, name))
    return measure_frozen(model, views, known)


def measure_frozen(model: Model, views: Annotations, known: Frozen) -> dict[str, Any]:
    """Scores of a branch on a labelled pack of whose views is known what is frozen."""
    label_map = views.label_map
    counts = np.zeros((label_map.num_classes,) * 2, np.int64)
    for i in range(len(views)):
        logits = _predict(model.semantic, model.generator.config, frozen.choose(known, np.array([i])))
        mask = jnp.argmax(logits[0], axis=-1)
        counts += np.asarray(metrics.confusion(views.masks[i], mask, label_map.num_classes), np.int64)
    return metrics.scores(counts, label_map.names) | {"views": len(views)}


def known_samples(bench: Bench, config: SemanticConfig, views: Annotations, name: str) -> Selected | None:
    """`frozen.freeze_samples` of the pack of that name: what rows share that render with the generator's density."""
    if not config.density_prior:
        return None
    key = (name, config.samples_kept)
    found = bench.samples.pop(key, None) or frozen.freeze_samples(config, bench.model, views)
    bench.samples[key] = found  # the last used are the last
    while len(bench.samples) > KEPT:
        del bench.samples[next(iter(bench.samples))]
    return found


def run_folder(bench: Bench, row: Row, seed: int) -> Path:
    """Where the run of a row and seed lies."""
    latents, views = row.views
    return bench.out / f"{row.name}_{latents}x{views}_seed{seed}"


def trained(bench: Bench, row: Row, seed: int) -> Model:
    """The model of a row and seed, trained unless it is there."""
    folder, (latents, views) = run_folder(bench, row, seed), row.views
    if (folder / "model").exists():
        return checkpoints.load(folder / "model")
    labels = bench.out / f"views_{latents}x{views}_seed{seed}"
    if not labels.exists():
        packs.save(labels, labelled_views(bench.model, latents, views, seed))
    pack, form = packs.load(labels, bench.model), dataclasses.replace(bench.base.semantic, **row.changes)
    settings = dataclasses.replace(bench.base, seed=seed, annotations=str(labels), semantic=form, **row.training)
    selected = known_samples(bench, form, pack, settings.annotations)
    return branch.train(settings, bench.model, pack, folder, selected=selected)


def labelled_views(model: Model, latents: int, views: int, seed: int) -> Annotations:
    """The labelled pack of a seed: 3 views of each latent from the left, the front and the right, or one in turn."""
    (kind,) = (made for made in labelled.PACKS["heads"] if made.name == "heads_train")
    wanted = dataclasses.replace(kind, latents=latents, first=LATENTS_PER_SEED * seed)
    made = labelled.make(wanted, model, model.generator.config.image_resolution)
    each = len(kind.poses or ())
    if views == each:
        return made
    if views != 1:
        raise ValueError(f"{views} views of a latent: expected 1 or {each}.")
    return made[[each * i + i % each for i in range(latents)]]


_predict = jax.jit(branch.predict, static_argnums=1)
