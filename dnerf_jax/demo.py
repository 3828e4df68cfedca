"""The whole way on the embedded heads: python -m dnerf_jax.demo (make demo)"""

from pathlib import Path

from dnerf_jax import cli
from dnerf_jax.experiments import demo
from dnerf_jax.training import process


def main(workdir: str = "out/demo", seed: int = 0) -> None:
    """Trains on 90 labelled views, evaluates, generates, and writes scores.json and report.html.

    workdir: folder for everything that is made; a demo that was stopped continues
    seed: of the training and the dataset
    """
    process.prepare()
    demo.run(Path(workdir), seed)


if __name__ == "__main__":
    cli.door(main)
