"""DatasetGAN, the baseline of the paper's table 1, from a world to pairs; each part is kept where it is there.

generator/    the distilled 2D generator         checkpoints/, metrics.jsonl, sheets/: of its distillation
labeller/     the ensemble that labels its pixels
scores.json   how well it labels the latents and cameras of packs of exact labels, and a picture of each
pairs/        images and masks for a segmentation network, and pairs.png, the first of them
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.io import networks, packs
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models import pixel_labellers
from dnerf_jax.models.image_generators import ImageGenerator
from dnerf_jax.models.pixel_labellers import PixelLabeller
from dnerf_jax.training import runs
from dnerf_jax.training.datasetgan import distilling, ensemble, pairs
from dnerf_jax.training.datasetgan.plan import Settings
from dnerf_jax.training.segmentation import learning, scores
from dnerf_jax.worlds import views

GENERATOR, LABELLER, PAIRS = "generator", "labeller", "pairs"


def make(settings: Settings, workdir: Path, num: int) -> None:
    """Makes what is missing of DatasetGAN in a folder: generator, ensemble, scores, `num` pairs.

    Raises ValueError: the labelled views are of no world, or of one whose scenes move; packs and settings do not fit
    each other; or workdir holds another run.
    """
    pack, tests = packs.load(settings.labelled), {Path(name).name: packs.load(name) for name in settings.test}
    name = views.name_of_classes(pack.label_map)
    world = views.named(name)
    if world.articulation() is not None:
        raise ValueError(f"{settings.labelled} is of the {name} world, whose scenes move: expected views of heads")
    if settings.generator.z_dim != world.Z_DIM:
        raise ValueError(
            f"config.generator.z_dim is {settings.generator.z_dim}, expected {world.Z_DIM} as the {name} world has"
        )
    for test in tests.values():
        scores.require_same_labels(pack.label_map, settings.labelled, test)
    inputs = {"labelled": learning.content(pack)}
    runs.remember(workdir, settings, inputs=inputs, may_change=("save_every", "sheet_every", "test"))
    generator = _kept(workdir / GENERATOR, "images", lambda: distilling.fit(settings, name, workdir), world.LICENCE)
    labeller = _kept(workdir / LABELLER, "pixels", lambda: ensemble.learn(settings, generator, pack), world.LICENCE)
    scores.keep(
        {name: score(generator, labeller, test, workdir / f"{name}.png") for name, test in tests.items()}, workdir
    )
    pairs.write(settings, generator, labeller, workdir / PAIRS, num)
    pairs.show(workdir / PAIRS, workdir / f"{PAIRS}.png")


def score(generator: ImageGenerator, labeller: PixelLabeller, pack: Annotations, picture: Path) -> dict[str, Any]:
    """What `scores.compare` finds of the labels that the latents and cameras of a pack get, at its own size."""
    c = distilling.cameras_of(pack.camera)

    def predict(view: int) -> np.ndarray:
        one = slice(view, view + 1)
        _, labels = pixel_labellers.label(generator, labeller, pack.z[one], c[one], resolution=pack.resolution)
        return np.asarray(labels.mask[0])

    return scores.compare(predict, pack, picture=picture)


def _kept(folder: Path, kind: str, made: Callable[[], Any], licence: str) -> Any:
    """The network of a folder, made and saved where there is none."""
    if not (folder / networks.MARKER).is_file():
        info = {"origin": "dnerf_jax.datasetgan", "license": licence}
        networks.save(folder, made(), info=info, replace=True)
    return networks.load(folder, kind)
