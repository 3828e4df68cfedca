"""What training runs share: checkpoints to resume from, a log of metrics, progress, a guard against NaN.

A run lives in one folder, its `workdir`: `checkpoints/<step>/` (Orbax), `metrics.jsonl` (one object per line,
"step" in each), `settings.json`. Started again with the same command it continues after its last checkpoint
with equal results:

    with Checkpoints(workdir / "checkpoints", every=100) as checkpoints:
        start, state = checkpoints.restore_latest(state) or (0, state)
        log, progress = MetricLog(workdir, step=start), Progress(total, start=start)
        for step in range(start + 1, total + 1):
            state, metrics = train_step(state, fold_in(key, step))
            require_finite(metrics, step)
            log.write(step, metrics)
            progress.update(step, metrics)
            checkpoints.save(step, state, force=step == total)
"""

import collections
import ctypes
import dataclasses
import hashlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp


class Checkpoints:
    """A folder of training states by step, of which the newest few are kept.

    Saving blocks until the state is on disk, so that it may be donated to the next step, and is atomic: a run
    killed while saving leaves the checkpoint before. States are pytrees of arrays (step too is an array), on
    any devices.

    Args:
      folder: where the checkpoints lie; made if missing.
      every: `save` writes at multiples of this many steps.
      keep: how many of the newest checkpoints stay on disk.
    """

    def __init__(self, folder: str | Path, *, every: int, keep: int = 2):
        self._checkpointer = ocp.training.Checkpointer(
            Path(folder).absolute(),
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(every),
            preservation_policy=ocp.training.preservation_policies.LatestN(keep),
            cleanup_tmp_directories=True,
        )

    @property
    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, or None."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    def save(self, step: int, state: Any, *, force: bool = False) -> bool:
        """Saves the state at multiples of `every` or where `force` is set; returns whether it was written."""
        if step == self.latest_step:
            return False
        return self._checkpointer.save(step, state, force=force)

    def restore_latest(self, template: Any) -> tuple[int, Any] | None:
        """Restores the newest state, or returns None where there is none.

        Args:
          template: a state of the same structure, concrete or abstract (`jax.eval_shape`). Arrays return with
            the dtype and the sharding of its leaves; leaves without a sharding are placed on the default
            device.

        Raises:
          ValueError: the arrays on disk are not those of the template (all differences are named), or cannot
            be read.
        """
        step = self.latest_step
        if step is None:
            return None
        where = f"checkpoint {self._checkpointer.directory / str(step)}"
        saved = self._checkpointer.metadata(step).metadata  # None where Orbax cannot read it
        differences = _differences(_shapes(saved), _shapes(template))
        if saved is not None and differences:
            raise ValueError(f"{where} does not fit this run: {differences}. "
                             "Continue with the settings that it was started with, or name another workdir.")
        try:
            return step, self._checkpointer.load(step, jax.tree.map(_abstract, template))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{where} cannot be read: delete that folder to continue from the one before. "
                             f"({error})") from error

    def close(self) -> None:
        """Releases the folder."""
        self._checkpointer.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"/".join(_part(entry) for entry in path): tuple(leaf.shape) for path, leaf in leaves}


def _part(entry: Any) -> str:
    # Orbax stores dataclasses and named tuples as dicts: the names in a path can be compared, not its kinds.
    return str(next(getattr(entry, name) for name in ("key", "idx", "name") if hasattr(entry, name)))


def _differences(saved: Mapping[str, tuple], wanted: Mapping[str, tuple], most: int = 8) -> str:
    found = [f"{name} is missing" for name in wanted if name not in saved]
    found += [f"{name} is not expected" for name in saved if name not in wanted]
    found += [f"{name} has shape {saved[name]}, expected {wanted[name]}"
              for name in wanted if name in saved and saved[name] != wanted[name]]
    return "; ".join(found[:most] + ([f"and {len(found) - most} more"] if len(found) > most else []))


def remember(
    workdir: str | Path, settings: Any, *, inputs: Mapping[str, str] | None = None, may_change: tuple[str, ...] = ()
) -> None:
    """Writes the settings of a run to `settings.json`, or checks that a run continued there has the same.

    Args:
      workdir: the run's folder; made if missing.
      settings: a dataclass of numbers, strings, tuples and dataclasses.
      inputs: what else the run depends on, by name (the fingerprint of its generator, say).
      may_change: names of top-level fields that may differ when a run continues (its number of steps, say).

    Raises:
      ValueError: another field differs from the one that the run was started with; all are named.
    """
    file = Path(workdir) / "settings.json"
    new = json.loads(json.dumps(dataclasses.asdict(settings) | dict(inputs or {})))
    if file.exists():
        old = json.loads(file.read_text())
        differing = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
        changed = [f"{name} was {old.get(name)!r} and is {new.get(name)!r}"
                   for name in differing if name not in may_change]
        if changed:
            raise ValueError(f"{file.parent} holds a run with other settings: {'; '.join(changed)}. "
                             "Continue with the old ones, name another workdir, or delete this one.")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(new, indent=2) + "\n")


class MetricLog:
    """Appends metrics to `workdir/metrics.jsonl` and, where TensorBoard is installed, to an event file there.

    A run that continues after a kill may have logged steps beyond its last checkpoint; these lines, and a
    half-written last one, are dropped, so that each step stands in the file once.

    Args:
      workdir: the run's folder; made if missing.
      step: the step that the run continues after; 0 begins anew.
    """

    def __init__(self, workdir: str | Path, *, step: int = 0):
        Path(workdir).mkdir(parents=True, exist_ok=True)
        self.path = Path(workdir) / "metrics.jsonl"
        records = read_metrics(self.path) if self.path.exists() else []
        kept = [record for record in records if record["step"] <= step]
        replacement = self.path.with_suffix(".part")
        replacement.write_text("".join(json.dumps(record) + "\n" for record in kept))
        replacement.replace(self.path)
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
      ValueError: another line is not JSON; the message names it.
    """
    records = []
    lines = Path(path).read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(f"{path}, line {number} is not JSON ({error}); delete it") from error
    return records


class Progress:
    """Prints "step 120/400  loss 0.31  2.3 steps/s  2 min left" every few seconds and at the end.

    Args:
      total: the last step.
      start: the step that the run continues after.
      every: seconds between lines.
      stream: where to print; None is stdout.
      clock: seconds as a function.
    """

    def __init__(self, total: int, *, start: int = 0, every: float = 5.0, stream: TextIO | None = None,
                 clock: Callable[[], float] = time.monotonic):
        self.total, self.every, self.stream, self.clock = total, every, stream, clock
        # The rate is that of the last lines printed: it follows a machine that is busy at times, and the
        # first step, which compiles, does not count.
        self._marks: collections.deque[tuple[float, int]] = collections.deque(maxlen=12)
        self._start = start

    def update(self, step: int, metrics: Mapping[str, Any] | None = None) -> None:
        """Notes that a step is done; reads the metrics (and so waits for the device) only when it prints."""
        now = self.clock()
        last = step >= self.total
        if self._marks and now - self._marks[-1][0] < self.every and not last:
            return
        parts = [f"step {step}/{self.total}"]
        parts += [f"{name} {float(value):.4g}" for name, value in (metrics or {}).items()]
        now = self.clock()
        if self._marks and now > self._marks[0][0] and step > self._marks[0][1]:
            rate = (step - self._marks[0][1]) / (now - self._marks[0][0])
            parts.append(f"{rate:.3g} steps/s" if rate >= 1 else f"{1 / rate:.3g} s/step")
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
        raise FloatingPointError(f"{', '.join(bad)} at step {step}: the run stops here, and its last "
                                 "checkpoint is kept. A lower learning rate is the first thing to try.")


def prepare_process() -> None:
    """What every door wants of its process: compiled programs that stay, and memory that stays."""
    enable_compilation_cache()
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Has glibc keep the memory that is freed, for the next step to use.

    XLA allocates the temporaries of a program anew at every call on a CPU. By default glibc maps and unmaps them each
    time, and the system spends a fifth of the time on clearing pages. Elsewhere this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in _KEEP_MEMORY.items():
            mallopt(option, value)


# From malloc.h: M_TRIM_THRESHOLD, never shrink the heap; M_MMAP_MAX, map no block by itself; M_ARENA_MAX, one heap for
# all threads, because only the first can hold large blocks.
_KEEP_MEMORY = {-1: -1, -4: 0, -8: 1}


def enable_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache, or where JAX_COMPILATION_CACHE_DIR says.

    Only what took over a second to compile is kept. Programs for one CPU can crash on another, so the folder
    is named after the processor (home folders are shared between machines).
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        flags = platform.processor()
    machine = platform.machine() + "-" + hashlib.sha256(flags.encode()).hexdigest()[:8]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dnerf_jax" / "xla" / machine
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
