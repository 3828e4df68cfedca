"""What the runs of a table say together: verdicts on claims, and the table in Markdown."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dnerf_jax.training.scoring import EMBEDDED

Scores = dict[str, dict[str, Any]]  # of one run: by what it was scored on


def verdict(better: list[Scores], worse: list[Scores], on: str) -> dict[str, Any]:
    """What pairs of runs (of the same seed) say about a claim: their differences in mIoU, and a word for them."""
    differences = [a[on]["miou"] - b[on]["miou"] for a, b in zip(better, worse, strict=True)]
    word = "undecided"
    if len(differences) > 1:
        mean, error = np.mean(differences), np.std(differences, ddof=1) / len(differences) ** 0.5
        word = "undecided" if abs(mean) < 2 * error else "reproduced" if mean > 0 else "not reproduced"
    return {"differences": differences, "verdict": word}


def markdown(result: dict[str, Any]) -> str:
    """A table of a result of `ablations.make_table`, means and standard deviations over seeds, and the verdicts."""
    count, sets = len(result["rows"][0]["seeds"]), list(result["rows"][0]["seeds"][0])
    paper = [on for on in EMBEDDED if any(row["paper"].get(on) for row in result["rows"])]
    columns = ["row", "views", *(f"{on} {measure}" for on in sets for measure in ("mIoU", "acc."))]
    columns += [f"paper, {on}" for on in paper]
    about = f"Table {result['table']}, mean ± standard deviation over {count} seeds."
    if paper:
        about += " The paper's numbers (other images, always inverted, and drawn labels) are in the last columns."
    lines = [about, "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in result["rows"]:
        cells = [row["name"], f"{row['latents']} x {row['views_per_latent']}"]
        for on in sets:
            for measure in ("miou", "accuracy"):
                values = [found[on][measure] for found in row["seeds"]]
                cells.append(spread(values))
        known = [row["paper"][on] for on in paper]
        cells += ["" if pair is None else f"{pair[0]:.3f}, {pair[1]:.3f}" for pair in known]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for claim, verdicts in result["claims"].items():
        for on, found in verdicts.items():
            differences = ", ".join(f"{value:+.3f}" for value in found["differences"])
            lines.append(f"- {claim}, {on}: {found['verdict']} (differences in mIoU by seed: {differences})")
    return "\n".join(lines).rstrip() + "\n"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds, as tables have them."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.3f}"
