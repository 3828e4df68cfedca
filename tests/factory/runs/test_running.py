"""A run: what is missing, who makes it, and whose folder it is; no file of a run that failed is counted."""

import dataclasses
import errno
import json
import os
import shutil
import threading

import pytest
from making import Maker

from dnerf_jax.factory import shards
from dnerf_jax.factory.plan import Drops, Plan, num_shards
from dnerf_jax.factory.plan import shards as shards_of
from dnerf_jax.factory.runs import claims, running, space
from dnerf_jax.factory.runs.claims import Claims
from dnerf_jax.factory.runs.work import Job, Worker
from dnerf_jax.io import checkpoints, files
from dnerf_jax.models.model import LABELS_TRUNCATION

PLAN = Plan(num_identities=10, views_per_identity=2, splits=(("train", 4), ("test", 1)), shard_size=2)
NAMES = [shard.name for shard in shards_of(PLAN)]
PARTIAL = ".train-000001.0a1b2c3d.partial.tar"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(running, "POLL", 0.02)


def content(out):
    """All files of a dataset, but those that a run has of itself."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and path.relative_to(out).parts[0] != "run"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def all_of(plan, out, **options):
    """Makes what is missing; the names."""
    worker = Maker(plan, out, **options)
    return [made.shard for made in running.work_through(worker, running.missing(plan, out))]


def test_what_is_missing_is_made_in_order_and_logged(tmp_path):
    assert [shard.name for shard in running.missing(PLAN, tmp_path)] == NAMES and len(NAMES) == num_shards(PLAN) == 5
    assert all_of(PLAN, tmp_path) == NAMES
    assert running.missing(PLAN, tmp_path) == [] and all_of(PLAN, tmp_path) == []
    lines = [json.loads(line) for line in (tmp_path / running.LOG).read_text().splitlines()]
    assert [line["shard"] for line in lines] == NAMES
    assert lines[0]["process"] == os.getpid() and lines[0]["views"] == 4 and lines[0]["render_seconds"] == 0.25
    shards.tar_path(tmp_path, NAMES[2], "clouds").unlink()
    sidecar = shards.sidecar_path(tmp_path, NAMES[4])
    sidecar.write_text(sidecar.read_text()[:-9])
    assert all_of(PLAN, tmp_path) == [NAMES[2], NAMES[4]]
    assert not list((tmp_path / claims.FOLDER).glob("*.json"))


def test_more_identities_only_make_what_they_change(tmp_path):
    few, more = (dataclasses.replace(PLAN, num_identities=count) for count in (9, 12))
    all_of(few, tmp_path / "grown")
    all_of(more, tmp_path / "fresh")
    changed = [shard.name for shard in shards_of(more) if shard not in set(shards_of(few))]
    assert all_of(more, tmp_path / "grown") == changed and 1 < len(changed) < num_shards(more)
    assert content(tmp_path / "grown") == content(tmp_path / "fresh")


def test_workers_share_the_shards(tmp_path):
    workers = [Maker(PLAN, tmp_path, pause=0.01) for _ in range(3)]
    todo = running.missing(PLAN, tmp_path)
    threads = [threading.Thread(target=lambda w=w: list(running.work_through(w, todo))) for w in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for worker in workers for name in worker.made) == sorted(NAMES)
    assert running.missing(PLAN, tmp_path) == []


def test_who_dies_is_taken_over_and_who_lives_is_waited_for(tmp_path):
    held = Claims(tmp_path)
    dead, alive = held.take(NAMES[1]), held.take(NAMES[0])
    dead.path.write_text(json.dumps(json.loads(dead.path.read_text()) | {"begun_at": 1}))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / PARTIAL).write_bytes(b"half")
    threading.Timer(0.3, alive.give_back).start()
    assert all_of(PLAN, tmp_path) == [*NAMES[1:], NAMES[0]]
    assert not list(tmp_path.rglob(".*partial*"))


def test_a_worker_that_was_stopped_too_long_goes_on_with_what_is_left(tmp_path):
    slow, quick = Maker(PLAN, tmp_path, pause=0.1), Maker(PLAN, tmp_path)
    todo = running.missing(PLAN, tmp_path)
    thread = threading.Thread(target=lambda: list(running.work_through(slow, todo)))
    thread.start()
    assert slow.begun.wait(20)
    claim = Claims(tmp_path).folder / f"{NAMES[0]}.json"
    os.utime(claim, (1, 1))
    made = list(running.work_through(quick, todo))  # removes what the slow one has written so far
    thread.join()
    assert made[0].shard == NAMES[0] and NAMES[0] not in slow.made
    assert sorted(slow.made + quick.made) == sorted(NAMES) and running.missing(PLAN, tmp_path) == []


def test_workers_that_are_told_to_stop_leave_nothing_half_written(tmp_path):
    worker, stopped = Maker(PLAN, tmp_path, pause=0.05), threading.Event()
    made = []

    def work():
        made.extend(running.work_through(worker, running.missing(PLAN, tmp_path), stopped))

    thread = threading.Thread(target=work)
    thread.start()
    assert worker.begun.wait(20)
    stopped.set()
    thread.join()
    assert made == [] and not list((tmp_path / "data").glob("*.json")) and not list(tmp_path.rglob(".*partial*"))
    assert list(running.work_through(worker, running.missing(PLAN, tmp_path), stopped)) == []


@pytest.mark.slow
def test_a_disk_that_fills_up_counts_for_nothing(tiny_dataset, tiny_plan, tiny_checkpoint, tmp_path, monkeypatch):
    worker, add = Worker(Job(tiny_plan, str(tiny_checkpoint), str(tmp_path))), shards.Tar.add
    todo, written = running.missing(tiny_plan, tmp_path), []

    def fills_up(self, name, data):
        written.append(name)
        if len(written) > 60:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        return add(self, name, data)

    monkeypatch.setattr(shards.Tar, "add", fills_up)
    with pytest.raises(OSError, match="No space left"):
        list(running.work_through(worker, todo))
    done = [path.stem for path in (tmp_path / "data").glob("*.json")]
    assert 0 < len(done) < len(todo) and len(running.missing(tiny_plan, tmp_path)) == len(todo) - len(done)
    assert not list(tmp_path.rglob(".*partial*")) and not list((tmp_path / claims.FOLDER).glob("*.json"))
    monkeypatch.setattr(shards.Tar, "add", add)
    list(running.work_through(worker, todo))
    for folder in shards.folders(tiny_plan):
        for path in (tiny_dataset / folder).glob("*.tar"):
            assert path.read_bytes() == (tmp_path / folder / path.name).read_bytes()


def test_a_worker_that_fails_leaves_nothing_half_written(tmp_path, monkeypatch):
    worker, sidecar_text = Maker(PLAN, tmp_path), shards.sidecar_text

    def fails(shard, *arguments):
        if shard.name == NAMES[2]:
            raise ValueError("what this is of")
        return sidecar_text(shard, *arguments)

    monkeypatch.setattr(shards, "sidecar_text", fails)
    with pytest.raises(ValueError, match="what this is of"):
        list(running.work_through(worker, running.missing(PLAN, tmp_path)))
    assert [shard.name for shard in running.missing(PLAN, tmp_path)] == NAMES[2:]
    assert not list(tmp_path.rglob(".*partial*")) and not list((tmp_path / claims.FOLDER).glob("*.json"))


@pytest.mark.slow
def test_a_folder_is_of_one_plan_and_checkpoint(tiny_dataset, tiny_plan, tiny_checkpoint, tiny_model, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(tiny_dataset, out)
    job = Job(tiny_plan, str(tiny_checkpoint), str(out))
    before = content(out)
    with running.begun(job) as run:
        assert run.job == job and run.missing == ()
        assert [name.startswith("command-") for name in Claims(out).held()] == [True]
        grown = dataclasses.replace(tiny_plan, num_identities=7)
        with pytest.raises(ValueError, match="is being made by another command, with num_identities 6 and not 7"):
            running.begun(dataclasses.replace(job, plan=grown)).__enter__()
        with running.begun(job):  # the same again may join
            assert len(Claims(out).held()) == 2
    (out / "assets" / ".samples.0a1b2c3d.partial.png").write_bytes(b"half")
    finishing = [threading.Thread(target=running.finish, args=(job,)) for _ in range(3)]  # one after the other
    for thread in finishing:
        thread.start()
    for thread in finishing:
        thread.join()
    assert content(out) == before and not (out / claims.FOLDER).exists()
    with pytest.raises(ValueError, match="other settings or inputs: seed was 0 and is 1"):
        running.begun(dataclasses.replace(job, plan=dataclasses.replace(tiny_plan, seed=1))).__enter__()
    with pytest.raises(ValueError, match="num_identities was 6 and is 5"):
        running.begun(dataclasses.replace(job, plan=dataclasses.replace(tiny_plan, num_identities=5))).__enter__()
    checkpoints.save(tmp_path / "other", tiny_model)
    with pytest.raises(ValueError, match=r"other settings or inputs: .*semantic branch changed"):
        running.begun(dataclasses.replace(job, checkpoint=str(tmp_path / "other"))).__enter__()
    assert content(out) == before
    with running.begun(dataclasses.replace(job, plan=grown)) as run:
        assert [shard.identities[-1] for shard in run.missing] == [6]
        with pytest.raises(ValueError, match="lacks train-000002: give the same command again"):
            running.finish(run.job)


@pytest.mark.slow
def test_a_new_folder_is_made_ready_or_not_at_all(tiny_plan, tiny_checkpoint, tmp_path, monkeypatch):
    job = Job(tiny_plan, str(tiny_checkpoint), str(tmp_path / "new"))
    monkeypatch.setattr(space, "free", lambda _: 20_000)
    with pytest.raises(ValueError, match=r"has 20 kB left, what is missing takes about [\d.]+ kB: free some space"):
        running.begun(job).__enter__()
    monkeypatch.undo()
    with pytest.raises(ValueError, match="none: "), running.begun(dataclasses.replace(job, checkpoint="none: ")):
        pass
    data = tmp_path / "new" / "data"
    data.mkdir()
    (data / PARTIAL).write_bytes(b"half")
    (data / ".mine").write_bytes(b"kept")
    claim = Claims(tmp_path / "new").take("test-000000")
    (data / ".test-000000.0a1b2c3d.partial.json").write_bytes(b"somebody writes it")
    # A plan that came to nothing blocks no other, unless somebody is at work on it.
    other = dataclasses.replace(job, plan=dataclasses.replace(tiny_plan, seed=3))
    with pytest.raises(ValueError, match="seed was 0 and is 3"):
        running.begun(other).__enter__()
    assert sorted(path.name for path in data.iterdir()) == [".mine", ".test-000000.0a1b2c3d.partial.json"]
    claim.give_back()
    with running.begun(other) as run:
        assert [shard.name for shard in run.missing] == ["train-000000", "train-000001", "test-000000"]
    assert sorted(path.name for path in data.iterdir()) == [".mine"]


@pytest.mark.slow
def test_a_model_without_a_branch_has_a_dataset_without_labels(tiny_plan, tiny_model, tmp_path):
    checkpoints.save(tmp_path / "model", tiny_model)
    job = Job(tiny_plan, str(tmp_path / "model"), str(tmp_path / "out"))
    missed = "no semantic branch, so the dataset has no mask and confidence and logits"
    with pytest.warns(UserWarning, match=missed), running.begun(job) as run:
        assert run.job.plan == tiny_plan.without_labels() and run.job.plan != tiny_plan
    assert not (tmp_path / "out" / "labelmap.json").exists()


def test_what_cannot_be_kept_or_is_empty_is_told_before_any_work(
    tiny_plan, tiny_semantic_model, tiny_checkpoint, tmp_path
):
    ruled = dataclasses.replace(tiny_plan, drops=Drops(min_area=(("noze", 0.1),)))
    with (
        pytest.raises(ValueError, match="drops names the classes noze: expected some of background, skin"),
        running.begun(Job(ruled, str(tiny_checkpoint), str(tmp_path / "out"))),
    ):
        pass
    assert not (tmp_path / "out").exists()
    few = dataclasses.replace(tiny_plan, num_identities=1)
    told = running.cautions(few, few, tiny_semantic_model)
    assert told == ["there are too few identities for the split test: it is empty"]


def test_scenes_that_differ_more_than_those_that_were_labelled_are_told(tiny_plan, tiny_semantic_model):
    truncated = tiny_semantic_model.replace(info=((LABELS_TRUNCATION, "0.7"),))
    (told,) = running.cautions(tiny_plan, tiny_plan, truncated)
    assert "truncation_psi 0.7, those of the dataset have 1 and differ more: --config.truncation_psi=0.7 makes" in told
    for psi in (0.7, 0.5):
        plan = dataclasses.replace(tiny_plan, truncation_psi=psi)
        assert running.cautions(plan, plan, truncated) == running.cautions(plan, plan, tiny_semantic_model) == []
    assert running.cautions(tiny_plan, tiny_plan, truncated.replace(semantic=None)) == []


def test_of_finished_shards_only_the_first_line_is_read(tmp_path, monkeypatch):
    all_of(PLAN, tmp_path)
    monkeypatch.setattr(files, "read_text", None)  # would fail if it were called
    assert running.missing(PLAN, tmp_path) == []
    sidecar = shards.sidecar_path(tmp_path, NAMES[0])
    text = sidecar.read_text()
    assert shards.read_head(tmp_path, NAMES[0]) == {
        name: value for name, value in json.loads(text).items() if name != "samples"
    }
    for damaged in (text[:-5], text[20:], "", "\n]}\n", text.replace(NAMES[0], NAMES[1])):
        sidecar.write_text(damaged)
        assert [shard.name for shard in running.missing(PLAN, tmp_path)] == NAMES[:1]
        with pytest.raises(ValueError, match="train-000000.json"):
            shards.read_head(tmp_path, NAMES[0])
