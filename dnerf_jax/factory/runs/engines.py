"""Engines on one machine: a process for every core of a CPU, or a thread for every accelerator.

Images differ in their last bits with the threads that XLA has, and a program compiled for one number of them is not
that for another. So on a CPU every worker is a process of its own with one thread, also where there is only one worker,
which also takes less time in all than one process with all threads. On an accelerator the operations are deterministic
ones (`process.choose_deterministic`), and each device has a worker in this process.
"""

import multiprocessing
import os
import pickle
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import jax

from dnerf_jax.factory.plan import Shard
from dnerf_jax.factory.runs import running
from dnerf_jax.factory.runs.watching import Watch
from dnerf_jax.factory.runs.work import Job, Worker
from dnerf_jax.io.workers import environment, follow_the_command, show_warning, threads
from dnerf_jax.training import process

# Of XLA, and of NumPy's libraries.
_ONE_THREAD = {"NPROC": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# glibc keeps what XLA frees after every view, 40 MiB, instead of having the system clear the memory each time.
_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
_DEVICES = re.compile(r"--xla_force_host_platform_device_count=\d+\s*")
_AGAIN = "the same command goes on from what is done"
# What says what to do; all else may be a bug, whose traceback is needed.
_KNOWN = (ValueError, FloatingPointError, ImportError, OSError, MemoryError)

# (job, order, watch, workers): makes these shards, as many at a time as there are workers.
Engine = Callable[[Job, Sequence[Shard], Watch, int | None], None]


def generate(job: Job, *, workers: int | None = None, part: str = "", engine: Engine | None = None) -> None:
    """Makes a dataset, or what is missing of it; other commands may do the same in the same folder.

    Args:
      workers: processes on a CPU, by default one for every core that this process may use; elsewhere devices, by
        default all.
      part: "k/n" begins with part k (from 0) of n of what is missing, and then helps with the rest; "" is what Slurm
        says of the task (see `part_of`).
      engine: what has the shards made; None is this machine, by `on_cores` or `on_devices`.

    Raises ValueError as `running.begun` does, where a worker fails, or where all were killed.
    """
    number = part_of(part)
    process.choose_deterministic()
    with running.begun(job) as run:
        order = rotated(run.missing, *number)
        if order:
            watch = Watch(run.job.plan, Path(run.job.out), order)
            here = on_cores if jax.default_backend() == "cpu" else on_devices
            (engine or here)(run.job, order, watch, workers)
        running.finish(run.job)


def part_of(text: str) -> tuple[int, int]:
    """(k, n) of "k/n"; of "" what Slurm's variables say: the task of a step (srun), of an array, or of both.

    Raises ValueError: it is not such.
    """
    if text:
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if match is None or not int(match[1]) < int(match[2]):
            raise ValueError(f"worker is {text!r:.50}, expected k/n with k from 0 to n - 1: 3/8, say")
        return int(match[1]), int(match[2])
    found = {
        name: int(os.environ[f"SLURM_{name}"]) for name in _SLURM if os.environ.get(f"SLURM_{name}", "").isdecimal()
    }
    tasks = found.get("NTASKS", 1) if "PROCID" in found else 1
    task, step = found.get("PROCID", 0), found.get("ARRAY_TASK_STEP", 1)
    element = (found.get("ARRAY_TASK_ID", 0) - found.get("ARRAY_TASK_MIN", 0)) // max(step, 1)
    elements = found.get("ARRAY_TASK_COUNT", 1) if "ARRAY_TASK_ID" in found else 1
    # An array with holes counts fewer elements than its last one's number.
    return element % elements * tasks + task % tasks, elements * tasks


_SLURM = ("PROCID", "NTASKS", "ARRAY_TASK_ID", "ARRAY_TASK_MIN", "ARRAY_TASK_STEP", "ARRAY_TASK_COUNT")


def rotated(todo: Sequence[Shard], k: int, n: int) -> list[Shard]:
    """What is to be made, beginning with part k of n."""
    first = len(todo) * k // n
    return [*todo[first:], *todo[:first]]


def on_cores(job: Job, order: Sequence[Shard], watch: Watch, workers: int | None = None) -> None:
    """Makes shards in `workers` processes of one thread each.

    A worker that is killed is told of, and the others take over. Raises what a worker raised.
    """
    count = min(workers or threads(), len(order))
    watch.begin(f"{count} worker{'s' * (count > 1)}")
    left = dict(_start(_make_all, job, list(order)) for _ in range(count))
    try:
        while left:
            for said in wait(list(left), timeout=1.0):
                worker = left.pop(said)
                if _result(worker, said) is None:
                    _tell_of_death(worker, bool(left))
            watch.look()
    finally:
        for worker in left.values():
            worker.kill()  # whole shards or none: there is nothing to wait for
            worker.join()


def on_devices(job: Job, order: Sequence[Shard], watch: Watch, workers: int | None = None) -> None:
    """Makes shards on the accelerators of this process, a thread for each. Raises what a worker raised."""
    devices = jax.local_devices()
    if workers is not None and workers > len(devices):
        raise ValueError(f"workers is {workers}, but there are {len(devices)} devices: give at most as many")
    devices = devices[: min(workers or len(devices), len(order))]
    watch.begin(f"{len(devices)} x {devices[0].device_kind}")
    process.prepare()
    stopped, failures = threading.Event(), []

    def work(device: jax.Device) -> None:
        try:
            with jax.default_device(device):
                for _ in running.work_through(Worker(job), order, stopped):
                    pass
        except Exception as error:
            failures.append(error)
            stopped.set()

    threads = [threading.Thread(target=work, args=(device,), daemon=True) for device in devices]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            threads[0].join(1.0) if threads[0].is_alive() else stopped.wait(1.0)
            watch.look()
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def in_a_worker(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process like those of `on_cores`. Raises what it raised."""
    said, worker = _start(function, *arguments)
    try:
        found = _result(worker, said)
    finally:
        worker.kill()
    if found is None:
        _tell_of_death(worker, False)
    return found


def _make_all(job: Job, order: Sequence[Shard]) -> int:
    process.prepare()
    return sum(1 for _ in running.work_through(Worker(job), order))


def _start(function: Callable[..., Any], *arguments: Any) -> tuple[Connection, SpawnProcess]:
    """A process of one thread that calls a function, and where it says what came of it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=_call, args=(theirs, function, *arguments), daemon=True)
    with environment(one_thread()):
        worker.start()
    theirs.close()  # so that it ends with the worker
    return ours, worker


def one_thread() -> dict[str, str]:
    """The environment of a worker on a CPU, where it differs from ours: one thread, one device, and kept memory."""
    # Simulated devices, as in tests, would have threads in spite of NPROC.
    flags = {"XLA_FLAGS": _DEVICES.sub("", os.environ["XLA_FLAGS"])} if "XLA_FLAGS" in os.environ else {}
    return _ONE_THREAD | _KEPT_MEMORY | flags


def _call(theirs: Connection, function: Callable[..., Any], *arguments: Any) -> None:
    """What runs in a worker: calls the function, and sends what it returns, or what it raised with its traceback."""
    follow_the_command()
    warnings.showwarning = show_warning
    try:
        found = function(*arguments), None
    except Exception as error:
        found = _sendable(error), traceback.format_exc()
    theirs.send(found)


def _sendable(error: Exception) -> Exception:
    """The error, or one that says the same, if it cannot go from process to process."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = None
    return error if type(copy) is type(error) and str(copy) == str(error) else RuntimeError(repr(error))


def _result(worker: SpawnProcess, said: Connection) -> Any:
    """What a worker's function returned, once it has ended; None: it was killed. Raises what the function raised."""
    try:
        found, trace = said.recv()
    except EOFError:
        found, trace = None, None
    worker.join()
    if trace is None:
        return found
    if isinstance(found, _KNOWN):
        raise found
    print(trace, file=sys.stderr, end="", flush=True)
    raise ValueError(f"a worker failed ({type(found).__name__}: {found!s:.300}), see its traceback above; {_AGAIN}")


def _tell_of_death(worker: SpawnProcess, others: bool) -> None:
    """Warns that a worker was killed, if there are others; else raises ValueError."""
    code = worker.exitcode or 0
    cause = f"with status {code}"
    if code < 0:
        cause = f"by {signal.Signals(-code).name}" + ", probably for lack of memory" * (code == -signal.SIGKILL)
    if others:
        warnings.warn(f"a worker (process {worker.pid}) was ended {cause}: the others take over", stacklevel=3)
        return
    raise ValueError(
        f"a worker (process {worker.pid}) was ended {cause}, and no other is left: {_AGAIN}; with fewer workers each "
        "has more memory"
    )
