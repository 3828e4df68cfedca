"""Edits a scene by its mask: python -m dnerf_jax.edit --config edit --scene DIR --edit "open mouth" --out DIR"""

from dnerf_jax import cli
from dnerf_jax.io import folders, scene_folders
from dnerf_jax.training import process
from dnerf_jax.training.editing import plan, requests, written


def main(
    config: plan.Settings,
    scene: str,
    edit: str,
    out: str,
    view: str = "",
    checkpoint: str = "",
    perception: str = "squeezenet",
    identity: str = "dlib_face",
) -> None:
    """Changes a scene so that its mask, seen from one view, becomes another, and all else stays.

    scene: folder of a scene, which invert and edit write
    edit: a JSON list of operations, a PNG of ids painted over the view's own mask, or the name of an edit that comes
      with the heads: wider nose, larger eyes, longer hair, open mouth, thicker brows
    out: folder for scene/, comparison.png, the masks, report.html and result.json; what is there of them is replaced
    view: yaw,pitch in degrees or a JSON file of a camera that the edit is meant in; the one the scene was found from
    checkpoint: where the scene's model is now, a folder or an embedded name, if not where it was
    perception: folder or embedded name of the perceptual distance's network
    identity: folder or embedded name of the network that tells faces apart, for the heads
    """
    with folders.claimed(out, known_by=[written.RESULT, "scene"]) as folder:
        process.prepare()
        loaded = scene_folders.load_scene(scene, checkpoint=checkpoint or None)
        result = written.run(
            config,
            loaded,
            requests.read(edit, loaded.model),
            requests.view(view, loaded),
            folder,
            perception=perception,
            face=identity,
            tell=lambda stage, done, steps, loss: print(f"{stage}: {done} of {steps}, loss {loss:.4g}", flush=True),
        )
        for text in result["doubts"]:
            print(f"doubt: {text}")
        before, after = result["before"], result["after"]
        print(f"IoU {before['iou']:.2f} -> {after['iou']:.2f}, change outside {after['outside']:.4f}: see {folder}")


if __name__ == "__main__":
    cli.door(main)
