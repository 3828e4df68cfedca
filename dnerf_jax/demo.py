"""The whole way on the embedded heads: python -m dnerf_jax.demo (make demo)"""

from dnerf_jax import cli
from dnerf_jax.experiments import demo
from dnerf_jax.factory.plan import Plan
from dnerf_jax.io import folders
from dnerf_jax.ops.ranges import Seed
from dnerf_jax.training import branch, process


def main(workdir: str = "out/demo", seed: Seed = 0) -> None:
    """Trains on 90 labelled views, evaluates, generates, and writes scores.json and report.html.

    workdir: folder for everything that is made; a demo that was stopped continues
    seed: of the training and the dataset
    """
    settings = cli.load_settings("heads", branch.Settings, [f"seed={seed}"])
    small = ("num_identities=4", "views_per_identity=3", "shard_size=2", "splits=(('train', 1),)")
    plan = cli.load_settings("heads_dataset", Plan, [f"seed={seed}", *small])
    with folders.claimed(workdir, known_by=[demo.TRAINING]) as folder:
        process.prepare()
        demo.run(settings, plan, folder)


if __name__ == "__main__":
    cli.door(main)
