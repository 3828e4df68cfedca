"""The whole way on an embedded world: labelled views, a trained branch, scores, a small dataset, a report."""

import itertools
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.factory import draws
from dnerf_jax.factory.cards import card
from dnerf_jax.factory.plan import Plan
from dnerf_jax.factory.runs import engines
from dnerf_jax.factory.runs.work import Job
from dnerf_jax.io import checkpoints, packs, png
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models import articulated, scenes
from dnerf_jax.models.model import Model
from dnerf_jax.models.scenes import View
from dnerf_jax.ops import images, points
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.training import branch, logs, scoring
from dnerf_jax.viz import pictures, reports

TRAINING = "training"  # the folder of the training run, beside what the demo writes
DATASET = Path("dataset")
TURNTABLE_YAWS = np.linspace(-30, 30, 7)
AROUND_YAWS = np.linspace(-180, 180, 7, endpoint=False)  # of bodies, which have a back


def run(world: str, settings: branch.Settings, plan: Plan, workdir: Path) -> None:
    """Trains a branch of an embedded generator, scores it on held-out views and a video, makes a small dataset.

    Writes scores.json and report.html, and what they are of, into the folder `workdir`; what is there is kept.
    """
    begun, model = time.monotonic(), checkpoints.load(world)
    print(f"checking the labelled views {settings.annotations}", flush=True)
    known = packs.load(settings.annotations, model)
    model = branch.train(settings, model, known, workdir / TRAINING)
    scores = {
        name: scoring.score_pack(model, packs.load(pack, model), picture=workdir / f"{name}.png")
        for name, pack in scoring.embedded_packs(model).items()
    }
    scoring.write(scores, workdir)
    engines.generate(Job(plan, str(workdir / TRAINING / branch.MODEL), str(workdir / DATASET)))
    turntable, clouds = show_scene(model, plan)
    png.save_image(workdir / "turntable.jpg", turntable)
    write_report(workdir, model, settings, known, scores, turntable, clouds)
    minutes = (time.monotonic() - begun) / 60
    print(f"done in {minutes:.1f} min; open {workdir / 'report.html'}")


def show_scene(model: Model, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """A turntable strip of image, mask, depth and cloud, and the fused cloud from further away, of one new latent."""
    config, label_map = model.generator.config, model.label_map
    z, _ = draws.draw(plan, config, plan.num_identities)
    pose = None
    turns = TURNTABLE_YAWS
    if config.articulation:
        pose = articulated.known(config.articulation, model.generator.variables["template"], 0)
        turns = AROUND_YAWS
    camera = scenes.default_camera(config, jnp.radians(jnp.asarray(turns)))
    views = jax.jit(scenes.render)(model, jax.jit(scenes.synthesize)(model, z, pose=pose), camera)
    views = jax.tree.map(np.asarray, views)
    rows = [list(images.to_uint8(views.image, span=(-1, 1))), list(label_map.colorize(views.mask))]
    rows.append(list(pictures.depth_picture(views.depth_z)))
    cloud = points.from_views(views, label_map=label_map, num_points=None, voxel_size=plan.cloud.voxel_size)
    colors = (cloud.colors, label_map.colorize(cloud.labels[None])[0])

    def show(color: np.ndarray, camera: Camera, size: int) -> list[np.ndarray]:
        return [pictures.cloud_picture(cloud.points, color, one, size, radius=2) for one in camera]

    rows.append(show(colors[1], camera, views.image.shape[1]))
    around = scenes.default_camera(config, jnp.radians(jnp.array([-40.0, 10.0, 55.0])), jnp.radians(12.0))
    clouds = [show(color, around, 320) for color in colors]
    print(f"clouds of neighbouring views: {describe_agreement(cloud_agreement(views, label_map))}")
    return pictures.sheet(rows), pictures.sheet(clouds)


def cloud_agreement(views: View, label_map: LabelMap | None) -> dict[str, float | None]:
    """How well the clouds of neighbouring views agree (`points.agreement`), averaged over the pairs."""
    clouds = [points.from_view(view, label_map=label_map) for view in views]
    pairs = [points.agreement(a, b) for a, b in itertools.pairwise(clouds)]
    # A pair without common points has neither distance nor labels to compare: None if that is true of all.
    known = {name: [pair[name] for pair in pairs if pair[name] is not None] for name in pairs[0]}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}


def describe_agreement(agreement: dict[str, float | None]) -> str:
    """One line about it."""
    distance, overlap, labels = (agreement[name] for name in ("median_distance", "overlap", "label_agreement"))
    if distance is None:
        return "they have no points in common"
    line = f"median distance {distance:.4f}, overlap {overlap:.2f}"
    return line if labels is None else f"{line}, labels agree on {labels:.3f} of it"


def write_report(
    workdir: Path,
    model: Model,
    settings: branch.Settings,
    known: Annotations,
    scores: dict[str, dict[str, Any]],
    turntable: np.ndarray,
    clouds: np.ndarray,
) -> None:
    """Writes report.html from what the demo made."""
    records = [r for r in logs.read_metrics(workdir / "training" / "metrics.jsonl") if "loss" in r]
    steps = [record["step"] for record in records]
    curves = {name: (steps, [record[name] for record in records]) for name in ("loss", "accuracy")}
    classes = model.label_map.names

    def picture(name: str | Path) -> np.ndarray:
        return png.load_image(workdir / name)

    reports.write(
        workdir / "report.html",
        f"DatasetNeRF on the embedded {known.name.split('_')[0]}",
        [
            reports.text(
                f"A semantic branch was trained on {len(known)} labelled views of {len(set(known.latent_id.tolist()))} "
                f"latents ({settings.steps} steps, features "
                f"“{settings.semantic.features}”, channels “{settings.semantic.channels}”, seed {settings.seed}) and "
                "scored on views of latents it has not seen. Labels are exact: they come from the world that the "
                "generator learned."
            ),
            reports.facts(
                {
                    f"{name}, {on}": scores[on][key]
                    for on in scores
                    for name, key in (("mIoU", "miou"), ("accuracy", "accuracy"))
                }
            ),
            reports.heading("A new latent from all sides"),
            reports.figure(turntable, "One latent that no label was made for: image, mask, depth, labelled points."),
            reports.figure(clouds, "Its point cloud, fused from seven views: colours and labels."),
            reports.heading("Per class"),
            reports.table(
                ["class", *(f"IoU, {on}" for on in scores)],
                [[name, *(of["per_class"][name] for of in scores.values())] for name in classes],
                colors=model.label_map.colors,
                bar=1,
            ),
            reports.heading("Held-out views"),
            *(reports.figure(picture(f"{on}.png"), f"Of {on}.") for on in scores),
            reports.heading("Training"),
            reports.figure(pictures.curve_picture({"loss": curves["loss"]}, y_label="cross-entropy", log_y=True)),
            reports.figure(pictures.curve_picture({"accuracy": curves["accuracy"]}, y_label="accuracy on the batch")),
            reports.heading("A small dataset"),
            reports.figure(picture(DATASET / card.PICTURE), "dataset/: images, masks and depth of its identities."),
        ],
    )
