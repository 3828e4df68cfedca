"""An engine for Ray clusters: one actor on every device holds the model and makes one shard after the other.

Actors write into the folder of the dataset, which all nodes share; through Ray go names and numbers alone, so that its
object store has nothing to keep or to spill. The command hands every actor one shard at a time. If an actor is lost,
with its node perhaps, its shard goes to another, and a new actor begins where there is room. (Ray's own max_restarts
and max_task_retries would have the shard wait for that room, which a cluster that has become smaller never has.) What
an actor raises is tried again by a new one, unless it would only come again. Claims are those of all engines, so other
commands can join.
"""

import collections
import errno
import functools
import os
import platform
import socket
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from dnerf_jax.factory import description, provenance, shards
from dnerf_jax.factory.plan import Shard
from dnerf_jax.factory.runs import engines, running
from dnerf_jax.factory.runs.claims import Claims
from dnerf_jax.factory.runs.watching import Watch
from dnerf_jax.factory.runs.work import Job, Made, Worker
from dnerf_jax.io import files
from dnerf_jax.ops.messages import some
from dnerf_jax.training import process

ATTEMPTS = 4  # at a shard
PATIENCE = 60.0  # seconds without any actor, after which that is told
_STORE = 80 << 20  # bytes of the object store of a cluster of our own: about the least that Ray takes
_MEMORY = 2 << 30  # bytes that a worker on a CPU asks for, besides a core
_OF_RAY = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}  # what is asked for, as nodes call it
# Thirty seconds are too few for a node to start on a busy machine; and Ray would report home.
SETTINGS = {"RAY_raylet_start_wait_time_s": "120", "RAY_USAGE_STATS_ENABLED": "0"}
_AGAIN = "the same command goes on from what is done"
_WOULD_COME_AGAIN = (ValueError, FloatingPointError, ImportError)


def on_ray(
    job: Job,
    order: Sequence[Shard],
    watch: Watch,
    workers: int | None = None,
    *,
    cluster: str | None = None,
    resources: Mapping[str, Any] | None = None,
) -> None:
    """Makes shards on a Ray cluster.

    Args:
      cluster: its address, by default RAY_ADDRESS; without any, one is started on this machine alone.
      workers: actors; by default as many as there is room for. Where there is less, more begin as nodes join.
      resources: of an actor, in Ray's words: num_cpus, num_gpus, memory (bytes), or the cluster's own. By default a GPU
        and a core where the cluster has GPUs, else a core and 2 GiB.

    Raises what an actor raised, if that would only come again. ValueError: there is no cluster, its nodes do not share
    the folder, a shard failed `ATTEMPTS` times, or no actor starts.
    """
    if wrong := [name for name, amount in (resources or {}).items() if isinstance(amount, str)]:
        raise ValueError(f"resources has no numbers for {some(wrong)}, expected those that Ray counts")
    ray = _connect(cluster, workers)
    try:
        wanted = dict(resources or _usual(ray))
        rooms = [room for node in ray.nodes() if node["Alive"] and (room := _room(node["Resources"], wanted))]
        count = min(workers or max(sum(rooms), 1), len(order))
        watch.begin(f"{count} Ray actor{'s' * (count > 1)}, room for {sum(rooms)} on {len(rooms)} nodes")
        environment = engines.one_thread() | {"JAX_PLATFORMS": "cpu"} if set(wanted) <= {"num_cpus", "memory"} else {}
        options = {name: wanted.pop(name) for name in _OF_RAY if name in wanted}
        actor = ray.remote(_Actor).options(
            **options, resources=wanted, max_restarts=0, runtime_env={"env_vars": environment}
        )
        there = Job(job.plan, _everywhere(job.checkpoint), os.path.abspath(job.out))
        said = files.read_text(Path(job.out) / description.NAME)
        _drive(ray, functools.partial(actor.remote, there, said), count, job, order, watch)
    finally:
        ray.shutdown()


class _Actor:
    """What runs on the nodes."""

    def __init__(self, job: Job, said: str) -> None:
        self.job, self.said = job, said

    @functools.cached_property
    def worker(self) -> Worker:
        """The model, loaded. Raises ValueError: the folder or the checkpoint is not that of the command."""
        process.choose_deterministic()
        process.prepare()
        path, node = Path(self.job.out, description.NAME), platform.node()
        if not path.exists() or files.read_text(path) != self.said:
            raise ValueError(
                f"the node {node} does not see {path} as the command does: --out must lie on a file system that all "
                "nodes share, under the same path"
            )
        worker = Worker(self.job)
        theirs, ours = description.read(path.parent).checkpoint, provenance.origin(worker.model)
        if any(theirs.get(name) != ours[name] for name in ("fingerprint", "semantic_fingerprint")):
            raise ValueError(
                f"the node {node} has another checkpoint at {self.job.checkpoint} than the command: copy it"
            )
        return worker

    def start(self) -> None:
        """Loads the model."""
        self.worker  # noqa: B018

    def make(self, shard: Shard) -> Made | None:
        """Makes a shard; None: somebody else has made it, or makes it."""
        if Claims(self.worker.out).is_held(shard.name):
            return None
        return next(running.work_through(self.worker, [shard]), None)


def _drive(ray: ModuleType, new: Callable[[], Any], count: int, job: Job, order: Sequence[Shard], watch: Watch) -> None:
    """Hands out shards to `count` actors until all are done: who is not idle is busy with a shard, or starts (None)."""
    left, failures = collections.deque(order), collections.Counter[Shard | None]()
    idle: list[Any] = []
    busy: dict[Any, tuple[Any, Shard | None]] = {}
    for _ in range(count):
        actor = new()
        busy[actor.start.remote()] = actor, None
    seen, refused, next_at = time.monotonic(), 0, 0.0
    while left or any(shard for _, shard in busy.values()):
        if left and refused >= len(left):  # all that is left is being made by other commands
            refused, next_at = 0, time.monotonic() + running.POLL
        while idle and left and time.monotonic() >= next_at:
            actor, shard = idle.pop(), left.popleft()
            busy[actor.make.remote(shard)] = actor, shard
        if not busy:
            time.sleep(running.POLL)
        ready = ray.wait(list(busy), timeout=running.POLL)[0] if busy else []
        watch.look()
        if ready or any(shard for _, shard in busy.values()):
            seen = time.monotonic()
        elif time.monotonic() - seen > PATIENCE:
            seen = float("inf")
            warnings.warn(f"no actor begins; the cluster has {ray.available_resources()} to give", stacklevel=3)
        for call in ready:
            actor, shard = busy.pop(call)
            try:
                made = ray.get(call)
            except ray.exceptions.RayError as error:
                failures[shard] += 1
                raised = isinstance(error, ray.exceptions.RayTaskError)
                _look_at(error, raised, shard, failures[shard], ATTEMPTS if shard else ATTEMPTS + count)
                if shard is not None:
                    left.appendleft(shard)
                ray.kill(actor)  # what Ray cannot reach may still be alive
                actor = new()
                busy[actor.start.remote()] = actor, None
            else:
                idle.append(actor)
                if made is not None:
                    failures[None] = refused = 0
                elif shard is not None and not shards.is_done(job.plan, shard, Path(job.out)):
                    left.append(shard)
                    refused += 1


def _look_at(error: Any, raised: bool, shard: Shard | None, failures: int, limit: int) -> None:
    """Warns of an actor that failed or was lost; raises if that would come again, or has come as often as it may."""
    what = f"making {shard.name}" if shard else "starting"
    if not raised:
        if failures >= limit:
            raise ValueError(
                f"{failures} actors were lost while {what}: has each enough memory (resources)? Ray says: {error}"
            ) from None
        warnings.warn(f"an actor was lost while {what}: others take over", stacklevel=4)
        return
    if isinstance(error.cause, _WOULD_COME_AGAIN) or getattr(error.cause, "errno", None) == errno.ENOSPC:
        raise error.cause
    print(error, file=sys.stderr, flush=True)
    if failures >= limit:
        raise ValueError(f"{failures} actors failed at {what}, see their tracebacks above; {_AGAIN}") from None
    warnings.warn(f"an actor failed at {what}, see its traceback above; another tries again", stacklevel=4)


def _connect(address: str | None, workers: int | None) -> ModuleType:
    """Ray, connected. Raises ImportError: it is not installed; ValueError: there is no such cluster."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ImportError("--engine ray needs Ray: pip install dnerf_jax[ray]") from error
    address = address or os.environ.get("RAY_ADDRESS")
    own = {} if address else {"num_cpus": workers, "object_store_memory": _STORE, "include_dashboard": False}
    host, _, port = (address or "").rpartition(":")
    try:
        if port.isdecimal() and "/" not in host:
            socket.create_connection((host, int(port)), timeout=10).close()  # Ray would wait for ever
        with warnings.catch_warnings():
            # Ray forks to start its processes, of which JAX warns; but those become other programs at once.
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
            ray.init(address or "local", log_to_driver=False, logging_level="error", **own)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"there is no Ray cluster at {address or 'this machine'}: {error}") from error
    return ray


def _usual(ray: ModuleType) -> dict[str, float]:
    """What an actor asks for."""
    return {"num_gpus": 1, "num_cpus": 1} if ray.cluster_resources().get("GPU") else {"num_cpus": 1, "memory": _MEMORY}


def _room(node: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    """How many actors a node has room for."""
    return min(int(node.get(_OF_RAY.get(name, name), 0) / amount) for name, amount in wanted.items() if amount)


def _everywhere(checkpoint: str) -> str:
    """A checkpoint's name that means the same whatever the current folder; that of an embedded one stays."""
    return os.path.abspath(checkpoint) if os.path.exists(checkpoint) else checkpoint
