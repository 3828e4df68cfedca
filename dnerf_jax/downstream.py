"""Trains a network on a dataset, pack or clouds: python -m dnerf_jax.downstream --config deeplab_cpu --data DIR"""

from typing import Any

from dnerf_jax import cli
from dnerf_jax.io import folders
from dnerf_jax.training import process, runs
from dnerf_jax.training.points import learning as points
from dnerf_jax.training.points.plan import Settings as PointSettings
from dnerf_jax.training.segmentation import learning


def main(config: learning.Settings | PointSettings, data: str, workdir: str) -> None:
    """Trains a segmentation network on images and masks, or PointNet on labelled clouds, as the configuration says.

    It writes workdir/model, scores it on packs, or clouds, of exact labels, and tells it in workdir/report.html.

    data: the folder that dnerf_jax.generate wrote; or a labelled pack: a folder, or the name of an embedded one; or a
      folder of images and masks; for PointNet a dataset with points, or a folder of labelled PLY files
    workdir: folder of the run; a run that is there is continued, and one that is finished only scored
    """
    with folders.claimed(workdir, known_by=[runs.SETTINGS]) as folder:
        process.prepare()
        learn: Any = points.learn if isinstance(config, PointSettings) else learning.learn
        learn(config, data, folder)
        print(f"the network is in {folder / learning.MODEL}, its scores beside it")


if __name__ == "__main__":
    cli.door(main)
