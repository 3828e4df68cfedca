"""DatasetGAN, the baseline with a 2D generator: python -m dnerf_jax.datasetgan --config datasetgan_cpu --workdir DIR"""

from dnerf_jax import cli
from dnerf_jax.io import folders
from dnerf_jax.ops.ranges import Count
from dnerf_jax.training import process, runs
from dnerf_jax.training.datasetgan import making
from dnerf_jax.training.datasetgan.plan import Settings


def main(config: Settings, workdir: str, num: Count = 600) -> None:
    """Distils a world into a 2D generator, learns labels of its pixels, and writes pairs of images and masks.

    The pairs, workdir/pairs, are what dnerf_jax.downstream reads.

    workdir: folder of the run; what is there of it is kept, and what is missing made
    num: how many pairs
    """
    with folders.claimed(workdir, known_by=[runs.SETTINGS]) as folder:
        process.prepare()
        making.make(config, folder, num)
        print(f"{num} pairs are in {folder / making.PAIRS}, {folder / making.PAIRS}.png shows some of them")


if __name__ == "__main__":
    cli.door(main)
