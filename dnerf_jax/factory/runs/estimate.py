"""What a dataset would take, before it is made: one group of identities is rendered and thrown away."""

import collections
import dataclasses
import resource
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from dnerf_jax.factory import description, draws, poses, provenance, record, render, shards
from dnerf_jax.factory.plan import Drops, Plan, Shard, num_shards, split_sizes
from dnerf_jax.factory.plan import shards as shards_of
from dnerf_jax.factory.runs import engines, running, space
from dnerf_jax.factory.runs.work import Job, Worker
from dnerf_jax.io.workers import threads
from dnerf_jax.training import logs, process


@dataclasses.dataclass(frozen=True)
class Measured:
    """What rendering one group took.

    Attributes:
      plan: that holds for this model.
      resolution: of the images, in pixels.
      identities: in the group.
      seconds: that the group took; first_seconds, with all that comes before.
      memory: bytes that the process had at most.
      view_bytes: of each kind of file, for a view; object_bytes, for an identity.
      other_bytes: of tars and sidecars beside the files, for an identity.
      cameras: yaw and pitch in degrees and position of every view of identity 0.
      poses: that bodies are in, how many.
      cautions: what is to be thought of before all of it is made, see `running.cautions`.
    """

    plan: Plan
    resolution: int
    identities: int
    seconds: float
    first_seconds: float
    memory: int
    view_bytes: dict[str, float]
    object_bytes: dict[str, float]
    other_bytes: float
    cameras: list[tuple[float, float, tuple[float, ...]]]
    poses: int = 0
    cautions: tuple[str, ...] = ()

    @property
    def identity_bytes(self) -> float:
        """Of all files of an identity."""
        views = self.plan.views_per_identity * sum(self.view_bytes.values())
        return views + sum(self.object_bytes.values()) + self.other_bytes


def estimate(job: Job, *, workers: int | None = None) -> str:
    """What a dataset would take on this machine, as text: counts, bytes, memory, time and the first cameras.

    Leaves nothing in the folder of the dataset; shards that are done there are counted as such.
    """
    process.choose_deterministic()
    on_cpu = jax.default_backend() == "cpu"
    found = engines.in_a_worker(measure, job) if on_cpu else measure(job)
    count = workers or (threads() if on_cpu else jax.local_device_count())
    return "\n".join([*_lines(found, Path(job.out), count), *found.cautions])


def measure(job: Job) -> Measured:
    """Makes the first group of identities twice, in a folder of its own."""
    begun = time.monotonic()
    process.prepare()
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(dataclasses.replace(job, out=folder))
        plan, config = worker.plan, worker.model.generator.config
        render.require_rules(plan.drops, worker.model.label_map if worker.model.semantic is not None else None)
        worker.frames = poses.settled(poses.chosen(plan, worker.model), config.articulation, Path(job.out))
        told = None if worker.frames is None else worker.frames.told()
        if any((Path(job.out) / shards.VIEWS).glob("*.json")):
            content = description.describe(plan, config, provenance.origin(worker.model), told)
            description.require_same(content, Path(job.out))
        first = next(shard for shard in shards_of(plan) if 0 in shard.identities)
        group = Shard(first.split, 0, first.identities[: plan.batch])
        worker.make(group)
        first_seconds = time.monotonic() - begun
        seconds = worker.make(group).seconds
        number, files, total = len(group.identities), {}, 0
        for place in shards.folders(plan):
            sidecar = shards.read_sidecar(worker.out, group.name, place)
            total += sidecar["bytes"] + shards.sidecar_path(worker.out, group.name, place).stat().st_size
            files[place] = collections.Counter()
            for sample in sidecar["samples"]:
                files[place].update({suffix: size for suffix, (_, size) in sample["members"].items()})
    views = {suffix: size / (number * plan.views_per_identity) for suffix, size in files.pop(shards.VIEWS).items()}
    objects = {suffix: size / number for counted in files.values() for suffix, size in counted.items()}
    listed = plan.views_per_identity * sum(views.values()) + sum(objects.values())
    _, camera = draws.draw(plan, config, 0)
    return Measured(
        plan,
        config.image_resolution,
        number,
        seconds,
        first_seconds,
        _peak(),
        views,
        objects,
        total / number - listed,
        [_described(pose) for pose in camera.cam2world],
        told["frames"] if told else 0,
        tuple(running.cautions(job.plan, plan, worker.model)),
    )


def _lines(found: Measured, out: Path, workers: int) -> list[str]:
    plan, size = found.plan, found.resolution
    todo = running.missing(plan, out)
    identities = sum(len(shard.identities) for shard in todo)
    workers = max(min(workers, len(todo)), 1)
    splits = ", ".join(f"{name} {count:,}" for name, count in split_sizes(plan).items())
    each = {record.OBJECT_SUFFIX.get(name, name): sizes for name, sizes in found.view_bytes.items()}
    seconds = identities * found.seconds / found.identities / workers + (found.first_seconds if todo else 0)
    lines = [
        f"views       {plan.num_identities:,} identities x {plan.views_per_identity} views = {plan.num_views:,} views "
        f"of {size} x {size} pixels",
        f"splits      {splits} identities",
        f"shards      {num_shards(plan):,} of up to {plan.shard_size} identities, {len(todo):,} of them missing",
        f"a view      {_sizes(each)}",
        f"an identity {space.said(found.identity_bytes)}: its views, "
        + _sizes(found.object_bytes | {"tars": found.other_bytes}),
        f"in all      {space.said(plan.num_identities * found.identity_bytes)}; missing are "
        f"{space.said(identities * found.identity_bytes)}, and the disk has {space.said(space.free(out))} left",
        f"memory      {space.said(found.memory)} a worker, {space.said(workers * found.memory)} for {workers}; "
        f"there are {space.said(process.memory_limit())}",
        f"time        {found.seconds / found.identities:.3g} s an identity after {logs.duration(found.first_seconds)}: "
        f"about {logs.duration(seconds)} with {workers} worker{'s' * (workers > 1)}",
    ]
    lines += [
        f"camera {view:<4} yaw {yaw:6.1f}, pitch {pitch:5.1f} degrees, at ({', '.join(f'{x:.2f}' for x in place)})"
        for view, (yaw, pitch, place) in enumerate(found.cameras)
    ]
    if found.poses:
        each = "one for each view" if plan.poses.order == "frames" else "one drawn for each identity"
        lines.append(f"poses       {found.poses:,}, {each}")
    rules = [
        f"{name} {value}" for name, value in dataclasses.asdict(plan.drops).items() if value != getattr(Drops(), name)
    ]
    return [*lines, f"drops       {'; '.join(rules) or 'no rules'}"]


def _sizes(sizes: dict[str, float]) -> str:
    return ", ".join(f"{name} {space.said(size)}" for name, size in sizes.items())


def _described(pose: np.ndarray) -> tuple[float, float, tuple[float, ...]]:
    """Yaw and pitch in degrees and position of a camera (4, 4)."""
    x, y, z = (float(entry) for entry in pose[:3, 3])
    return float(np.degrees(np.arctan2(x, z))), float(np.degrees(np.arctan2(y, np.hypot(x, z)))), (x, y, z)


def _peak() -> int:
    """The bytes that this process had at most: on its device or, on a CPU, in all."""
    known = jax.local_devices()[0].memory_stats() or {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return known.get("peak_bytes_in_use") or peak * (1 if sys.platform == "darwin" else 1024)
