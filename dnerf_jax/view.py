"""Looks at a scene, or at a dataset: python -m dnerf_jax.view --scene DIR --out DIR"""

import numpy as np

from dnerf_jax import cli
from dnerf_jax.factory import loading
from dnerf_jax.factory.cards import space_page
from dnerf_jax.io import folders, scene_folders
from dnerf_jax.ops.ranges import Count, HalfTurn, Port, Tilt
from dnerf_jax.training import process
from dnerf_jax.training.inversion import exhibits


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
    """Writes labelled views of a scene, a turntable, its point cloud and its mesh; or opens a page about a dataset.

    scene: folder of a scene, which invert and edit write
    out: folder for views/, turntable.jpg, cloud.ply and mesh.ply; what is there of them is replaced
    checkpoint: where the scene's model is now, a folder or an embedded name, if not where it was
    dataset: folder that dnerf_jax.generate wrote: its cameras and clouds in space, in the browser, until Ctrl-C
    views: how many, evenly from -yaw to yaw
    yaw: degrees from frontal; what is farther than the generator's training went, 35 for the embedded heads, is made up
    pitch: of all views, degrees, negative from below
    port: of the page, at this machine's own address 127.0.0.1; 0 is any that is free
    """
    if bool(dataset) == bool(scene or out or checkpoint):
        raise ValueError("give --scene and --out, for files of a scene, or --dataset alone, for a page about a dataset")
    if dataset:
        return space_page.show(loading.load(dataset), port)
    if not (scene and out):
        raise ValueError("give both --scene, the folder of a scene, and --out, the folder for files of it")
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
