"""Fits a generator to a world: python -m dnerf_jax.pretrain --config heads_backbone_cpu --workdir DIR"""

from pathlib import Path

from ml_collections import ConfigDict

from dnerf_jax import cli
from dnerf_jax.training import process
from dnerf_jax.training.pretraining import fitting


def main(config: ConfigDict, workdir: str) -> None:
    """Renders the world's views where they are missing, fits the generator, writes workdir/model.

    workdir: folder of the run; a run that is there is continued
    """
    settings = cli.as_dataclass(config, fitting.Settings)
    process.prepare()
    fitting.fit(settings, Path(workdir))


if __name__ == "__main__":
    cli.door(main)
