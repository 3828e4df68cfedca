"""Looks at a generator, a scene or a dataset, in the browser or as files: python -m dnerf_jax.view --checkpoint DIR"""

import numpy as np

from dnerf_jax import cli
from dnerf_jax.factory import loading
from dnerf_jax.factory.cards import space_page
from dnerf_jax.io import checkpoints, folders, scene_folders
from dnerf_jax.ops.ranges import Count, HalfTurn, Port, Tilt
from dnerf_jax.training import process
from dnerf_jax.training.inversion import exhibits
from dnerf_jax.viz.live import scene_page
from dnerf_jax.viz.live.sight import Sight


def main(
    scene: str = "",
    out: str = "",
    checkpoint: str = "",
    dataset: str = "",
    views: Count = 9,
    yaw: HalfTurn = 40.0,
    pitch: Tilt = 0.0,
    port: Port = 8080,
) -> None:
    """Opens a page on this machine that shows a generator's scenes, or a dataset, in space, until Ctrl-C.

    With --scene and --out it writes labelled views of the scene, a turntable, its point cloud and its mesh instead.

    scene: folder of a scene, which invert and edit write
    out: folder for views/, turntable.jpg, cloud.ply and mesh.ply; what is there of them is replaced
    checkpoint: a generator, a folder or an embedded name; of a scene, where its model is now, if not where it was
    dataset: folder that dnerf_jax.generate wrote
    views: how many are written, evenly from -yaw to yaw
    yaw: degrees from frontal, to which views are written, and beyond which the page says of heads that they are made
      up: training went to 35 for the embedded ones
    pitch: of all views that are written, degrees, negative from below
    port: of the page, at this machine's own address 127.0.0.1; 0 is any that is free
    """
    if out and (dataset or not scene):
        raise ValueError("--out is for files of a scene: give --scene DIR, which invert and edit write, and no dataset")
    if bool(dataset) == bool(scene or checkpoint):
        raise ValueError("give one of --checkpoint, --scene (with --checkpoint where its model is now) and --dataset")
    if dataset:
        return space_page.show(loading.load(dataset), port)
    if not out:
        process.prepare()
        loaded = scene_folders.load_scene(scene, checkpoint=checkpoint or None) if scene else None
        model = checkpoints.load(checkpoint) if loaded is None else loaded.model
        return scene_page.show(
            Sight(model, None if loaded is None else loaded.ws, reach=yaw), scene or checkpoint, port
        )
    with folders.claimed(out, known_by=["views"]) as folder:
        if (folder / "scene").exists():
            raise ValueError(
                f"{folder} is what invert or edit wrote, with views of its own: name a new folder for --out"
            )
        process.prepare()
        loaded = scene_folders.load_scene(scene, checkpoint=checkpoint or None)
        # A full circle must not see its first camera twice.
        yaws = np.linspace(-yaw, yaw, views, endpoint=yaw < 180) if views > 1 else np.zeros(1)
        shown = exhibits.write(folder, loaded.model, loaded.scene, yaws=yaws.tolist(), pitch=pitch)
        for note in shown.notes:
            print(f"note: {note}")
        print(f"{views} views and a cloud of {len(shown.cloud)} points: see {folder}")


if __name__ == "__main__":
    cli.door(main)
