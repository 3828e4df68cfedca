"""What trainings cost is counted without running them, and grows as it should."""

import json

import pytest

from benchmarks import downstream
from dnerf_jax.io import configurations

pytestmark = pytest.mark.slow


def test_costs_are_counted_of_images_and_of_points(shrunk, known_machine, monkeypatch, tmp_path):
    small = {name: shrunk(f"{name}.py") for name in ("deeplab_cpu", "pointnet_cpu")}
    small["twice"] = shrunk("deeplab_cpu.py")
    small["twice"].update(batch=2 * small["deeplab_cpu"].batch, steps=3 * small["deeplab_cpu"].steps)
    monkeypatch.setattr(configurations, "load_config", small.__getitem__)
    downstream.main(",".join(small), json=str(tmp_path / "out.json"))
    images, points, twice = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["configuration"] for row in (images, points, twice)] == list(small)
    assert twice["parameters"] == images["parameters"] != points["parameters"]
    assert 1.8 < twice["gflop"] / images["gflop"] < 2.1  # but for what the optimiser does
    for row in (images, points, twice):
        assert row["pflop"] == pytest.approx(row["gflop"] * row["steps"] / 1e6)
        assert row["state_mib"] > 3 * row["parameters"] * 1e6 * 4 / 2**20
