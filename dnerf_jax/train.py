"""Trains a semantic branch: python -m dnerf_jax.train --config heads --workdir DIR"""

from pathlib import Path

from ml_collections import ConfigDict

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, packs
from dnerf_jax.training import branch, process


def main(config: ConfigDict, workdir: str, checkpoint: str = "heads") -> None:
    """Trains a semantic branch on labelled views and writes workdir/model.

    workdir: folder of the run; a run that is there is continued
    checkpoint: the generator, a folder or an embedded name
    """
    settings = cli.as_dataclass(config, branch.Settings)
    process.prepare()
    model = checkpoints.load(checkpoint)
    branch.train(settings, model, packs.load(settings.annotations, model), Path(workdir))


if __name__ == "__main__":
    cli.door(main)
