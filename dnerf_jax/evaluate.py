"""Scores a semantic branch on labelled views: python -m dnerf_jax.evaluate --checkpoint DIR --out DIR"""

from pathlib import Path

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, folders, packs
from dnerf_jax.training import process, scoring


def main(checkpoint: str, out: str, annotations: str = "") -> None:
    """Scores a checkpoint with a semantic branch.

    checkpoint: folder of the model
    out: folder for scores.json and the pictures
    annotations: a labelled pack of your own; by default the embedded single views and video
    """
    chosen = {Path(annotations).resolve().name: annotations} if annotations else scoring.EMBEDDED
    with folders.claimed(out, known_by=["scores.json", *(f"{name}.png" for name in chosen)]) as folder:
        process.prepare()
        model, scores = checkpoints.load(checkpoint), {}
        for name, pack in chosen.items():
            print(f"checking the labelled views {pack}", flush=True)
            views, picture = packs.load(pack, model), folder / f"{name}.png"
            scores[name] = scoring.score_pack(model, views, picture=picture, rows_at_once=process.rows_at_once(model))
        scoring.write(scores, folder)


if __name__ == "__main__":
    cli.door(main)
