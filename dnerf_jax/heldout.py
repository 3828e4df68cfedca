"""How well a generator renders heads that it was not trained on: python -m dnerf_jax.heldout --out DIR"""

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, files, folders
from dnerf_jax.ops.ranges import Count
from dnerf_jax.training import heldout, process


def main(out: str, checkpoint: str = "heads", count: Count = 90) -> None:
    """Scores a generator of the heads world, with a trained super-resolution, on views that nothing else has.

    out: folder for heldout.json and heldout.jpg
    checkpoint: the generator
    count: how many latents, one view each
    """
    with folders.claimed(out, known_by=["heldout.json", "heldout.jpg"]) as folder:
        process.prepare()
        scores = heldout.score_unseen(checkpoints.load(checkpoint), count, picture=folder / "heldout.jpg")
        files.write_json(folder / "heldout.json", scores)
    print("  ".join(f"{name} {value:.4g}" for name, value in scores.items()))


if __name__ == "__main__":
    cli.door(main)
