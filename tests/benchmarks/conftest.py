"""What the tests of benchmarks share."""

import pytest

from benchmarks import measure


@pytest.fixture
def known_machine(monkeypatch):
    """A machine whose peaks need not be measured."""
    found = {"device": "some", "cores": 2, "peak_gflops": 200.0, "peak_gbytes_s": 30.0}
    monkeypatch.setattr(measure, "machine", lambda: found)
    return found
