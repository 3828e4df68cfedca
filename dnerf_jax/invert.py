"""Inverts a photo or a mask: python -m dnerf_jax.invert --config invert --image photo.png --out DIR"""

from pathlib import Path

from ml_collections import ConfigDict

from dnerf_jax import cli
from dnerf_jax.io import checkpoints
from dnerf_jax.training import inversion, process


def main(config: ConfigDict, out: str, image: str = "", mask: str = "", checkpoint: str = "heads") -> None:
    """Finds the latent and pose of an image, a mask, or both, and renders them.

    out: folder for result.json, latent.npy and comparison.png
    image: RGB image, framed as the checkpoint's training images
    mask: index PNG with the checkpoint's label ids
    checkpoint: folder of the model, or an embedded name; a mask needs one with a semantic branch
    """
    settings = cli.as_dataclass(config, inversion.Settings)
    process.prepare()
    model = checkpoints.load(checkpoint)
    target = inversion.read_target(model, image, mask)
    inversion.write(Path(out), model, target, inversion.invert(settings, model, target))


if __name__ == "__main__":
    cli.door(main)
