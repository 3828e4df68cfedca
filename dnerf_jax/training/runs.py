"""What training runs share: the checkpoints that they resume from, and the settings that they were started with.

A run lives in one folder, its `workdir`: `checkpoints/<step>/` (Orbax), `metrics.jsonl` (see `logs`), `settings.json`.
Started again with the same command it continues after its last checkpoint with equal results:

    with Checkpoints(workdir / CHECKPOINTS, every=100) as checkpoints:
        start, state = checkpoints.restore_latest(state) or (0, state)
        log, progress = MetricLog(workdir, step=start), Progress(total, start=start)
        for step in range(start + 1, total + 1):
            state, metrics = train_step(state, fold_in(key, step))
            require_finite(metrics, step)
            log.write(step, metrics)
            progress.update(step, metrics)
            checkpoints.save(step, state, force=step == total)
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from dnerf_jax.io import files, schema
from dnerf_jax.ops.devices import default_device
from dnerf_jax.ops.messages import some

SETTINGS, CHECKPOINTS = "settings.json", "checkpoints"  # in the folder of a run


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
            raise ValueError(
                f"{where} does not fit this run: {differences}. "
                "Continue with the settings that it was started with, or name another workdir."
            )
        try:
            return step, self._checkpointer.load(step, jax.tree.map(_abstract, template))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{where} cannot be read: delete that folder to continue from the one before. ({error})"
            ) from error

    def close(self) -> None:
        """Releases the folder."""
        self._checkpointer.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def placed(state: Any) -> Any:
    """A state as its step will leave it: bound to its device.

    A step is compiled anew where the same arrays are bound to a device in one call and not in the next. Those of a
    loaded checkpoint are bound, those that were just made are not, and what a step makes of both is.
    """
    return jax.device_put(state, default_device())


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(default_device())
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"/".join(_part(entry) for entry in path): tuple(leaf.shape) for path, leaf in leaves}


def _part(entry: Any) -> str:
    # Orbax stores dataclasses and named tuples as dicts: the names in a path can be compared, not its kinds.
    return str(next(getattr(entry, name) for name in ("key", "idx", "name") if hasattr(entry, name)))


def _differences(saved: Mapping[str, tuple], wanted: Mapping[str, tuple]) -> str:
    found = [f"{name} is missing" for name in wanted if name not in saved]
    found += [f"{name} is not expected" for name in saved if name not in wanted]
    found += [
        f"{name} has shape {saved[name]}, expected {wanted[name]}"
        for name in wanted
        if name in saved and saved[name] != wanted[name]
    ]
    return some(found, separator="; ")


def remember(
    workdir: str | Path,
    settings: Any,
    *,
    inputs: Mapping[str, str] | None = None,
    may_change: Sequence[str] = (),
    may_grow: Sequence[str] = (),
    made: str = f"{CHECKPOINTS}/[0-9]*",
) -> None:
    """Writes the settings of a run to `settings.json`, or checks that a run continued there has the same.

    Args:
      workdir: the run's folder; made if missing.
      settings: a dataclass of numbers, strings, tuples and dataclasses. A run of an earlier version had the defaults of
        fields that have come since.
      inputs: what else the run depends on, by name (the fingerprint of its generator, say). What a run of an earlier
        version did not note is noted from now on. An input stands for the setting of its name (a checkpoint's
        fingerprint for its path).
      may_change: names of top-level fields that may differ when a run continues (how often it saves, say).
      may_grow: names of numbers that may be larger when a run continues (its steps), which is said in a warning.
      made: pattern of what such a run makes in `workdir`. Where there is nothing of it, there is nothing that settings
        could contradict: the new ones replace those of a run that came to nothing.

    Raises:
      ValueError: another field differs from the one that the run was started with; all are named.
    """
    file = Path(workdir) / SETTINGS
    new = schema.as_json(settings) | dict(inputs or {})
    if file.exists() and any(Path(workdir).glob(made)):
        old = schema.completed(files.read_json(file, "the settings of a run"), settings)
        # Earlier versions noted fewer inputs: what is not known of a run cannot contradict it.
        unknown = set(inputs or {}) - old.keys()
        grown = [name for name in may_grow if isinstance(old.get(name), int) and old[name] < new[name]]
        schema.require_same(file.parent, old, new, except_for={*unknown, *may_change, *grown})
        for name in grown:
            warnings.warn(
                f"{name} was {old[name]} and is {new[name]}: the run goes on as if it had been meant to be so long, "
                "with the learning rate of that step; a run of that length from the start would have been another.",
                stacklevel=2,
            )
    files.write_json(file, new, indent=2)
