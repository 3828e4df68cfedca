"""Arrays of jobs by submitit, on this machine: killed in the middle of a shard, failing, refused by Slurm."""

import contextlib
import functools
import json
import os
import signal
from pathlib import Path

import pytest
from together import CACHE, PLAN, content, is_half_written, once_half_made, serial

from dnerf_jax.factory.plan import Plan
from dnerf_jax.factory.runs import engines, running, slurm_engine
from dnerf_jax.factory.runs.watching import Watch
from dnerf_jax.factory.runs.work import Job

pytestmark = [pytest.mark.forms, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Little is waited for, and programs are compiled once."""
    submitit = pytest.importorskip("submitit", reason="make test-all installs it")
    monkeypatch.setattr(submitit.Job, "_results_timeout_s", 0)
    for name, value in CACHE.items():
        monkeypatch.setenv(name, value)


def on_this_machine(job, workers=None, **options):
    engine = functools.partial(slurm_engine.on_slurm, cluster="local", **options)
    engines.generate(job, workers=workers, engine=engine)


def processes(module, out):
    """Those that run a module for this folder."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_text() if folder.name.isdecimal() else ""
            if module in line and str(out) in line:
                yield int(folder.name)


def test_a_killed_array_goes_on_with_the_same_command(tiny_checkpoint, tmp_path):
    expected, out = serial(tiny_checkpoint, tmp_path / "serial"), tmp_path / "out"
    job, half_written = Job(PLAN, str(tiny_checkpoint), str(out)), []

    def kill(half_made):
        # Who starts the tasks comes first.
        for process in (*processes("submitit.local._local", out), *processes("submitit.core._submit", out)):
            os.kill(process, signal.SIGKILL)
        half_written.extend(is_half_written(out, name) for name in half_made)

    thread = once_half_made(out, kill)
    with pytest.raises(ValueError, match="lacks .*: give the same command again"), pytest.warns(UserWarning) as warned:
        on_this_machine(job, workers=2)
    thread.join()
    assert half_written and all(half_written)
    assert sum("was lost, others take over" in str(warning.message) for warning in warned) == 2
    left = running.missing(PLAN, out)
    on_this_machine(job)
    assert left and content(out) == expected
    made = [json.loads(line)["shard"] for line in (out / running.LOG).read_text().splitlines()]
    assert sorted(made) == sorted(shard.name for shard in running.missing(PLAN, tmp_path / "nowhere"))


def test_a_failing_job_ends_the_run_with_its_traceback(tmp_path, capfd):
    plan, job = Plan(shard_size=1), Job(PLAN, "heads", str(tmp_path))
    order = running.missing(plan, tmp_path)
    with pytest.raises(ValueError, match="job .* failed .ValueError: .* was not made by this command"):
        slurm_engine.on_slurm(job, order, Watch(plan, tmp_path, order), cluster="local")
    assert "in __call__" in capfd.readouterr().err


def test_slurm_gets_an_array_and_what_its_jobs_ask_for(tmp_path, monkeypatch):
    """A command in sbatch's place keeps the script and refuses it, as Slurm does where there is no such partition."""
    for name, text in {
        "srun": "exit 1",
        "sbatch": f"cp $1 {tmp_path}/script; echo no such partition >&2; exit 1",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    plan, resources = Plan(shard_size=1), {"slurm_partition": "gpu", "gpus_per_node": 2, "timeout_min": 90}
    order, job = running.missing(plan, tmp_path), Job(plan, "heads", str(tmp_path / "out"))
    with pytest.raises(ValueError, match=r"slurm does not take these jobs: [\s\S]*no such partition"):
        slurm_engine.on_slurm(job, order, Watch(plan, tmp_path, order), 3, resources=resources)
    script = (tmp_path / "script").read_text()
    for line in ("array=0-2%3", "partition=gpu", "gpus-per-node=2", "time=90", "cpus-per-task=1", "mem=4GB"):
        assert f"#SBATCH --{line}\n" in script
    with pytest.raises(ValueError, match="Unknown argument 'queue'"):
        slurm_engine.on_slurm(job, order, Watch(plan, tmp_path, order), resources={"slurm_queue": "x"})
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match='slurm does not take these jobs: Could not detect "srun"'):
        slurm_engine.on_slurm(job, order, Watch(plan, tmp_path, order))


def test_a_job_is_queued_again_as_it_was():
    part = slurm_engine.Part(Job(PLAN, "heads", "out"), 3)
    again = part.checkpoint(2)
    assert (again.function, again.args) == (part, (2,))
