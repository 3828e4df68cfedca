"""The stages of the benchmark are those of the pipeline, and what cannot be compared is refused."""

import json

import numpy as np
import pytest

from benchmarks import eg3d


@pytest.fixture
def small(monkeypatch, small_model):
    """The benchmark's branch on the tiny generator, whose weights need not be drawn."""
    branch = small_model.semantic
    monkeypatch.setattr(eg3d, "SEMANTIC", branch.config)
    monkeypatch.setattr(eg3d.generator, "init", lambda config, key: small_model.generator)
    monkeypatch.setattr(eg3d.semantic, "init", lambda config, generator_config, key: branch)


@pytest.mark.slow
def test_stages_follow_each_other_and_are_written(small, known_machine, uncounted, small_model, tmp_path, capsys):
    ours = eg3d.our_stages(small_model.generator.config)
    names = ["mapping", "backbone", "rendering", "super-resolution", "image", "labelled view", "4 labelled views"]
    assert list(ours) == names
    image, (one, mask, *_), (four, *_) = (ours[name][0]() for name in names[4:])
    np.testing.assert_allclose(image, one, atol=1e-4)
    assert mask.shape == (16, 16) and four.shape == (4, 16, 16, 3)
    theirs = {name: ours[name][0] for name in ("rendering", "image")}
    eg3d.run(ours, theirs, {"size": "tiny"}, 1, str(tmp_path / "out.json"))
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["machine"] == known_machine
    rows = {row["stage"]: row for row in written["rows"]}
    assert list(rows) == names and "ratio" not in rows["mapping"]
    several = rows["4 labelled views"]
    assert several["ratio"] == pytest.approx(4 * several["eg3d_s"] / several["median_s"])
    assert all(row["first_call_s"] > 0 and row["gflop"] > 0 and 0 < row["of_peak"] < 1 for row in rows.values())
    assert "| labelled view |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "256-64"}, "--size is '256-64': there are 512-128, 512-64, 128-64"),
        ({"eg3d": "nowhere"}, "expected a checkout of the public EG3D, with eg3d/training/triplane.py"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        eg3d.main(**arguments)
