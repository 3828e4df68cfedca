"""The whole way on the embedded heads: python -m dnerf_jax.demo (make demo)

Trains the semantic branch on 90 labelled views, scores it on held-out views and a video, makes a small dataset, and
writes out/demo/scores.json and out/demo/reports.html.
"""

import dataclasses
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from dnerf_jax import cli
from dnerf_jax.factory import dataset
from dnerf_jax.io import files, packs
from dnerf_jax.models import scenes
from dnerf_jax.ops import points
from dnerf_jax.training import branch, logs, process, scoring
from dnerf_jax.viz import pictures, reports

CONFIGS = Path(__file__).parents[2] / "configs"
TURNTABLE_YAWS = np.linspace(-30, 30, 7)


def main(workdir: str = "out/demo", seed: int = 0):
    """Trains, evaluates, generates, and writes a report.

    workdir: folder for everything that is made; a demo that was stopped continues
    seed: of the training and the dataset
    """
    begun, workdir = time.monotonic(), Path(workdir)
    process.prepare()
    run = cli.as_dataclass(cli.load_config(CONFIGS / "heads.py"), branch.Settings)
    run = dataclasses.replace(run, seed=seed)
    model = branch.train(run, workdir / "training", "heads")
    scores = {
        name: scoring.evaluate(model, packs.load(pack, model), workdir / f"{name}.png")
        for name, pack in scoring.EMBEDDED.items()
    }
    scoring.write(scores, workdir)

    plan = cli.as_dataclass(cli.load_config(CONFIGS / "generate.py"), dataset.Settings)
    plan = dataclasses.replace(plan, seed=seed, latents=4)
    dataset.generate(plan, model, workdir / "dataset")
    turntable, clouds = show_scene(model, plan)
    with files.atomic_file(workdir / "turntable.jpg") as file:
        Image.fromarray(turntable).save(file, quality=90)
    write_report(workdir, model, run, scores, turntable, clouds)
    minutes = (time.monotonic() - begun) / 60
    print(f"done in {minutes:.1f} min; open {workdir / 'reports.html'}")


def show_scene(model, plan):
    """A turntable strip of image, mask, depth and cloud, and the fused cloud from further away, of one new latent."""
    z, _ = dataset.draw(plan, model.config, plan.latents)
    one = jax.jit(scenes.synthesize)(model, z)
    camera = scenes.default_camera(model.config, jnp.radians(jnp.asarray(TURNTABLE_YAWS)))
    parts = [jax.jit(scenes.render)(model, one, camera[i]) for i in range(len(TURNTABLE_YAWS))]
    views = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
    depth = np.where(np.isfinite(views.depth_z), views.depth_z, 0)
    rows = [list(pictures.to_uint8(views.image)), list(model.label_map.colorize(views.mask))]
    rows.append(list(pictures.depth_picture(depth)))
    cloud = dataset.fused_cloud(views, model.label_map, plan.voxel_size)
    colors = (cloud.colors, model.label_map.colorize(cloud.labels[None])[0])
    draw = lambda color, camera, size: [  # noqa: E731
        pictures.cloud_picture(cloud.points, color, *pose, size, radius=2)
        for pose in zip(camera.cam2world, camera.intrinsics, strict=True)
    ]
    rows.append(draw(colors[1], camera, views.image.shape[1]))
    around = scenes.default_camera(model.config, jnp.radians(jnp.array([-40.0, 10.0, 55.0])), jnp.radians(12.0))
    clouds = [draw(color, around, 320) for color in colors]
    print(f"clouds of neighbouring views: {describe_agreement(cloud_agreement(views, model.label_map))}")
    return pictures.sheet(rows), pictures.sheet(clouds)


def cloud_agreement(views, label_map):
    """How well the clouds of neighbouring views agree (`points.agreement`), averaged over the pairs."""
    clouds = [
        points.from_view(jax.tree.map(lambda x, v=v: x[v], views), label_map=label_map)
        for v in range(len(views.image))
    ]
    pairs = [points.agreement(a, b) for a, b in zip(clouds, clouds[1:], strict=False)]
    # A pair without common points has neither distance nor labels to compare: NaN if that is true of all.
    known = {name: [pair[name] for pair in pairs if pair[name] is not None] for name in pairs[0]}
    return {name: float(np.mean(values)) if values else float("nan") for name, values in known.items()}


def describe_agreement(agreement):
    """One line about it."""
    return (
        f"median distance {agreement['median_distance']:.4f}, overlap {agreement['overlap']:.2f}, "
        f"labels agree on {agreement['label_agreement']:.3f} of it"
    )


def write_report(workdir, model, run, scores, turntable, clouds):
    """Writes reports.html from what the demo made."""
    records = [r for r in logs.read_metrics(workdir / "training" / "metrics.jsonl") if "loss" in r]
    steps = [record["step"] for record in records]
    curves = {name: (steps, [record[name] for record in records]) for name in ("loss", "accuracy")}
    single, video = scores["single"], scores["video"]
    classes = model.label_map.names
    picture = lambda name: np.asarray(Image.open(workdir / name))  # noqa: E731
    reports.write(
        workdir / "reports.html",
        "DatasetNeRF on the embedded heads",
        [
            reports.text(
                f"A semantic branch was trained on 90 labelled views of 30 heads ({run.steps} steps, features "
                f"“{run.semantic.features}”, channels “{run.semantic.channels}”, seed {run.seed}) and scored on views "
                "of heads it has not seen. Labels are exact: they come from the world that the generator learned."
            ),
            reports.facts(
                {
                    "mIoU, single views": single["miou"],
                    "accuracy, single views": single["accuracy"],
                    "mIoU, video": video["miou"],
                    "accuracy, video": video["accuracy"],
                }
            ),
            reports.heading("A new head from all sides"),
            reports.figure(turntable, "One latent that no label was made for: image, mask, depth, labelled points."),
            reports.figure(clouds, "Its point cloud, fused from seven views: colours and labels."),
            reports.heading("Per class"),
            reports.table(
                ["class", "IoU, single", "IoU, video"],
                [[name, single["per_class"][name], video["per_class"][name]] for name in classes],
                colors=model.label_map.colors,
                bar=1,
            ),
            reports.heading("Held-out views"),
            reports.figure(picture("single.png"), "Single views."),
            reports.figure(picture("video.png"), "Frames of the video."),
            reports.heading("Training"),
            reports.figure(pictures.curve_picture({"loss": curves["loss"]}, y_label="cross-entropy", log_y=True)),
            reports.figure(pictures.curve_picture({"accuracy": curves["accuracy"]}, y_label="accuracy on the batch")),
            reports.heading("A small dataset"),
            reports.figure(picture("dataset/sheet.png"), "dataset/: images, masks and depth of four latents."),
        ],
    )


if __name__ == "__main__":
    cli.door(main)
