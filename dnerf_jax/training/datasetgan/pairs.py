"""Pairs of an image and its labels, as DatasetGAN gives them to a segmentation network: a folder of pictures.

Latents and cameras are those of a dataset that the factory makes with the same seed, one view of every identity, so
that both methods label the same heads from the same places; but for those that are dropped.
"""

import math
from pathlib import Path

import numpy as np

from dnerf_jax.factory import draws
from dnerf_jax.factory.plan import Plan
from dnerf_jax.io import files, picture_folders, png
from dnerf_jax.models import pixel_labellers
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.image_generators import ImageGenerator
from dnerf_jax.models.pixel_labellers import PixelLabeller
from dnerf_jax.ops import images
from dnerf_jax.training import logs
from dnerf_jax.training.datasetgan.distilling import cameras_of
from dnerf_jax.training.datasetgan.plan import Settings
from dnerf_jax.viz import pictures

FACTS = "pairs.json"
SHOWN = 8  # pairs in a row of the picture


def write(settings: Settings, generator: ImageGenerator, labeller: PixelLabeller, folder: Path, num: int) -> None:
    """Writes `num` pairs (see `io.picture_folders`) and pairs.json, whole or not at all; those that are there stay.

    So many more images are made as are dropped: those whose labels the networks disagree on most, on average over
    their pixels. pairs.json has the uncertainty, in nats, of all that were made, by their names.
    """
    if (folder / FACTS).is_file() and files.read_json(folder / FACTS, "what pairs are")["num"] == num:
        print(f"{folder} has its {num} pairs already", flush=True)
        return
    count = math.ceil(num / (1 - settings.dropped))
    plan = Plan(seed=settings.seed, num_identities=count, views_per_identity=1)
    orbit = GeneratorConfig(z_dim=generator.config.z_dim, c_dim=0)
    doubts: dict[str, float] = {}
    progress = logs.Progress(count, every=20, unit="image")
    with files.atomic_folder(folder, replace=True) as made:
        for number in range(count):
            z, camera = draws.draw(plan, orbit, number)
            name = f"{number:06d}.png"
            image, labels = pixel_labellers.label(
                generator, labeller, z[None], cameras_of(camera), resolution=generator.config.resolution
            )
            picture = images.to_uint8(np.asarray(image[0]), span=(-1, 1))
            png.save_image(made / picture_folders.IMAGES / name, picture)
            png.save_mask(made / picture_folders.MASKS / name, labels.mask[0], labeller.config.label_map)
            doubts[name] = float(np.mean(labels.uncertainty))
            progress.update(number + 1)
        dropped = sorted(doubts, key=lambda name: doubts[name])[num:]
        for name in dropped:
            (made / picture_folders.IMAGES / name).unlink()
            (made / picture_folders.MASKS / name).unlink()
        png.save_label_map(made / picture_folders.LABEL_MAP, labeller.config.label_map)
        files.write_json(made / FACTS, {"num": num, "dropped": dropped, "uncertainty": doubts})


def show(folder: Path, path: Path, *, rows: int = 2) -> None:
    """Draws the first pairs of a folder, masks below their images, into a picture."""
    known = picture_folders.load(folder)
    drawn: list[list[np.ndarray]] = []
    for first in range(0, min(len(known), rows * SHOWN), SHOWN):
        pairs = [known.read(number) for number in range(first, min(first + SHOWN, len(known)))]
        drawn += [[image for image, _ in pairs], [known.label_map.colorize(mask) for _, mask in pairs]]
    png.save_image(path, pictures.sheet(drawn))
