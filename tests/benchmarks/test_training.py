"""The steps of both loops go on from where they stopped."""

import json

import numpy as np
import pytest

from benchmarks import training
from dnerf_jax.io import checkpoints, configurations

pytestmark = pytest.mark.slow


@pytest.fixture
def in_small(shrunk, monkeypatch):
    """The configurations as changed for the tiny generator."""
    small = {name: shrunk(f"{name}.py") for name in ("heads", "heads_backbone_cpu")}
    monkeypatch.setattr(configurations, "load_config", small.__getitem__)
    return small


def test_steps_go_on(in_small, tiny_model):
    (step,) = training.semantic_step(tiny_model).values()
    step()
    state, report = step()
    assert int(state.step) == 2 and np.isfinite(report["loss"])


def test_the_backbone_has_a_step_for_every_resolution_of_its_planes(in_small):
    assert list(training.backbone_steps()) == ["backbone, planes of 4", "backbone, planes of 8"]


def test_every_loop_is_timed(in_small, known_machine, tiny_model, monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoints, "load", lambda name: tiny_model)
    in_small["heads_backbone_cpu"].refine_at = ()  # one resolution is enough to be timed
    training.main(repeats=1, json=str(tmp_path / "out.json"))
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["loop"] for row in rows] == ["semantic", "backbone, planes of 8"]
    assert all(row["steps_per_s"] == 1 / row["median_s"] for row in rows)
