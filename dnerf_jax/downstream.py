"""Trains a segmentation network on a dataset or pack: python -m dnerf_jax.downstream --config deeplab_cpu --data DIR"""

from dnerf_jax import cli
from dnerf_jax.io import folders
from dnerf_jax.training import process, runs
from dnerf_jax.training.segmentation import learning


def main(config: learning.Settings, data: str, workdir: str) -> None:
    """Trains a segmentation network on images and masks, writes workdir/model, and scores it on packs of exact labels.

    data: the folder that dnerf_jax.generate wrote, or a labelled pack: a folder, or the name of an embedded one
    workdir: folder of the run; a run that is there is continued, and one that is finished only scored
    """
    with folders.claimed(workdir, known_by=[runs.SETTINGS]) as folder:
        process.prepare()
        learning.learn(config, data, folder)
        print(f"the network is in {folder / learning.MODEL}, its scores and pictures beside it")


if __name__ == "__main__":
    cli.door(main)
