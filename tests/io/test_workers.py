"""Worker processes: they end with their command, and a process is known from the next of the same number."""

import os
import subprocess
import sys
import time

from dnerf_jax.io import workers


def test_a_process_is_known_by_when_it_began():
    mine = workers.begun_at(os.getpid())
    assert mine is not None and mine == workers.begun_at(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        begun = workers.begun_at(other.pid)
        assert begun is not None and begun >= mine
        other.kill()
        deadline = time.monotonic() + 20
        while workers.begun_at(other.pid) is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert workers.begun_at(other.pid) is None  # although nobody has waited for it yet
    assert workers.begun_at(other.pid) is None
    assert workers.machine() == workers.machine() and "pid:" in workers.machine()


def test_threads_are_those_that_xla_takes(monkeypatch):
    monkeypatch.setenv("NPROC", "3")
    assert workers.threads() == 3
    for wrong in ("", "0", "many"):
        monkeypatch.setenv("NPROC", wrong)
        assert workers.threads() == len(os.sched_getaffinity(0))
