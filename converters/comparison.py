"""Lines of a comparison: a stage, how far ours is from the recorded, and how far it may be; and their table."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Line:
    """One stage of a comparison; `error` is infinite where shapes differ or a value is not finite.

    measured: what the error is. "relative", |out - recorded| / |recorded| (Frobenius); "largest", of all absolute
    differences, or "99%", what so many of them do not exceed; "share" of the entries that differ.
    note: what else is to be said, such as what was left out.
    """

    stage: str
    error: float
    tolerance: float
    measured: str = "relative"
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance


def relative_error(output: np.ndarray, reference: np.ndarray) -> float:
    """|output - reference| / |reference|; infinite where shapes differ or a value is not finite."""
    if output.shape != reference.shape or not np.all(np.isfinite(output)):
        return math.inf
    reference = reference.astype(np.float64)
    return float(np.linalg.norm(output - reference) / np.linalg.norm(reference))


def off(output: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Absolute differences in float64; infinite where a value of one is not finite, or all are where shapes differ."""
    output, reference = np.asarray(output, np.float64), np.asarray(reference, np.float64)
    if output.shape != reference.shape:
        return np.full(reference.shape, math.inf)
    return np.where(np.isfinite(output) & np.isfinite(reference), np.abs(output - reference), math.inf)


def largest(stage: str, differences: np.ndarray, tolerance: float, *, percent: float = 100.0, note: str = "") -> Line:
    """The line of absolute differences of which so many per cent may not exceed the tolerance; of none, 0."""
    ordered = np.sort(differences, axis=None)
    error = float(ordered[math.ceil(percent / 100 * ordered.size) - 1]) if ordered.size else 0.0
    return Line(stage, error, tolerance, "largest" if percent == 100 else f"{percent:g}%", note)


def share(stage: str, wrong: np.ndarray, tolerance: float, *, note: str = "") -> Line:
    """The line of entries that must agree; `wrong` says which do not."""
    return Line(stage, float(np.mean(wrong)) if wrong.size else 0.0, tolerance, "share", note)


def table(lines: list[Line]) -> str:
    """The comparison as text: stage, error, what it is, tolerance, verdict; below it what is to be said of stages."""
    rows = [
        f"{line.stage:20} {line.error:10.2e} {line.measured:>10} {line.tolerance:10.0e}   {'ok' if line.ok else 'FAIL'}"
        for line in lines
    ]
    notes = [f"{line.stage}: {line.note}" for line in lines if line.note]
    return "\n".join([f"{'stage':20} {'error':>10} {'measured':>10} {'tolerance':>10}   verdict", *rows, *notes])
