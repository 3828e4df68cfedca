"""Scores a semantic branch on labelled views: python -m dnerf_jax.evaluate --checkpoint DIR --out DIR"""

from pathlib import Path
from typing import Annotated

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, folders, packs
from dnerf_jax.io.configurations import load_settings
from dnerf_jax.ops.ranges import HalfTurn, Natural, Range, Truncation
from dnerf_jax.training import process, scoring
from dnerf_jax.training.inversion import protocol as evaluation
from dnerf_jax.training.inversion.plan import Settings


def main(
    checkpoint: str,
    out: str,
    annotations: str = "",
    scenes: Natural = 12,
    views: Annotated[int, Range(least=2)] = 6,
    yaw: HalfTurn | None = None,
    truncation_psi: Truncation = 1.0,
    protocol: str = "labels",
    cases: str = "own=10,true=5,video=1,mask=5",
    inversion: str = "invert",
) -> None:
    """Scores a checkpoint with a semantic branch, and measures how consistent its labels are in 3D.

    With --protocol inversion as the paper's ablations are: views whose latents and poses are known to us alone are
    inverted, then labelled; it is continued from --out.

    checkpoint: folder of the model
    out: folder for scores.json and the pictures
    annotations: a labelled pack of your own; by default the embedded single views and video, or motion of bodies
    scenes: random scenes of the model whose views are compared with one another; 0 leaves this out
    views: random cameras of each of these
    yaw: degrees to either side of frontal, where these cameras are; 30, of bodies 180, all around
    truncation_psi: of these scenes' latents; 1 leaves them as they are
    protocol: labels, or inversion
    cases: how many of each kind are inverted; all but own views need the extra worlds
    inversion: the configuration of inversions, a file or a name
    """
    if protocol == "inversion":
        plan, counts = load_settings(inversion, Settings), evaluation.parse(cases)
        with folders.claimed(out, known_by=evaluation.FILES) as folder:
            process.prepare()
            return evaluation.evaluate(plan, checkpoints.load(checkpoint), counts, folder, checkpoint=checkpoint)
    if protocol != "labels":
        raise ValueError(f"--protocol is {protocol!r}, expected labels or inversion")
    own = Path(annotations).resolve().name
    known_by = ["scores.json", *(f"{name}.png" for name in (own, *scoring.EMBEDDED, *scoring.BODIES))]
    with folders.claimed(out, known_by=known_by) as folder:
        process.prepare()
        model, scores, agreement = checkpoints.load(checkpoint), {}, None
        chosen = {own: annotations} if annotations else scoring.embedded_packs(model)
        rows = process.rows_at_once(model)
        for name, pack in chosen.items():
            print(f"checking the labelled views {pack}", flush=True)
            of_pack, picture = packs.load(pack, model), folder / f"{name}.png"
            scores[name] = scoring.score_pack(model, of_pack, picture=picture, rows_at_once=rows)
        if scenes:
            print(f"comparing {views} views of each of {scenes} scenes", flush=True)
            agreement = scoring.measure_agreement(
                model, scenes_seen=scenes, views=views, yaw=yaw, truncation_psi=truncation_psi, rows_at_once=rows
            )
        scoring.write(scores, folder, agreement=agreement)


if __name__ == "__main__":
    cli.door(main)
