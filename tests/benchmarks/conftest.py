"""What the tests of benchmarks share."""

import pytest

from benchmarks import measure


@pytest.fixture
def known_machine(monkeypatch):
    """A machine whose peaks need not be measured."""
    found = {"device": "some", "cores": 2, "peak_gflops": 200.0, "peak_gbytes_s": 30.0}
    monkeypatch.setattr(measure, "machine", lambda: found)
    return found


@pytest.fixture
def uncounted(monkeypatch):
    """What XLA counts of a program has a test of its own; elsewhere it would have all of them compiled once more."""
    monkeypatch.setattr(measure, "costs", lambda *_: {"gflop": 1e-9, "gbyte": 1e-9, "temporary_mib": 1.0})
