"""Measuring: calls are taken in turn, the first one stands apart, memory is what a call adds, tables hold all rows."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import measure


def test_functions_take_turns_and_the_first_call_stands_apart(monkeypatch):
    called, clock = [], iter(range(100))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock) ** 2)
    found = measure.take_turns({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 3)
    assert called == ["a", "b"] * 5
    # Call number n of the clock's (2n)^2 to (2n + 1)^2 seconds lasts 4n + 1; a has the even numbers.
    assert found["a"] == {"first_call_s": 1, "median_s": 25, "min_s": 17, "max_s": 33}
    assert found["b"] == {"first_call_s": 5, "median_s": 29, "min_s": 21, "max_s": 37}


def test_costs_are_those_of_the_program():
    found = measure.costs(jax.jit(lambda x: x @ x), jnp.ones((64, 64)))
    assert found["gflop"] == pytest.approx(2 * 64**3 / 1e9, rel=0.05) and found["temporary_mib"] >= 0


@pytest.mark.slow
def test_memory_is_what_a_call_adds_at_its_peak():
    def call():
        big = np.ones(2**24)  # 128 MiB
        return jnp.asarray(big[:1])

    call()
    found = measure.peak_mib(call)
    if found is None:
        pytest.skip("this system does not tell a process's peak of memory")
    assert 100 < found < 250


def test_a_report_is_a_table_and_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "take_turns", lambda *_: {"multiply": {"min_s": 0.5}, "add": {"min_s": 0.25}})
    rows = [{"name": "x", "s": 0.123456}, {"name": "y", "s": None}]
    measure.report("title", {"batch": 1}, rows, {"name": "stage", "s": "time, s"}, str(tmp_path / "out.json"))
    assert "| stage | time, s |\n| --- | --- |\n| x | 0.123 |\n| y |  |\n" in capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["rows"] == rows and written["sizes"] == {"batch": 1}
    assert written["machine"]["peak_gflops"] == 2 * 2048**3 / 0.5 / 1e9 and written["machine"]["cores"] >= 1
