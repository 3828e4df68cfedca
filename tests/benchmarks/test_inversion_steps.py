"""Every step of inversion is timed, and the former version's in a process of its own."""

import json

import pytest

from benchmarks import inversion
from dnerf_jax.io import checkpoints, configurations, loss_networks


@pytest.fixture
def in_small(shrunk, monkeypatch, small_model):
    """The configuration as changed for the tiny generator, whose pictures are too small for the perceptual network."""
    small = shrunk("invert.py")
    monkeypatch.setattr(configurations, "load_config", lambda name: small)
    plain = small_model.replace(semantic=None, label_map=None)
    monkeypatch.setattr(checkpoints, "load", lambda name: plain)
    monkeypatch.setattr(loss_networks, "load_perception", lambda: None)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Stands for a former version: a process that says how it was called, and answers."""
    (tmp_path / "dnerf_jax" / "training").mkdir(parents=True)
    (tmp_path / "dnerf_jax" / "training" / "inversion.py").touch()
    answers = "for line in sys.stdin: print('noise\\nanswer', 7.5 if 'peak' in line else None, flush=True)"
    start = "import os, sys; open('called', 'w').write(sys.argv[1] + os.environ['PYTHONPATH'])\n"
    monkeypatch.setattr(inversion, "FORMER", start + answers)
    return tmp_path


@pytest.mark.slow
def test_steps_are_timed_beside_the_former_one(in_small, known_machine, checkout, tmp_path):
    inversion.main(former=str(checkout), steps="rays,newton", repeats=1, json=str(tmp_path / "out.json"))
    rows = {row["step"]: row for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    assert list(rows) == ["rays", "newton", "former"]
    assert all(0 < row["min_s"] <= row["median_s"] <= row["max_s"] and row["first_call_s"] > 0 for row in rows.values())
    assert rows["former"]["peak_mib"] == 7.5
    assert (checkout / "called").read_text() == "heads" + str(checkout)


def test_a_call_of_several_steps_is_divided_and_its_compilation_is_not():
    times = {"first_call_s": 8.0, "median_s": 4.0, "min_s": 2.0, "max_s": 6.0}
    assert inversion._of_one("rays", times) == times | {"median_s": 1.0, "min_s": 0.5, "max_s": 1.5}
    assert inversion._of_one("newton", times) == times


def test_a_former_version_that_ends_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(inversion, "FORMER", "import sys; sys.stdin.readline()")
    before = inversion.Former(str(tmp_path), "heads")
    with pytest.raises(ValueError, match="the former version's process ended"):
        before.step()
    before.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": "rays,all"}, "--steps is 'rays,all': expected some of rays,whole,tuning,newton"),
        ({"former": "nowhere"}, "expected a checkout of 9cfbdff, with dnerf_jax/training/inversion.py"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        inversion.main(**arguments)
