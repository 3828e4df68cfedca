"""Renders the embedded labelled packs anew: python -m dnerf_jax.pack --checkpoint DIR --out DIR"""

from pathlib import Path

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, packs
from dnerf_jax.worlds import labelled


def main(checkpoint: str, out: str) -> None:
    """Writes the packs heads_train, heads_test and heads_video.

    checkpoint: folder of the generator that was trained on the heads world
    out: folder to write the packs into; packs that are there are replaced
    """
    model = checkpoints.load(checkpoint)
    for pack in labelled.PACKS:
        made = labelled.make(pack, model, model.generator.config.image_resolution)
        packs.verify(made, model)
        packs.save(Path(out) / pack.name, made, replace=True)
        print(f"{pack.name}: {len(made)} views of {pack.latents} latents")


if __name__ == "__main__":
    cli.door(main)
