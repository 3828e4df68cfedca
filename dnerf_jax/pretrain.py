"""Fits a generator to a world: python -m dnerf_jax.pretrain --config heads_backbone_cpu --workdir DIR"""

from dnerf_jax import cli
from dnerf_jax.io import folders
from dnerf_jax.training import process, runs
from dnerf_jax.training.pretraining import fitting


def main(config: fitting.Settings, workdir: str) -> None:
    """Renders the world's views where they are missing, fits the generator, writes workdir/model.

    workdir: folder of the run; a run that is there is continued
    """
    with folders.claimed(workdir, known_by=[runs.SETTINGS]) as folder:
        process.prepare()
        fitting.fit(config, folder)


if __name__ == "__main__":
    cli.door(main)
