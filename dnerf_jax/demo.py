"""The whole way on the embedded heads: python -m dnerf_jax.demo (make demo)

Trains the semantic branch on 90 labelled views, scores it on held-out views and a video, makes a small dataset, and
writes out/demo/scores.json and out/demo/report.html.
"""

import dataclasses
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from dnerf_jax import annotations, evaluate, files, generate, pictures, pointcloud, report, runs, scene, settings, train

CONFIGS = Path(__file__).parent.parent / "configs"
TURNTABLE_YAWS = np.linspace(-30, 30, 7)


def main(workdir: str = "out/demo", seed: int = 0):
    """Trains, evaluates, generates, and writes a report.

    workdir: folder for everything that is made; a demo that was stopped continues
    seed: of the training and the dataset
    """
    begun, workdir = time.monotonic(), Path(workdir)
    runs.prepare_process()
    run = settings.as_dataclass(settings.load_config(CONFIGS / "heads.py"), train.Settings)
    run = dataclasses.replace(run, seed=seed)
    model = train.train(run, workdir / "training", "heads")
    scores = {
        name: evaluate.evaluate(model, annotations.load(pack, model), workdir / f"{name}.png")
        for name, pack in evaluate.EMBEDDED.items()
    }
    evaluate.write(scores, workdir)

    dataset = settings.as_dataclass(settings.load_config(CONFIGS / "generate.py"), generate.Settings)
    dataset = dataclasses.replace(dataset, seed=seed, latents=4)
    generate.generate(dataset, model, workdir / "dataset")
    turntable, clouds = show_scene(model, dataset)
    with files.atomic_file(workdir / "turntable.jpg") as file:
        Image.fromarray(turntable).save(file, quality=90)
    write_report(workdir, model, run, scores, turntable, clouds)
    minutes = (time.monotonic() - begun) / 60
    print(f"done in {minutes:.1f} min; open {workdir / 'report.html'}")


def show_scene(model, dataset):
    """A turntable strip of image, mask, depth and cloud, and the fused cloud from further away, of one new latent."""
    z, _ = generate.draw(dataset, model.config, dataset.latents)
    one = jax.jit(scene.synthesize)(model, z)
    camera = scene.default_camera(model.config, jnp.radians(jnp.asarray(TURNTABLE_YAWS)))
    parts = [jax.jit(scene.render)(model, one, camera[i]) for i in range(len(TURNTABLE_YAWS))]
    views = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
    depth = np.where(np.isfinite(views.depth_z), views.depth_z, 0)
    rows = [list(pictures.to_uint8(views.image)), list(model.label_map.colorize(views.mask))]
    rows.append(list(pictures.depth_picture(depth)))
    cloud = generate.fused_cloud(views, model.label_map, dataset.voxel_size)
    colors = (cloud.colors, model.label_map.colorize(cloud.labels[None])[0])
    draw = lambda color, camera, size: [  # noqa: E731
        pictures.cloud_picture(cloud.points, color, *pose, size, radius=2)
        for pose in zip(camera.cam2world, camera.intrinsics, strict=True)
    ]
    rows.append(draw(colors[1], camera, views.image.shape[1]))
    around = scene.default_camera(model.config, jnp.radians(jnp.array([-40.0, 10.0, 55.0])), jnp.radians(12.0))
    clouds = [draw(color, around, 320) for color in colors]
    print(f"clouds of neighbouring views: {describe_agreement(cloud_agreement(views, model.label_map))}")
    return pictures.sheet(rows), pictures.sheet(clouds)


def cloud_agreement(views, label_map):
    """How well the clouds of neighbouring views agree (`pointcloud.agreement`), averaged over the pairs."""
    clouds = [
        pointcloud.from_view(jax.tree.map(lambda x, v=v: x[v], views), label_map=label_map)
        for v in range(len(views.image))
    ]
    pairs = [pointcloud.agreement(a, b) for a, b in zip(clouds, clouds[1:], strict=False)]
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
    """Writes report.html from what the demo made."""
    records = [r for r in runs.read_metrics(workdir / "training" / "metrics.jsonl") if "loss" in r]
    steps = [record["step"] for record in records]
    curves = {name: (steps, [record[name] for record in records]) for name in ("loss", "accuracy")}
    single, video = scores["single"], scores["video"]
    classes = model.label_map.names
    picture = lambda name: np.asarray(Image.open(workdir / name))  # noqa: E731
    report.write(
        workdir / "report.html",
        "DatasetNeRF on the embedded heads",
        [
            report.text(
                f"A semantic branch was trained on 90 labelled views of 30 heads ({run.steps} steps, features "
                f"“{run.semantic.features}”, channels “{run.semantic.channels}”, seed {run.seed}) and scored on views "
                "of heads it has not seen. Labels are exact: they come from the world that the generator learned."
            ),
            report.facts(
                {
                    "mIoU, single views": single["miou"],
                    "accuracy, single views": single["accuracy"],
                    "mIoU, video": video["miou"],
                    "accuracy, video": video["accuracy"],
                }
            ),
            report.heading("A new head from all sides"),
            report.figure(turntable, "One latent that no label was made for: image, mask, depth, labelled points."),
            report.figure(clouds, "Its point cloud, fused from seven views: colours and labels."),
            report.heading("Per class"),
            report.table(
                ["class", "IoU, single", "IoU, video"],
                [[name, single["per_class"][name], video["per_class"][name]] for name in classes],
                colors=model.label_map.colors,
                bar=1,
            ),
            report.heading("Held-out views"),
            report.figure(picture("single.png"), "Single views."),
            report.figure(picture("video.png"), "Frames of the video."),
            report.heading("Training"),
            report.figure(pictures.curve_picture({"loss": curves["loss"]}, y_label="cross-entropy", log_y=True)),
            report.figure(pictures.curve_picture({"accuracy": curves["accuracy"]}, y_label="accuracy on the batch")),
            report.heading("A small dataset"),
            report.figure(picture("dataset/sheet.png"), "dataset/: images, masks and depth of four latents."),
        ],
    )


if __name__ == "__main__":
    settings.door(main)
