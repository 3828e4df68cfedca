"""An engine for Slurm: an array of jobs, each a command of its own that works in the folder, beginning at another part.

submitit writes the batch script and brings back what a job raised; its files and the jobs' logs lie in run/slurm of the
dataset. A job that its time limit or a preemption ends is queued again, and goes on from what is done.
"""

import dataclasses
import logging
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import jax

from dnerf_jax.factory import shards
from dnerf_jax.factory.plan import Shard
from dnerf_jax.factory.runs import engines
from dnerf_jax.factory.runs.watching import Watch
from dnerf_jax.factory.runs.work import Job
from dnerf_jax.training import process

FOLDER = Path("run", "slurm")  # in that of the dataset
_USUAL = {"timeout_min": 1440, "cpus_per_task": 1, "mem_gb": 4}  # of a job, in submitit's words
_GRACE = 60.0  # seconds that jobs have for ending once all is done; Slurm without accounting does not say that they did
_REQUEUED = 20  # times at most that a job may run into its time limit
# By which submitit says that there is no Slurm, or that it does not take the jobs so.
_REFUSED = (RuntimeError, NameError, ValueError, TypeError, AssertionError)


def on_slurm(
    job: Job,
    order: Sequence[Shard],
    watch: Watch,
    workers: int | None = None,
    *,
    cluster: str | None = None,
    resources: Mapping[str, Any] | None = None,
) -> None:
    """Has shards made by an array of `workers` jobs, by default one, and waits for these; if interrupted, ends them.

    Args:
      cluster: "slurm", unless given; "local" runs the jobs on this machine.
      resources: of a job, in submitit's words: timeout_min, mem_gb, cpus_per_task (a worker for each), gpus_per_node (a
        worker for each), slurm_partition, slurm_account, ... By default a core, 4 GB and a day.

    Raises ValueError: there is no Slurm, it does not take the jobs, or a job failed, whose traceback is printed.
    """
    submitit, cluster = _submitit(), cluster or "slurm"
    logging.getLogger("submitit").setLevel(logging.ERROR)  # where Slurm keeps no accounts it says so again and again
    count = min(workers or 1, len(order))
    try:
        folder = Path(job.out) / FOLDER
        executor = submitit.AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=_REQUEUED)
        executor.update_parameters(name="dnerf_jax", **_USUAL | dict(resources or {}))
        left = executor.map_array(Part(job, count), range(count))
    except _REFUSED as error:
        raise ValueError(f"{cluster} does not take these jobs: {error}") from error
    try:
        watch.begin(f"{count} job{'s' * (count > 1)} of {cluster} ({left[0].job_id.split('_')[0]}), logs in {folder}")
        todo, done_at = list(reversed(order)), float("inf")
        while left and time.monotonic() < done_at + _GRACE:
            for ended in [submitted for submitted in left if submitted.done()]:
                left.remove(ended)
                _look_at(ended, submitit)
            if todo:
                watch.look()
            while todo and shards.is_done(job.plan, todo[-1], Path(job.out)):
                todo.pop()
            if not todo:
                done_at = min(done_at, time.monotonic())
            time.sleep(1.0)
    finally:
        for submitted in left:
            submitted.cancel(check=False)


@dataclasses.dataclass(frozen=True)
class Part:
    """What a job of the array runs: a command of its own, which begins with one of `parts` parts."""

    job: Job
    parts: int

    def __call__(self, number: int) -> None:
        """Makes what is missing."""
        process.choose_deterministic()
        cores = int(os.environ.get("SLURM_CPUS_PER_TASK", "1"))
        workers = cores if jax.default_backend() == "cpu" else None
        engines.generate(self.job, workers=workers, part=f"{number}/{self.parts}")

    def checkpoint(self, number: int) -> Any:
        """What submitit queues again when the job's time is over, or when it has to make room."""
        return _submitit().helpers.DelayedSubmission(self, number)


def _look_at(ended: Any, submitit: ModuleType) -> None:
    """Warns of a job that was lost. Raises ValueError: it failed."""
    error = ended.exception()
    if isinstance(error, submitit.core.utils.FailedJobError):
        _, trace = ended._get_outcome_and_result()
        print(trace, file=sys.stderr, end="", flush=True)
        raise ValueError(f"job {ended.job_id} failed ({trace.strip().splitlines()[-1]:.300}), see its traceback above")
    if error is not None:
        log = ended.paths.stderr
        warnings.warn(f"job {ended.job_id} was lost, others take over if there are any: see {log}", stacklevel=3)


def _submitit() -> ModuleType:
    """submitit. Raises ImportError: it is not installed."""
    try:
        import submitit
    except ImportError as error:
        raise ImportError("--engine slurm needs submitit: pip install dnerf_jax[slurm]") from error
    return submitit
