"""The paper's ablations on exact ground truth: python -m dnerf_jax.reproduce --table 4 --out out/reproduce

Tables 4 and 5 and figure S10 of the paper, on the heads world at known latents: every row is the paper's form of the
branch with the changes that the row lists, trained over several seeds as configs/heads.py says (its class balance and
dropout, which the paper does not have, are alike in all rows). A seed draws its own labelled latents, initial weights
and order of views, so the spread tells what another choice of labels would have given. Trained branches and their
scores stay in `out`; a command that was stopped continues, and tables share rows.

The paper's numbers stand beside ours for the direction alone: they are of AFHQ cats, inverted photos and drawn labels.

Two tables are ours: `--table tuning`, what configs/heads.py was chosen from, on views that are in no other pack; and
`--table ceiling`, the same branch with ever more labels, which tells what the labels limit from what the backbone does.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, files, packs
from dnerf_jax.models import scenes
from dnerf_jax.ops import cameras, consistency, metrics
from dnerf_jax.training import branch, process, runs, scoring
from dnerf_jax.viz import pictures
from dnerf_jax.worlds import heads, labelled

CONFIG = Path(__file__).parents[2] / "configs" / "heads.py"
LATENTS_PER_SEED = 1000  # of the training packs' stream; seeds have different ones
LINE = 0.47  # height of the row of figure S10 in the image: through the eyes
PAPER_FORM = {"features": "hidden", "channels": "split", "aggregation": "sum"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table: a name, changes to the branch, the labelled views, and the paper's mIoU and accuracy.

    views: latents x views of each; views of one each look from the left, the front and the right in turn.
    paper: (mIoU, accuracy) on (single images, video), where the paper has them.
    training: changes to the other settings of `train`.
    """

    name: str
    changes: dict
    views: tuple[int, int] = (30, 3)
    paper: tuple = (None, None)
    training: dict = dataclasses.field(default_factory=dict)


TABLES = {
    "4": (
        Row("last", PAPER_FORM | {"features": "last"}, paper=((0.4014, 0.7067), None)),
        Row("hidden", PAPER_FORM, paper=((0.4796, 0.7884), (0.6913, 0.9268))),
        Row("skip", PAPER_FORM | {"features": "skip"}),
        Row("hidden+last", PAPER_FORM | {"features": "hidden+last"}),
        Row("no-prior", PAPER_FORM | {"density_prior": False}, paper=((0.4728, 0.7813), (0.6899, 0.9188))),
        Row("mean", PAPER_FORM | {"aggregation": "mean"}),
        Row("none", PAPER_FORM | {"aggregation": "none"}),
        Row("concatenated", PAPER_FORM | {"channels": "concatenated"}),
        Row("all", PAPER_FORM | {"channels": "all"}),
        Row("all-none", PAPER_FORM | {"channels": "all", "aggregation": "none"}),
        Row("default", {}),
    ),
    "5": (
        Row("9", PAPER_FORM, (3, 3)),
        Row("30", PAPER_FORM, (10, 3), ((0.4394, 0.7716), (0.6138, 0.8892))),
        Row("45", PAPER_FORM, (15, 3), ((0.4588, 0.7778), (0.6752, 0.9148))),
        Row("hidden", PAPER_FORM, paper=((0.4795, 0.7884), (0.6913, 0.9268))),
        Row("300", PAPER_FORM, (100, 3)),
        Row("30x1", PAPER_FORM, (30, 1)),
        Row("90x1", PAPER_FORM, (90, 1)),
        Row("300x1", PAPER_FORM, (300, 1)),
    ),
    "ceiling": (
        Row("default", {}),
        Row("default-90x1", {}, (90, 1)),
        Row("default-300x1", {}, (300, 1), training={"steps": 1200}),
        Row("default-1000x1", {}, (1000, 1), training={"steps": 2000}),
    ),
    "tuning": (
        Row("default", {}),
        *(Row(f"learning_rate-{x}", {}, training={"learning_rate": x}) for x in (1e-2, 4e-2)),
        *(Row(f"steps-{x}", {}, training={"steps": x}) for x in (200, 800)),
        *(Row(f"class_balance-{x}", {}, training={"class_balance": x}) for x in (0.0, 0.1, 0.4)),
        *(Row(f"coarse_dropout-{x}", {}, training={"coarse_dropout": x}) for x in (0.0, 0.25)),
        *(Row(f"hidden-{x}", {"hidden": x}) for x in (32, 128)),
        *(Row(f"superresolution_width-{x}", {"superresolution_width": x}) for x in (16, 64)),
        *(Row(f"samples_kept-{x}", {"samples_kept": x}) for x in (3, 10)),
    ),
}
# What the rows of a table are scored on: names of embedded packs, or one to render. The embedded video is of one head
# whose mouth and ears are hardly seen, so there are further videos, of fewer frames each.
VIDEOS = labelled.Pack("videos", 106, 10, tuple((float(yaw), 0.0) for yaw in range(-30, 31, 5)))
VALIDATION = labelled.Pack("validation", 104, 60, None)
SETS = dict.fromkeys(("4", "5", "ceiling"), scoring.EMBEDDED | {"videos": VIDEOS})
SETS["tuning"] = {"validation": VALIDATION}
# What the paper claims: the first row is better than the second.
CLAIMS = {
    "ceiling": {"more labels help": ("default-1000x1", "default")},
    "tuning": {},
    "4": {
        "multiscale features help": ("hidden", "last"),
        "the density prior helps": ("hidden", "no-prior"),
    },
    "5": {"45 images are better than 30": ("45", "30"), "90 images are better than 45": ("hidden", "45")},
}


def main(out: str, table: str = "", figure: str = "", checkpoint: str = "heads", seeds: int = 3, rows: str = ""):
    """Reproduces a table (4 or 5) or a figure (S10) of the paper, or makes one of ours (ceiling, tuning).

    out: folder for trained branches, scores and tables; what is there is kept
    table: 4, 5, ceiling or tuning
    figure: S10
    checkpoint: the generator, trained on the heads world
    seeds: how many runs of every row
    rows: names of the table's rows to make, separated by commas; all of them unless said
    """
    if table not in ("", *TABLES) or figure not in ("", "S10") or not (table or figure):
        raise ValueError(
            f"--table is {table!r}, --figure {figure!r}: give --table {', '.join(TABLES)} or --figure S10; the paper's "
            "other tables need datasets that are not here."
        )
    if seeds < 1:
        raise ValueError(f"--seeds is {seeds}: a table needs at least one run of every row.")
    wanted = [name for name in rows.split(",") if name]
    unknown = sorted(set(wanted) - {row.name for row in TABLES.get(table, ())})
    if unknown:
        known = ", ".join(row.name for row in TABLES.get(table, ())) or "none without --table"
        raise ValueError(f"--rows names {', '.join(unknown)}; there are: {known}.")
    process.prepare()
    out = Path(out)
    base = cli.as_dataclass(cli.load_config(CONFIG), branch.Settings)
    # What is kept in `out` is of one generator and one configuration.
    runs.remember(out, base, inputs={"generator": _load(checkpoint).fingerprint})
    if table:
        make_table(table, base, checkpoint, range(seeds), out, wanted)
    if figure:
        make_figure(base, checkpoint, out)


def make_table(table, base, name, seeds, out, wanted=()):
    """Trains and scores what is missing of a table, prints it, writes table<N>.json and table<N>.md; returns it.

    wanted: names of its rows; none for all.
    """
    sets = scored_on(table, name, out)
    chosen = [row for row in TABLES[table] if not wanted or row.name in wanted]
    # Seed by seed: rows with the same labelled views follow each other.
    order = sorted(chosen, key=lambda row: row.views)
    found = {(row.name, seed): score(row, base, name, seed, out, sets) for seed in seeds for row in order}
    scores = {row.name: [found[row.name, seed] for seed in seeds] for row in chosen}
    rows = [
        {
            "name": row.name,
            "changes": row.changes | row.training,
            "latents": row.views[0],
            "views_per_latent": row.views[1],
            "paper": dict(zip(scoring.EMBEDDED, row.paper, strict=True)),
            "seeds": scores[row.name],
        }
        for row in chosen
    ]
    verdicts = {
        claim: {on: verdict(scores[better], scores[worse], on) for on in sets}
        for claim, (better, worse) in CLAIMS[table].items()
        if {better, worse} <= set(scores)
    }
    result = {"table": table, "rows": rows, "claims": verdicts}
    text = markdown(result)
    with files.atomic_file(out / f"table{table}.json") as file:
        file.write_text(json.dumps(result, indent=1) + "\n")
    with files.atomic_file(out / f"table{table}.md") as file:
        file.write_text(text)
    print(text)
    return result


def scored_on(table, name, out):
    """The packs that a table's rows are scored on, by what they are called: embedded ones, or made in `out`."""
    sets = {}
    for on, views in SETS[table].items():
        sets[on] = views if isinstance(views, str) else str(out / views.name)
        if not isinstance(views, str) and not (out / views.name).exists():
            generator = checkpoints.load(name)
            packs.save(out / views.name, labelled.make(views, generator, generator.config.image_resolution))
    return sets


def score(row, base, name, seed, out, sets):
    """Scores of one row and seed on the packs `sets`, trained and scored unless that is done already."""
    folder = run_folder(row, seed, out)
    path = folder / "scores.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    missing = [on for on in sets if on not in found]
    if missing:
        model = trained(row, base, name, seed, out)
        found |= {on: measure(model, base, sets[on]) for on in missing}
        with files.atomic_file(path) as file:
            file.write_text(json.dumps(found, indent=1) + "\n")
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # the run is over
    print(f"{row.name} seed {seed}: " + ", ".join(f"{on} {found[on]['miou']:.4f}" for on in sets), flush=True)
    return {on: found[on] for on in sets}


def measure(model, base, name):
    """Scores of a branch on a labelled pack, as `scoring.evaluate` has them, but for the images, which rows share."""
    views = packs.load(name, model)
    if not model.semantic_config.density_prior:
        return scoring.evaluate(model, views)
    run = dataclasses.replace(base, semantic=model.semantic_config)
    frozen = branch.freeze(run, model, views, known_samples(run.semantic, model, name))
    counts = 0
    for i in range(len(views)):
        one = branch.choose(frozen, np.array([i]))
        logits = _predict(model.semantic_config, model.config, model.semantic_params, one)
        mask = jnp.argmax(logits[0], axis=-1)
        counts = counts + np.asarray(metrics.confusion(views.masks[i], mask, model.label_map.num_classes), np.int64)
    return metrics.scores(counts, model.label_map.names) | {"views": len(views)}


def known_samples(config, model, name):
    """`branch.freeze_samples` of a pack: what all rows share that render with the generator's density."""
    if not config.density_prior:
        return None
    key = (model.fingerprint, name, config.samples_kept)
    if key not in _known:
        found = branch.freeze_samples(config, model, packs.load(name, model))
    else:
        found = _known.pop(key)
    _known[key] = found  # the last used are the last
    while len(_known) > 4:  # three packs to score on, and one to train on
        del _known[next(iter(_known))]
    return found


def run_folder(row, seed, out):
    """Where the run of a row and seed lies."""
    latents, views = row.views
    return out / f"{row.name}_{latents}x{views}_seed{seed}"


def trained(row, base, name, seed, out):
    """The model of a row and seed, trained unless it is there."""
    folder, (latents, views) = run_folder(row, seed, out), row.views
    if (folder / "model").exists():
        return checkpoints.load(folder / "model")
    labels = out / f"views_{latents}x{views}_seed{seed}"
    generator = checkpoints.load(name)
    if not labels.exists():
        packs.save(labels, labelled_views(generator, latents, views, seed))
    form = dataclasses.replace(base.semantic, **row.changes)
    run = dataclasses.replace(base, seed=seed, annotations=str(labels), semantic=form, **row.training)
    samples = known_samples(run.semantic, generator, run.annotations)
    return branch.train(run, folder, name, samples)


def labelled_views(model, latents, views, seed):
    """The labelled pack of a seed: 3 views of each latent from the left, the front and the right, or one in turn."""
    (kind,) = (made for made in labelled.PACKS if made.name == "heads_train")
    wanted = dataclasses.replace(kind, latents=latents, first=LATENTS_PER_SEED * seed)
    made = labelled.make(wanted, model, model.config.image_resolution)
    each = len(kind.poses)
    if views == each:
        return made
    if views != 1:
        raise ValueError(f"{views} views of a latent: expected 1 or {each}.")
    return made[[each * i + i % each for i in range(latents)]]


def verdict(better, worse, on):
    """What pairs of runs (of the same seed) say about a claim: their differences in mIoU, and a word for them."""
    differences = [a[on]["miou"] - b[on]["miou"] for a, b in zip(better, worse, strict=True)]
    word = "undecided"
    if len(differences) > 1:
        mean, error = np.mean(differences), np.std(differences, ddof=1) / len(differences) ** 0.5
        word = "undecided" if abs(mean) < 2 * error else "reproduced" if mean > 0 else "not reproduced"
    return {"differences": differences, "verdict": word}


def markdown(result):
    """A table of a result of `make_table`, means and standard deviations over seeds, and the verdicts."""
    count, sets = len(result["rows"][0]["seeds"]), list(result["rows"][0]["seeds"][0])
    paper = [on for on in scoring.EMBEDDED if any(row["paper"][on] for row in result["rows"])]
    columns = ["row", "views", *(f"{on} {measure}" for on in sets for measure in ("mIoU", "acc."))]
    columns += [f"paper, {on}" for on in paper]
    about = f"Table {result['table']}, mean ± standard deviation over {count} seeds."
    if paper:
        about += " The paper's numbers (other images, inverted latents, drawn labels) are in the last columns."
    lines = [about, "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in result["rows"]:
        cells = [row["name"], f"{row['latents']} x {row['views_per_latent']}"]
        for on in sets:
            for measure in ("miou", "accuracy"):
                values = [found[on][measure] for found in row["seeds"]]
                cells.append(f"{np.mean(values):.3f} ± {np.std(values, ddof=1) if count > 1 else 0:.3f}")
        known = [row["paper"][on] for on in paper]
        cells += ["" if pair is None else f"{pair[0]:.3f}, {pair[1]:.3f}" for pair in known]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for claim, verdicts in result["claims"].items():
        for on, found in verdicts.items():
            differences = ", ".join(f"{value:+.3f}" for value in found["differences"])
            lines.append(f"- {claim}, {on}: {found['verdict']} (differences in mIoU by seed: {differences})")
    return "\n".join(lines).rstrip() + "\n"


def make_figure(base, name, out):
    """Figure S10: line textures of the held-out video, ours and with noise drawn for every frame, and their numbers.

    Writes figureS10.png and figureS10.json; returns what the latter holds.
    """
    model = trained(TABLES["4"][-1], base, name, 0, out)
    views = packs.load(scoring.EMBEDDED["video"], model)
    distance = exact_distance(views)
    videos = {
        "exact": (views.images, views.masks),
        "ours": film(model, views),
        "noise per frame": film(model, views, jax.random.key(0)),
    }
    agreement, rows = {}, []
    line = int(LINE * views.resolution)
    for title, (images, masks) in videos.items():
        share, compared = consistency.warped_agreement(masks, distance, views.camera)
        agreement[title] = {"label_agreement": share, "points": compared}
        textures = [consistency.line_texture(x, line) for x in (images, model.label_map.colorize(masks))]
        rows.append([pictures.enlarge(texture, 3) for texture in textures])
        print(f"{title}: neighbouring frames agree on {share:.4f} of {compared} points")
    with files.atomic_file(out / "figureS10.png") as file:
        labels = pictures.sheet(rows, row_labels=list(videos), column_labels=["colour", "mask"])
        Image.fromarray(labels).save(file, optimize=True)
    with files.atomic_file(out / "figureS10.json") as file:
        file.write_text(json.dumps(agreement, indent=1) + "\n")
    return agreement


def exact_distance(views):
    """The world's distance (T, R, R) along the rays of a pack's views of its first latent."""
    head = heads.build(views.z[0])
    poses = zip(views.cam2world, views.intrinsics, strict=True)
    return np.stack([heads.render(head, *pose, views.resolution, samples=1).distance for pose in poses])


def film(model, views, key=None):
    """Images (T, R, R, 3) uint8 and masks (T, R, R) of a pack's views of its first latent.

    key: draws noise and sample depths anew for every frame, as generators do that are sampled frame by frame.
    """
    still = _synthesize(model, views.z[0])
    images, masks = [], []
    for t in range(len(views)):
        drawn = None if key is None else jax.random.fold_in(key, t)
        one = still if key is None else _synthesize(model, views.z[0], noise_mode="random", key=drawn)
        view = _render(model, one, cameras.Camera(views.cam2world[t], jnp.asarray(views.intrinsics[t])), key=drawn)
        images.append(pictures.to_uint8(np.clip(view.image, -1, 1)))
        masks.append(np.asarray(view.mask))
    return np.stack(images), np.stack(masks)


_known = {}
_predict = jax.jit(branch.predict, static_argnums=(0, 1))
_load = checkpoints.load  # the door has a parameter of this module's name
_synthesize, _render = jax.jit(scenes.synthesize, static_argnames="noise_mode"), jax.jit(scenes.render)


if __name__ == "__main__":
    cli.door(main)
