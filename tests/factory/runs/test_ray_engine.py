"""A Ray cluster on this machine: nodes and actors are lost, fail, or see another folder, and the bytes are the same."""

import errno
import functools
import json
import os
import signal
from pathlib import Path

import pytest
from together import CACHE, PLAN, content, is_half_written, once_half_made, parent, serial

from dnerf_jax.factory import description
from dnerf_jax.factory.plan import shards
from dnerf_jax.factory.runs import engines, ray_engine, running
from dnerf_jax.factory.runs.claims import Claims
from dnerf_jax.factory.runs.watching import Watch
from dnerf_jax.factory.runs.work import Job

pytestmark = [pytest.mark.forms, pytest.mark.slow]
STORE = 80 << 20


@pytest.fixture(scope="module")
def cluster():
    """A cluster whose head runs actors only that ask for nothing."""
    pytest.importorskip("ray", reason="make test-all installs it")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (CACHE | ray_engine.SETTINGS).items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE, "memory": 1 << 30}
        found = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield found
        finally:
            found.shutdown()


def test_a_node_is_lost_in_the_middle_of_a_shard(cluster, tiny_checkpoint, tmp_path):
    expected, out = serial(tiny_checkpoint, tmp_path / "serial"), tmp_path / "out"
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE, memory=4 << 30) for _ in range(2)]
    lost = []

    def lose_a_node(half_made):
        name, actor = next(iter(half_made.items()))
        (node,) = [node for node in nodes if node.all_processes["raylet"][0].process.pid == parent(actor)]
        os.kill(actor, signal.SIGKILL)
        lost.append((name, actor, is_half_written(out, name)))
        cluster.remove_node(node, allow_graceful=False)
        nodes.remove(node)

    thread = once_half_made(out, lose_a_node)
    engine = functools.partial(ray_engine.on_ray, cluster=cluster.address)
    try:
        with pytest.warns(UserWarning, match="an actor was lost while making .*: others take over"):
            engines.generate(Job(PLAN, str(tiny_checkpoint), str(out)), engine=engine)
    finally:
        thread.join()
        cluster.remove_node(*nodes)
    ((name, actor, half_written),) = lost
    assert half_written and content(out) == expected
    made = [json.loads(line) for line in (out / running.LOG).read_text().splitlines()]
    assert sorted(line["shard"] for line in made) == sorted(shard.name for shard in shards(PLAN))
    assert (name, actor) not in [(line["shard"], line["process"]) for line in made]


@pytest.fixture
def drive(cluster, tmp_path):
    """Runs what an actor does on the head of the cluster: drive(start, make, actors, restarts)."""
    ray = ray_engine._connect(cluster.address, None)
    order, out = list(shards(PLAN)), str(tmp_path)

    def run(start, make):
        class Actor:
            """Pickled by value; without JAX."""

            def start(self):
                return start(out)

            def make(self, shard):
                return make(out, shard)

        new = ray.remote(Actor).options(num_cpus=0).remote
        ray_engine._drive(ray, new, 1, Job(PLAN, "none", out), order, Watch(PLAN, tmp_path, order))
        return [line.split() for line in (tmp_path / "made").read_text().splitlines()]

    yield run
    ray.shutdown()


def test_what_fails_or_is_lost_is_tried_again(drive, capfd):
    def make(out, shard):
        # A file for every attempt.
        attempts = sum(name.startswith(shard.name) for name in os.listdir(out))
        Path(out, f"{shard.name}.{attempts}").touch()
        if shard.name == "train-000001" and attempts < 2:
            raise OSError(5, "the file server is away")
        if shard.name == "test-000000" and attempts == 0:
            os._exit(1)
        with open(Path(out, "made"), "a") as file:
            file.write(f"{shard.name} {os.getpid()}\n")
        return shard.name

    with pytest.warns(UserWarning) as warned:
        made = drive(lambda out: None, make)
    assert sorted(name for name, _ in made) == sorted(shard.name for shard in shards(PLAN))
    assert len({process for _, process in made}) > 1, "a failed actor's process is not used again"
    texts = [str(warning.message) for warning in warned]
    assert sum("failed at making train-000001" in text for text in texts) == 2
    assert sum("lost while making test-000000" in text for text in texts) == 1
    assert "the file server is away" in capfd.readouterr().err


def test_shards_of_others_are_asked_for_again_after_all_others(drive, monkeypatch):
    def make(out, shard):
        with open(Path(out, "made"), "a") as file:
            file.write(f"{shard.name}\n")
        tries = Path(out, "made").read_text().split().count(shard.name)
        return None if shard.split == "train" and tries < 3 else shard.name

    monkeypatch.setattr(running, "POLL", 0.1)
    asked = [name for (name,) in drive(lambda out: None, make)]
    train, test = (sorted({name for name in asked if name.startswith(split)}) for split in ("train", "test"))
    assert asked == train + test + train * 2


@pytest.mark.parametrize(
    ("error", "told"),
    [(ValueError("a bad plan"), "a bad plan"), (OSError(errno.ENOSPC, "no space left"), "no space left")],
)
def test_what_would_only_fail_again_ends_the_run_at_once(drive, tmp_path, error, told):
    def make(out, shard):
        Path(out, shard.name).touch()
        raise error

    with pytest.raises(type(error), match=told):
        drive(lambda out: None, make)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_fails_too_often_ends_the_run_with_its_traceback(drive, monkeypatch, capfd):
    def make(out, shard):
        raise RuntimeError("the driver of the device is gone")

    monkeypatch.setattr(ray_engine, "ATTEMPTS", 2)
    with pytest.raises(ValueError, match="2 actors failed at making train-000000"), pytest.warns(UserWarning):
        drive(lambda out: None, make)
    assert "in make" in capfd.readouterr().err


def test_actors_that_never_start_are_given_up(drive, monkeypatch):
    monkeypatch.setattr(ray_engine, "ATTEMPTS", 1)
    with pytest.raises(ValueError, match="2 actors were lost while starting"), pytest.warns(UserWarning):
        drive(lambda out: os._exit(1), None)


def test_nodes_share_the_folder_and_the_checkpoint(tiny_dataset, tiny_plan, tiny_checkpoint, tmp_path):
    said = (tiny_dataset / description.NAME).read_text()
    with pytest.raises(ValueError, match="does not see .*dataset.json as the command does"):
        ray_engine._Actor(Job(tiny_plan, str(tiny_checkpoint), str(tmp_path)), said).start()
    with pytest.raises(ValueError, match="another checkpoint"):
        ray_engine._Actor(Job(tiny_plan, "heads", str(tiny_dataset)), said).start()


def test_a_shard_that_somebody_makes_is_left_to_them(tiny_dataset, tiny_plan, tiny_checkpoint):
    said = (tiny_dataset / description.NAME).read_text()
    actor = ray_engine._Actor(Job(tiny_plan, str(tiny_checkpoint), str(tiny_dataset)), said)
    shard = next(shards(tiny_plan))
    with Claims(tiny_dataset).take(shard.name):
        assert actor.make(shard) is None
    assert actor.make(shard) is None  # it is there


def test_there_is_room_for_as_many_as_all_they_ask_for():
    node = {"CPU": 8.0, "GPU": 2.0, "memory": 5e9, "object_store_memory": 1e8}
    assert [ray_engine._room(node, wanted) for wanted in ({"num_cpus": 1}, {"num_cpus": 1, "memory": 2e9})] == [8, 2]
    assert [ray_engine._room(node, {"num_gpus": each, "num_cpus": 0}) for each in (1, 0.5)] == [2, 4]
    assert ray_engine._room(node, {"TPU": 1}) == 0


def test_there_is_no_cluster(tmp_path):
    pytest.importorskip("ray", reason="make test-all installs it")
    with pytest.raises(ValueError, match="there is no Ray cluster at 127.0.0.1:1"):
        ray_engine._connect("127.0.0.1:1", None)
