"""The whole way on the embedded heads or bodies: python -m dnerf_jax.demo (make demo)"""

from dnerf_jax import cli
from dnerf_jax.experiments import demo
from dnerf_jax.factory.plan import Plan
from dnerf_jax.io import folders
from dnerf_jax.ops.ranges import Seed
from dnerf_jax.training import branch, process
from dnerf_jax.worlds import views


def main(workdir: str = "", seed: Seed = 0, world: str = "heads") -> None:
    """Trains on the embedded labelled views, evaluates, generates, and writes scores.json and report.html.

    workdir: folder for everything that is made, out/demo unless given, of bodies out/demo_bodies; a demo that was
      stopped continues
    seed: of the training and the dataset
    world: whose embedded generator and labels are taken: heads, or bodies
    """
    views.named(world)
    settings = cli.load_settings(world, branch.Settings, [f"seed={seed}"])
    small = ("num_identities=4", "views_per_identity=3", "shard_size=2", "splits=(('train', 1),)")
    plan = cli.load_settings(f"{world}_dataset", Plan, [f"seed={seed}", *small])
    with folders.claimed(
        workdir or ("out/demo" if world == "heads" else f"out/demo_{world}"), known_by=[demo.TRAINING]
    ) as folder:
        process.prepare()
        demo.run(world, settings, plan, folder)


if __name__ == "__main__":
    cli.door(main)
