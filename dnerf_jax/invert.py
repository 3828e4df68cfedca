"""Inverts a photo or a mask: python -m dnerf_jax.invert --config invert --image photo.png --out DIR"""

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, folders
from dnerf_jax.training import inversion, process, runs


def main(config: inversion.Settings, out: str, image: str = "", mask: str = "", checkpoint: str = "heads") -> None:
    """Finds the latent and pose of an image, a mask, or both, and renders them.

    out: folder for result.json, latent.npy and comparison.png; an inversion that was stopped there is continued
    image: RGB image, framed as the checkpoint's training images
    mask: index PNG with the checkpoint's label ids
    checkpoint: folder of the model, or an embedded name; a mask needs one with a semantic branch
    """
    with folders.claimed(out, known_by=[runs.SETTINGS]) as folder:
        process.prepare()
        model = checkpoints.load(checkpoint)
        inversion.run(config, model, inversion.read_target(model, image, mask), folder)


if __name__ == "__main__":
    cli.door(main)
