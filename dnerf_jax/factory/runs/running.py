"""A run: what every engine does with a folder before, while and after its workers make the shards.

    with running.begun(job) as run:            # the folder is looked at; others see that we are there
        for made in running.work_through(Worker(run.job), run.missing):    # in every worker, wherever it is
            ...
        running.finish(run.job)

Any number of commands, each with any number of workers, can do this in the same folder at the same time, on machines
that share it; shards go to whoever claims them first (see `claims`). run/ is what a run tells of itself and no part of
the dataset: the claims, and log.jsonl with a line for every shard that a worker finished.
"""

import contextlib
import dataclasses
import json
import os
import platform
import re
import threading
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from dnerf_jax.factory import description, poses, provenance, render, shards
from dnerf_jax.factory.cards import card
from dnerf_jax.factory.plan import Plan, Shard, split_sizes
from dnerf_jax.factory.plan import shards as shards_of
from dnerf_jax.factory.runs import space
from dnerf_jax.factory.runs.claims import Claim, Claims, LostClaim
from dnerf_jax.factory.runs.work import Job, Made, Worker
from dnerf_jax.io import checkpoints, files, folders
from dnerf_jax.models.model import LABELS_TRUNCATION, Model
from dnerf_jax.ops.messages import some

LOG = Path("run", "log.jsonl")
POLL = 1.0  # seconds between looks at what others make
_COMMAND = "command-"  # how claims of commands begin, which no shard is called
_PARTIAL = re.compile(r"\.(?P<shard>\w+-\d+)\.[0-9a-f]{8}\.partial\.(tar|json)")


@dataclasses.dataclass(frozen=True)
class Run:
    """A command at work in a folder: the job, with the plan that holds for this model, and the shards to be made."""

    job: Job
    missing: tuple[Shard, ...]


@contextlib.contextmanager
def begun(job: Job) -> Iterator[Run]:
    """Makes the folder of a dataset ready. As long as the block lasts, others see that a command is at work there.

    What killed workers left is removed, before and after.

    Raises ValueError: the folder is somebody else's, holds a dataset of another plan or checkpoint, or has less space
    than what is missing takes; the plan has poses that the checkpoint's bodies cannot take.
    """
    with folders.claimed(job.out, known_by=[description.NAME], wait=True):
        pass  # it is looked at before any work
    # Not within the claim: many commands that begin together shall not load one after the other.
    model = checkpoints.load(job.checkpoint)
    plan = job.plan if model.semantic is not None else job.plan.without_labels()
    branch, config, label_map = model.semantic, model.generator.config, model.label_map
    render.require_rules(plan.drops, None if branch is None else label_map)
    for said in cautions(job.plan, plan, model):
        warnings.warn(said, stacklevel=3)
    origin, frames = provenance.origin(model), poses.chosen(plan, model)
    del model, branch
    with folders.claimed(job.out, known_by=[description.NAME], wait=True) as out:
        tidy(plan, out)
        held = Claims(out).held()
        if any(name.startswith(_COMMAND) for name in held):
            _require_as_many(plan, out)
        has_shards = bool(held) or any((out / shards.VIEWS).glob("*.json"))
        frames = poses.settled(frames, config.articulation, out)
        told = None if frames is None else frames.told()
        description.write(plan, config, label_map, origin, out, begun=has_shards, poses=told)
        poses.write(frames, out)
        todo = missing(plan, out)
        space.require(plan, todo, config.image_resolution, out)
        command = Claims(out).take(f"{_COMMAND}{uuid.uuid4().hex[:8]}")
        assert command is not None  # nobody else has this name
    try:
        with command:
            yield Run(dataclasses.replace(job, plan=plan, poses=told["fingerprint"] if told else ""), tuple(todo))
    finally:
        with contextlib.suppress(OSError):
            tidy(plan, out)


def cautions(asked: Plan, plan: Plan, model: Model) -> list[str]:
    """What somebody who asked for a plan may miss in what becomes of it with this model, or not have meant."""
    names = [name for name in asked.modalities if name not in plan.modalities]
    empty = [name for name, size in split_sizes(plan).items() if not size]
    said = (
        [f"the checkpoint has no semantic branch, so the dataset has no {some(names, separator=' and ')}"]
        if names
        else []
    )
    learned = float(dict(model.info).get(LABELS_TRUNCATION, 1))
    if model.semantic is not None and abs(learned) < min(1, abs(plan.truncation_psi)):
        said.append(
            f"the branch learned from scenes with truncation_psi {learned:g}, those of the dataset have "
            f"{plan.truncation_psi:g} and differ more: --config.truncation_psi={learned:g} makes them alike"
        )
    return said + ([f"there are too few identities for the split {some(empty)}: it is empty"] if empty else [])


def missing(plan: Plan, out: Path) -> list[Shard]:
    """The shards that are not done, in order."""
    try:
        there = set(os.listdir(out / shards.VIEWS))
    except FileNotFoundError:
        there = set()
    return [
        shard for shard in shards_of(plan) if f"{shard.name}.json" not in there or not shards.is_done(plan, shard, out)
    ]


def work_through(worker: Worker, order: Iterable[Shard], stopped: threading.Event | None = None) -> Iterator[Made]:
    """Makes the shards that nobody else makes, and waits for those of others, to take them over if these die.

    Ends when all are done, by whom ever, or once `stopped` is set. Yields what this worker made.
    """
    stopped = stopped or threading.Event()
    held, todo = Claims(worker.out), list(order)
    while todo:
        left, idle = [], True
        for shard in todo:
            if stopped.is_set():
                return
            if shards.is_done(worker.plan, shard, worker.out):
                continue
            claim = held.take(shard.name)
            if claim is None:
                left.append(shard)
                continue
            with claim:
                made = _make(worker, shard, claim, stopped)
            if made is not None:
                idle = False
                log(worker.out, made, worker.stack["fingerprint"])
                yield made
            else:
                left.append(shard)
        todo = left
        if todo and idle:
            stopped.wait(POLL)


def tidy(plan: Plan, out: Path) -> None:
    """Removes stale claims, and what was left half-written of shards that nobody has claimed."""
    held = Claims(out)
    for folder in shards.folders(plan):
        # In this order: whoever begins a shard claims it first.
        for path, shard in _partials(out / folder):
            if not held.is_held(shard):
                path.unlink(missing_ok=True)
    held.tidy()


def log(out: Path, made: Made, stack: str) -> None:
    """Adds a line about a shard to run/log.jsonl."""
    line = dataclasses.asdict(made) | {"time": time.time(), "host": platform.node(), "process": os.getpid()}
    line = {name: round(value, 3) if isinstance(value, float) else value for name, value in line.items()}
    (out / LOG).parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError), open(out / LOG, "a", buffering=1) as file:
        file.write(json.dumps(line | {"stack": stack}) + "\n")


def finish(job: Job) -> None:
    """Writes the card of the dataset, and says what was made and where. Raises ValueError: not all is done."""
    plan, out = job.plan, Path(job.out)
    if left := missing(plan, out):
        raise ValueError(f"{out} lacks {some(shard.name for shard in left)}: give the same command again")
    size = drops = 0
    for shard in shards_of(plan):
        heads = [shards.read_head(out, shard.name, folder) for folder in shards.folders(plan)]
        size, drops = size + sum(head["bytes"] for head in heads), drops + len(heads[0]["drops"])
    with folders.claimed(out, wait=True):  # whoever finishes at the same time, or begins, does not remove what we write
        files.remove_partials((out / card.PICTURE).parent)
        card.write(out)
    splits = ", ".join(f"{name} {count:,}" for name, count in split_sizes(plan).items())
    dropped = f"; {drops:,} draws were dropped" if drops else ""
    print(
        f"{plan.num_views:,} views of {plan.num_identities:,} identities ({splits}) in {out}: {space.said(size)}"
        f"{dropped}; {out / card.NAME} describes it, {out / card.PICTURE} shows some",
        flush=True,
    )


def _require_as_many(plan: Plan, out: Path) -> None:
    """Raises ValueError: another command is at work on another number of identities."""
    theirs = description.read(out).plan.num_identities
    if theirs != plan.num_identities:
        raise ValueError(
            f"{out} is being made by another command, with num_identities {theirs} and not {plan.num_identities}: "
            "wait until it has ended, or give the same number"
        )


def _make(worker: Worker, shard: Shard, claim: Claim, stopped: threading.Event) -> Made | None:
    """What came of a shard; None: somebody else has made it, or makes it, or it need not be made any more."""
    if shards.is_done(worker.plan, shard, worker.out):  # since we looked
        return None
    for folder in shards.folders(worker.plan):
        for path, name in _partials(worker.out / folder):
            if name == shard.name:
                path.unlink(missing_ok=True)

    def report(views: int, drops: int) -> None:
        if stopped.is_set():
            raise LostClaim(shard.name)
        claim.report(views, drops)

    try:
        return worker.make(shard, report)
    except LostClaim:
        return None
    except Exception:
        # Whoever took the shard over, while this process was stopped, also removed what it was writing.
        if claim.is_ours():
            raise
        return None


def _partials(folder: Path) -> list[tuple[Path, str]]:
    """The half-written files of a folder, and the shards that they are of."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    matches = [(folder / name, _PARTIAL.fullmatch(name)) for name in names if name.startswith(".")]
    return [(path, match["shard"]) for path, match in matches if match is not None]
