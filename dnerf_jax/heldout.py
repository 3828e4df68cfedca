"""How well a generator renders heads that it was not trained on: python -m dnerf_jax.heldout --out DIR"""

from pathlib import Path

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, files
from dnerf_jax.training import heldout, process


def main(out: str, checkpoint: str = "heads", count: int = 90) -> None:
    """Scores a generator of the heads world, with a trained super-resolution, on views that nothing else has.

    out: folder for heldout.json and heldout.jpg
    checkpoint: the generator
    count: how many latents, one view each
    """
    process.prepare()
    scores = heldout.score_unseen(checkpoints.load(checkpoint), count, picture=Path(out) / "heldout.jpg")
    files.write_json(Path(out) / "heldout.json", scores)
    print("  ".join(f"{name} {value:.4g}" for name, value in scores.items()))


if __name__ == "__main__":
    cli.door(main)
