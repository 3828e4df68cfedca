"""Engines: the same bytes whatever the workers, and whoever of them is killed; what a worker raises is told."""

import dataclasses
import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import jax
import pytest
from making import Maker
from together import CACHE

from dnerf_jax.factory import loading, shards
from dnerf_jax.factory.plan import Plan, num_shards
from dnerf_jax.factory.plan import shards as shards_of
from dnerf_jax.factory.runs import engines, running
from dnerf_jax.factory.runs.watching import Watch
from dnerf_jax.factory.runs.work import Job
from dnerf_jax.io import workers
from dnerf_jax.ops import devices

ROOT = Path(__file__).parent.parent.parent.parent
PLAN = Plan(num_identities=10, views_per_identity=2, splits=(("train", 4), ("test", 1)), shard_size=2)
CONFIG = """
from ml_collections import ConfigDict

def get_config():
    return ConfigDict({content})
"""


@pytest.fixture(autouse=True)
def _slurm_is_elsewhere(monkeypatch):
    for name in list(os.environ):
        if name.startswith("SLURM_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "text, variables, expected",
    [
        ("", {}, (0, 1)),
        ("0/1", {"PROCID": "3", "NTASKS": "4"}, (0, 1)),
        ("6/7", {}, (6, 7)),
        ("", {"PROCID": "3", "NTASKS": "4"}, (3, 4)),
        ("", {"NTASKS": "4"}, (0, 1)),  # within sbatch itself, outside of srun
        ("", {"ARRAY_TASK_ID": "12", "ARRAY_TASK_MIN": "10", "ARRAY_TASK_COUNT": "5"}, (2, 5)),
        ("", {"ARRAY_TASK_ID": "8", "ARRAY_TASK_MIN": "2", "ARRAY_TASK_STEP": "3", "ARRAY_TASK_COUNT": "4"}, (2, 4)),
        ("", {"ARRAY_TASK_ID": "1", "ARRAY_TASK_COUNT": "2", "PROCID": "1", "NTASKS": "3"}, (4, 6)),
        ("", {"ARRAY_TASK_ID": "90", "ARRAY_TASK_MIN": "1", "ARRAY_TASK_COUNT": "2"}, (1, 2)),  # 1,90
    ],
)
def test_the_part_that_a_worker_begins_with(text, variables, expected, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert engines.part_of(text) == expected


@pytest.mark.parametrize("text", ["3", "3/3", "-1/3", "1/0", "a/b", "1/2/3", "1.0/2"])
def test_what_is_no_part_is_refused_before_any_work(text, tmp_path):
    with pytest.raises(ValueError, match=r"expected k/n with k from 0 to n - 1"):
        engines.generate(Job(PLAN, "heads", str(tmp_path / "out")), part=text)
    assert not (tmp_path / "out").exists()


def test_parts_begin_in_different_places_and_have_everything():
    todo = list(shards_of(PLAN))
    begun = [engines.rotated(todo, k, 3) for k in range(3)]
    assert [order[0] for order in begun] == [todo[0], todo[1], todo[3]]
    assert all(sorted(order, key=todo.index) == todo for order in begun)
    assert engines.rotated([], 2, 3) == [] and len(engines.rotated(todo, 99, 100)) == 5


class Ended:
    """Stands for a worker process that has ended."""

    pid = 4711

    def __init__(self, exitcode):
        self.exitcode = exitcode

    def join(self):
        """It has."""


def came_of(function, monkeypatch):
    """What the command makes of what a worker's function does, without a process."""
    monkeypatch.setattr(engines, "follow_the_command", lambda: None)
    ours, theirs = multiprocessing.Pipe(duplex=False)
    engines._call(theirs, function)
    return engines._result(Ended(0), ours)


class Unsendable(Exception):
    """Cannot be pickled and read again."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def raising(error):
    def fail():
        raise error

    return fail


def test_what_a_worker_raises_is_told(monkeypatch, capsys):
    assert came_of(lambda: 5, monkeypatch) == 5
    with pytest.raises(ValueError, match="^identity 3 has an image"):
        came_of(raising(ValueError("identity 3 has an image that is not finite")), monkeypatch)
    with pytest.raises(OSError, match="No space left") as full:
        came_of(raising(OSError(errno.ENOSPC, "No space left on device", "a.tar")), monkeypatch)
    assert full.value.errno == errno.ENOSPC
    assert capsys.readouterr().err == ""
    for error in (TypeError("a bug"), Unsendable("this", "that")):
        with pytest.raises(
            ValueError, match=rf"^a worker failed \(\w+: .*{error}.*\), see its traceback above; the sam"
        ):
            came_of(raising(error), monkeypatch)
        told = capsys.readouterr().err
        assert "in fail" in told and f"{type(error).__name__}: {error}" in told


def test_of_a_killed_worker_others_take_over_or_the_command_ends():
    ours, theirs = multiprocessing.Pipe(duplex=False)
    theirs.close()
    assert engines._result(Ended(-9), ours) is None
    with pytest.warns(UserWarning, match=r"4711\) was ended by SIGKILL, probably for lack of memory: the others take"):
        engines._tell_of_death(Ended(-signal.SIGKILL), True)
    with pytest.raises(ValueError, match=r"ended by SIGTERM, and no other is left: the same command goes on"):
        engines._tell_of_death(Ended(-signal.SIGTERM), False)
    with pytest.raises(ValueError, match=r"was ended with status 1, and no other"):
        engines._tell_of_death(Ended(1), False)


def test_a_worker_has_one_thread_and_one_device(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--a=1 --xla_force_host_platform_device_count=4 --b=2")
    monkeypatch.setenv("NPROC", "8")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with workers.environment(engines.one_thread()):
        assert os.environ["XLA_FLAGS"] == "--a=1 --b=2"
        assert os.environ["NPROC"] == os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["NPROC"] == "8" and "OMP_NUM_THREADS" not in os.environ
    assert "device_count=4" in os.environ["XLA_FLAGS"]


def test_every_accelerator_has_a_worker(tmp_path, monkeypatch, capsys):
    used = []

    def worker(job):
        maker = Maker(job.plan, Path(job.out), pause=0.02)
        used.append(devices.default_device())
        return maker

    monkeypatch.setattr(engines, "Worker", worker)
    monkeypatch.setattr(running, "POLL", 0.02)
    job, order = Job(PLAN, "heads", str(tmp_path)), list(shards_of(PLAN))
    engines.on_devices(job, order, Watch(PLAN, tmp_path, order), 3)
    assert sorted(used, key=lambda device: device.id) == jax.local_devices()[:3]
    assert running.missing(PLAN, tmp_path) == []
    assert "making 20 views of 10 identities: 5 shards, 3 x cpu" in capsys.readouterr().out
    with pytest.raises(ValueError, match="workers is 5, but there are 4 devices"):
        engines.on_devices(job, order, Watch(PLAN, tmp_path, order), 5)


def test_a_failing_accelerator_stops_the_others(tmp_path, monkeypatch):
    def make(self, shard, report):
        if threading.current_thread() is not threads[0]:
            raise ValueError("identity 3 has an image that is not finite")
        report(1, 0)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            time.sleep(0.01)
            report(1, 0)
        raise AssertionError("nobody stopped it")

    threads, original = [], running.work_through

    def work_through(worker, order, stopped):
        threads.append(threading.current_thread())
        return original(worker, order, stopped)

    monkeypatch.setattr(running, "work_through", work_through)
    monkeypatch.setattr(Maker, "make", make)
    monkeypatch.setattr(engines, "Worker", lambda job: Maker(job.plan, Path(job.out)))
    order = list(shards_of(PLAN))
    with pytest.raises(ValueError, match="not finite"):
        engines.on_devices(Job(PLAN, "heads", str(tmp_path)), order, Watch(PLAN, tmp_path, order), 2)
    assert not list(tmp_path.rglob("*.tar")) and not list((tmp_path / "run" / "claims").glob("*.json"))


def content(out):
    """All files of a dataset, but those that a run has of itself."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and path.relative_to(out).parts[0] != "run"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def plan(tiny_plan):
    """Small shards, so that kills find some done and some not."""
    return dataclasses.replace(tiny_plan, num_identities=12, shard_size=1, modalities=("image", "mask", "points"))


@pytest.mark.slow
def test_kills_and_other_numbers_of_workers_change_no_byte(plan, tiny_checkpoint, tmp_path, monkeypatch, capsys):
    # All workers are alike, so they can share what they compile.
    for name, value in CACHE.items():
        monkeypatch.setenv(name, value)
    job = Job(plan, str(tiny_checkpoint), str(tmp_path / "serial"))
    engines.generate(job, workers=1)
    expected = content(tmp_path / "serial")
    assert len(loading.load(tmp_path / "serial")) == 24 and not (tmp_path / "serial" / "run" / "claims").exists()
    assert "24 views of 12 identities (train 8, test 4)" in capsys.readouterr().out

    # A command that is killed, and with it its workers.
    out = tmp_path / "killed"
    (tmp_path / "config.py").write_text(CONFIG.format(content=dataclasses.asdict(plan)))
    command = [sys.executable, "-m", "dnerf_jax.generate", "--config", str(tmp_path / "config.py"), "--workers=2"]
    command += [f"--checkpoint={tiny_checkpoint}", f"--out={out}", "--worker=1/3"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as killed:
        wait_for(lambda: list(out.glob("data/*.json")) or killed.poll() is not None)
        killed.kill()
    # They end a moment later; the next to be killed is one of the next command.
    wait_for(lambda: not running.Claims(out).held())
    begun = len(list(out.glob("data/*.json")))
    second = list(shards_of(plan))[4:8]  # of three parts, where either of the workers was the first to finish one
    assert 0 < begun < num_shards(plan) and any(shards.is_done(plan, shard, out) for shard in second)

    # Another number of workers goes on; one of them is killed, too, in the middle of its work.
    def kill():
        claims = running.Claims(out)
        wait_for(lambda: sum(not name.startswith("command") for name in claims.held()) == 2)
        victim = next(said["process"] for name, said in claims.held().items() if not name.startswith("command"))
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.warns(UserWarning, match="was ended by SIGKILL, probably for lack of memory: the others take over"):
        engines.generate(dataclasses.replace(job, out=str(out)), workers=2)
    killer.join()
    assert content(out) == expected
    assert not (out / "run" / "claims").exists() and not list(out.rglob(".*"))


def wait_for(condition):
    """Until it holds; not for ever."""
    deadline = time.monotonic() + 120
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.slow
def test_workers_are_processes_of_one_thread(tmp_path):
    script = """
        import os, sys
        from dnerf_jax.io.workers import threads
        from dnerf_jax.factory.runs import engines

        def look():
            return threads(), os.environ["OPENBLAS_NUM_THREADS"], "jax" in sys.modules

        def die():
            os.kill(os.getpid(), 9)

        if __name__ == "__main__":
            print(engines.in_a_worker(look))
            engines.in_a_worker(die)
        """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NPROC": "3"}
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == "(1, '1', True)\n"
    assert "was ended by SIGKILL" in done.stderr.splitlines()[-1] and "no other is left" in done.stderr
