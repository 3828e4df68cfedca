"""A worker: one process and device that makes shards, whatever engine hands them to it."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dnerf_jax.factory import poses, provenance, record, render, shards, writing
from dnerf_jax.factory.plan import Plan, Shard
from dnerf_jax.factory.render import Drop, Rendered
from dnerf_jax.io import checkpoints


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be made: plain values, which any process can be given.

    Attributes:
      plan: of the dataset.
      checkpoint: folder of the model, or an embedded name.
      out: folder of the dataset.
      poses: fingerprint of the poses that lie there, see `factory.poses`; "" where there are none.
    """

    plan: Plan
    checkpoint: str
    out: str
    poses: str = ""


@dataclasses.dataclass(frozen=True)
class Made:
    """What came of a shard: its name, views, dropped draws, bytes of its tars, seconds, and those spent rendering."""

    shard: str
    views: int
    drops: int
    bytes: int
    seconds: float
    render_seconds: float


class Worker:
    """Holds the model and its compiled programs, and makes one shard after the other."""

    def __init__(self, job: Job) -> None:
        self.job, self.out = job, Path(job.out)
        self.model = checkpoints.load(job.checkpoint)
        self.plan = job.plan if self.model.semantic is not None else job.plan.without_labels()
        config = self.model.generator.config
        self.forms = record.forms(self.plan, config)
        body = config.articulation
        self.frames = poses.read(self.out, body, job.poses) if job.poses and body is not None else None
        self.stack = provenance.stack()

    def make(self, shard: Shard, on_identity: Callable[[int, int], None] | None = None) -> Made:
        """Makes a shard whole, also if it is there already.

        on_identity: called after each identity with the views and the drops since the last call.
        """
        begun, rendering, views, drops = time.monotonic(), 0.0, 0, 0

        def timed() -> Iterator[tuple[Rendered, list[Drop]]]:
            nonlocal rendering, views, drops
            made = render.render(self.plan, self.model, shard.identities, self.frames)
            while True:
                start = time.monotonic()
                found = next(made, None)
                rendering += time.monotonic() - start
                if found is None:
                    return
                yield found
                views, drops = views + self.plan.views_per_identity, drops + len(found[1])
                if on_identity is not None:
                    on_identity(self.plan.views_per_identity, len(found[1]))

        writing.write(self.plan, self.model, self.forms, shard, timed(), self.out, self.stack)
        paths = [shards.tar_path(self.out, shard.name, folder) for folder in shards.folders(self.plan)]
        size = sum(path.stat().st_size for path in paths)
        return Made(shard.name, views, drops, size, time.monotonic() - begun, rendering)
