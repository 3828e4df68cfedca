"""The protocol of inversion: cases whose truth is known, one row a stage, continued where it was stopped."""

import dataclasses
import json

import numpy as np
import pytest

from dnerf_jax import cli, evaluate
from dnerf_jax.training.inversion import protocol
from dnerf_jax.training.inversion.plan import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(shrunk):
    """The settings of configs/invert.py for the tiny model."""
    return cli.as_dataclass(shrunk("invert.py"), Settings)


def test_own_views_are_scored_after_every_stage_and_not_again(settings, small_model, tmp_path, capsys):
    z = dataclasses.replace(settings.z, newton=0, steps=2)
    short = dataclasses.replace(settings, stages=("z",), restarts=1, z=z)
    rows = protocol.run(short, small_model, "own", range(1), tmp_path / "own.jsonl")
    assert [row["stage"] for row in rows] == ["start", "z", "known latent"]
    assert all(row["case"] == "own 0" for row in rows)
    # What is sought is known to be there: its own latent shows what was to be seen.
    assert rows[-1]["miou_unseen"] > 0.99 and rows[-1]["psnr"] > 60 and rows[-1]["yaw"] < 1e-3
    assert len((tmp_path / "own.jsonl").read_text().splitlines()) == 3
    capsys.readouterr()
    again = protocol.run(short, small_model, "own", range(1), tmp_path / "own.jsonl")
    assert again == rows and capsys.readouterr().out == ""
    made = protocol.summary([*rows, *({**row, "case": "own 1", "psnr": row["psnr"] + 2} for row in rows)])
    assert made["z"]["cases"] == 2 and np.isclose(made["z"]["psnr"], rows[1]["psnr"] + 1)


def test_the_door_writes_medians(small_checkpoint, shrunk, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "load_settings", lambda name, kind: cli.as_dataclass(shrunk("invert.py"), kind))
    out = tmp_path / "out"
    out.mkdir()
    row = {"case": "own 0", "stage": "z", "psnr": 30.0}
    (out / "own.jsonl").write_text(json.dumps(row) + "\n")  # of an evaluation that was stopped
    evaluate.main(str(small_checkpoint), str(out), protocol="inversion", cases="own=1")
    assert json.loads((out / "inversion.json").read_text()) == {"own": {"z": {"psnr": 30.0, "cases": 1}}}


def test_counts_are_of_kinds_that_there_are():
    assert protocol.parse("own=3, mask=1") == {"own": 3, "mask": 1}
    for text in ("yours=3", "own", "own=many", "own=0"):
        with pytest.raises(ValueError, match="expected counts, from 1, of some of own, true, video, mask"):
            protocol.parse(text)


def test_another_protocol_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected labels or inversion"):
        evaluate.main("heads", str(tmp_path / "out"), protocol="photos")
