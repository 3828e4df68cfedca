"""What a run tells of itself: its metrics in a file, its progress in the terminal, and that it went astray.

`metrics.jsonl` has one object per line, "step" in each.
"""

import collections
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from dnerf_jax.io import files

_LIMIT = 1 << 30  # bytes of metrics.jsonl; some ten million steps


class MetricLog:
    """Appends metrics to `workdir/metrics.jsonl` and, where TensorBoard is installed, to an event file there.

    A run that continues after a kill may have logged steps beyond its last checkpoint; these lines, and a
    half-written last one, are dropped, so that each step stands in the file once.

    Args:
      workdir: the run's folder; made if missing.
      step: the step that the run continues after; 0 begins anew.
    """

    def __init__(self, workdir: str | Path, *, step: int = 0):
        self.path = Path(workdir) / "metrics.jsonl"
        records = read_metrics(self.path) if self.path.exists() else []
        kept = [record for record in records if record["step"] <= step]
        files.write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))
        self._file = self.path.open("a", buffering=1)
        self._tensorboard = _tensorboard_writer(Path(workdir) / "tensorboard")

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Writes one line; metrics are scalars, on a device or not; what is not finite is written as null."""
        values = {name: float(value) for name, value in metrics.items()}
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": int(step)} | finite) + "\n")
        if self._tensorboard is not None:
            for name, value in values.items():
                self._tensorboard.add_scalar(name, value, int(step))
            self._tensorboard.flush()

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()


def _tensorboard_writer(folder: Path) -> Any | None:
    # TensorBoard's own writer: clu's and flax's would import TensorFlow.
    try:
        from tensorboard.summary import Writer
    except ImportError:
        return None
    return Writer(str(folder))


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Reads the records of a metrics.jsonl in order; a half-written last line is left out.

    Raises:
      ValueError: the file cannot be read, or another line is no object of numbers (or null) with a whole number "step";
        the message names file and line.
    """
    records = []
    lines = files.read_text(path, "metrics", limit=_LIMIT).rstrip().split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = files.parse_json(line)
        except ValueError as error:
            if number < len(lines):
                raise ValueError(f"{path}, line {number}: {error}; delete that line") from error
            continue
        if type(record.get("step")) is not int or not all(isinstance(x, int | float | None) for x in record.values()):
            raise ValueError(f"{path}, line {number} is {line!r:.100}, expected numbers and a step; delete that line")
        records.append(record)
    return records


class Progress:
    """Prints "step 120/400  loss 0.31  2.3 steps/s  2 min left" every few seconds and at the end.

    Args:
      total: the last step.
      start: the step that the run continues after.
      every: seconds between lines.
      unit: what a step is called.
      stream: where to print; None is stdout.
      clock: seconds as a function.
    """

    def __init__(
        self,
        total: int,
        *,
        start: int = 0,
        every: float = 5.0,
        unit: str = "step",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.total, self.every, self.unit, self.stream, self.clock = total, every, unit, stream, clock
        # The rate is that of the last lines printed: it follows a machine that is busy at times, and the
        # first step, which compiles, does not count.
        self._marks: collections.deque[tuple[float, int]] = collections.deque(maxlen=12)
        self._start = start

    def update(self, step: int, metrics: Mapping[str, Any] | None = None) -> None:
        """Notes that a step is done; reads the metrics (and so waits for the device) only when it prints.

        metrics: numbers, or texts.
        """
        now = self.clock()
        last = step >= self.total
        if self._marks and now - self._marks[-1][0] < self.every and not last:
            return
        parts = [f"{self.unit} {step}/{self.total}"]
        parts += [
            f"{name} {value if isinstance(value, str) else f'{float(value):.4g}'}"
            for name, value in (metrics or {}).items()
        ]
        now = self.clock()
        if self._marks and now > self._marks[0][0] and step > self._marks[0][1]:
            rate = (step - self._marks[0][1]) / (now - self._marks[0][0])
            parts.append(f"{rate:.3g} {self.unit}s/s" if rate >= 1 else f"{1 / rate:.3g} s/{self.unit}")
            if not last:
                parts.append(f"{duration((self.total - step) / rate)} left")
        self._marks.append((now, step))
        print("  ".join(parts), file=self.stream or sys.stdout, flush=True)


def duration(seconds: float) -> str:
    """Says a duration in seconds in the unit that people would use: "40 s", "2 min", "3 h 10 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def require_finite(metrics: Mapping[str, Any], step: int) -> None:
    """Stops a run whose metrics are not finite; call it before the state of that step is saved.

    Raises:
      FloatingPointError: names the metrics and the step.
    """
    values = {name: np.asarray(value) for name, value in metrics.items()}
    bad = [f"{name} is {value}" for name, value in values.items() if not np.all(np.isfinite(value))]
    if bad:
        raise FloatingPointError(
            f"{', '.join(bad)} at step {step}: the run stops here, and its last "
            "checkpoint is kept. A lower learning rate is the first thing to try."
        )
