"""What the runs of a table say together: verdicts on claims, and the table in Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.io import files

Scores = dict[str, dict[str, Any]]  # of one run: by what it was scored on


ABOUT = "The paper's numbers (other images, always inverted, and drawn labels) are in the last columns."


def write(
    folder: Path,
    file: str,
    table: str,
    rows: list[dict[str, Any]],
    scores: Mapping[str, list[Scores]],
    claims: Mapping[str, tuple[str, str]],
    *,
    about: str = ABOUT,
) -> dict[str, Any]:
    """Writes a table's <file>.json and <file>.md into a folder, prints it, and returns what the former holds.

    rows: as they are written. scores: by the names of rows, seed by seed. claims: by what is claimed the names of two
    rows, the first of which is to be better. about: what is said of the paper's numbers.
    """
    verdicts = {
        claim: {on: verdict(scores[better], scores[worse], on) for on in scores[better][0]}
        for claim, (better, worse) in claims.items()
        if {better, worse} <= set(scores)
    }
    result = {"table": table, "rows": rows, "claims": verdicts}
    text = markdown(result, about)
    files.write_json(folder / f"{file}.json", result)
    files.write_text(folder / f"{file}.md", text)
    print(text)
    return result


def verdict(better: list[Scores], worse: list[Scores], on: str) -> dict[str, Any]:
    """What pairs of runs (of the same seed) say about a claim: their differences in mIoU, and a word for them."""
    differences = [a[on]["miou"] - b[on]["miou"] for a, b in zip(better, worse, strict=True)]
    word = "undecided"
    if len(differences) > 1:
        mean, error = np.mean(differences), np.std(differences, ddof=1) / len(differences) ** 0.5
        word = "undecided" if abs(mean) < 2 * error else "reproduced" if mean > 0 else "not reproduced"
    return {"differences": differences, "verdict": word}


def markdown(result: dict[str, Any], about_paper: str = ABOUT) -> str:
    """A table of a result of `write`, means and standard deviations over seeds, and the verdicts.

    Rows say what they were trained on as "data", or as "latents" and "views_per_latent".
    """
    count, sets = len(result["rows"][0]["seeds"]), list(result["rows"][0]["seeds"][0])
    paper = list(dict.fromkeys(on for row in result["rows"] for on, pair in row["paper"].items() if pair))
    trained_on = [row.get("data") or f"{row['latents']} x {row['views_per_latent']}" for row in result["rows"]]
    columns = [
        "row",
        "clouds" if "data" in result["rows"][0] else "views",
        *(f"{on} {measure}" for on in sets for measure in ("mIoU", "acc.")),
    ]
    columns += [f"paper, {on}" for on in paper]
    about = f"Table {result['table']}, mean ± standard deviation over {count} seeds."
    if paper:
        about += f" {about_paper}"
    lines = [about, "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row, data in zip(result["rows"], trained_on, strict=True):
        cells = [row["name"], data]
        for on in sets:
            for measure in ("miou", "accuracy"):
                values = [found[on][measure] for found in row["seeds"]]
                cells.append(spread(values))
        known = [row["paper"].get(on) for on in paper]
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
