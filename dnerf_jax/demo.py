"""The whole way on the embedded heads: python -m dnerf_jax.demo (make demo)"""

import dataclasses
from pathlib import Path

from dnerf_jax import cli
from dnerf_jax.experiments import demo
from dnerf_jax.factory import dataset
from dnerf_jax.training import branch, process


def main(workdir: str = "out/demo", seed: int = 0) -> None:
    """Trains on 90 labelled views, evaluates, generates, and writes scores.json and report.html.

    workdir: folder for everything that is made; a demo that was stopped continues
    seed: of the training and the dataset
    """
    process.prepare()
    settings = cli.load_settings("heads", branch.Settings)
    plan = cli.load_settings("generate", dataset.Settings)
    plan = dataclasses.replace(plan, seed=seed, latents=4)
    demo.run(dataclasses.replace(settings, seed=seed), plan, Path(workdir))


if __name__ == "__main__":
    cli.door(main)
