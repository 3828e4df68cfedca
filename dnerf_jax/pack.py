"""Renders the embedded labelled packs anew, or draws one: python -m dnerf_jax.pack --show PACK --out sheet.jpg"""

from pathlib import Path

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, folders, packs, png
from dnerf_jax.viz import pictures
from dnerf_jax.worlds import labelled, views


def main(out: str, checkpoint: str = "", show: str = "") -> None:
    """Writes the packs of a generator's world, or draws the masks of a pack over its images.

    Those are heads_train, heads_test and heads_video, or bodies_train, bodies_test and bodies_motion.

    out: folder to write the packs into, where those that are there are replaced; with --show the .jpg or .png to draw
    checkpoint: folder of the generator that was trained on the heads or the bodies world
    show: the pack to draw, a folder or an embedded name; of more than 48 views as many, evenly spread
    """
    if bool(checkpoint) == bool(show):
        raise ValueError("Pass either --show, the pack to draw, or --checkpoint, the generator to render packs for.")
    if show:
        pack = packs.load(show)
        png.save_image(out, pictures.labelled_sheet(pack.images, pack.masks, pack.label_map))
        print(f"{out}: masks over images of {show}, which has {len(pack)} views")
        return
    with folders.claimed(out) as folder:
        render(checkpoint, folder)


def render(checkpoint: str, folder: Path) -> None:
    """Renders the packs, checks them and writes them into `folder`."""
    model = checkpoints.load(checkpoint)
    for pack in labelled.PACKS[views.name_of_classes(model.label_map)]:
        made = labelled.make(pack, model, model.generator.config.image_resolution)
        packs.verify(made, model)
        packs.save(folder / pack.name, made, replace=True)
        print(f"{pack.name}: {len(made)} views of {pack.latents} latents")


if __name__ == "__main__":
    cli.door(main)
