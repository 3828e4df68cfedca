"""What tests of engines share: a small dataset, made by one process, and the moment in which a shard is half made."""

import os
import threading
import time
from pathlib import Path

from dnerf_jax.factory.plan import Plan
from dnerf_jax.factory.runs import engines
from dnerf_jax.factory.runs.claims import Claims
from dnerf_jax.factory.runs.work import Job

# Five shards of four identities or more: long enough to be half made for a while.
PLAN = Plan(
    num_identities=24,
    views_per_identity=3,
    splits=(("train", 2), ("test", 1)),
    modalities=("image", "mask", "depth_z"),
    shard_size=6,
)
# Compiled programs are shared by all workers, which have one thread each, of all such tests of a run.
CACHE = {
    "JAX_COMPILATION_CACHE_DIR": os.path.join(os.environ["JAX_COMPILATION_CACHE_DIR"], "one_thread"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def content(out):
    """All files of a dataset, but those that a run has of itself."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and path.relative_to(out).parts[0] != "run"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def serial(checkpoint, out):
    """The content of the dataset, as one process makes it."""
    engines.generate(Job(PLAN, str(checkpoint), str(out)), workers=1)
    return content(out)


def once_half_made(out, act, count=1):
    """Calls act({shard: process}) as soon as so many shards are half made; returns the thread that waits for it."""

    def half_made():
        held = Claims(out).held().items()
        return {name: said["process"] for name, said in held if not name.startswith("command") and said.get("views")}

    def wait():
        end = time.monotonic() + 600  # on a busy machine a cluster needs minutes
        while len(found := half_made()) < count and time.monotonic() < end:
            time.sleep(0.002)
        act(found)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def parent(process):
    """The process that started one."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def is_half_written(out, shard):
    """Whether the files of a shard are."""
    return any(name.startswith(f".{shard}.") for name in os.listdir(out / "data"))
