"""The direct form is the same function, so that times may be compared."""

import json

import pytest

from benchmarks import semantic


@pytest.mark.slow
def test_both_forms_agree_and_are_compared(known_machine, uncounted, tiny_config, tmp_path):
    semantic.compare(tiny_config, {}, 6, 5, 1, str(tmp_path / "out.json"))
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["features"] for row in rows] == ["hidden", "skip"]
    for row in rows:
        assert row["relative_error"] < 1e-5
        assert row["speedup_forward"] == row["direct_s"] / row["ours_s"] > 0 and row["speedup_backward"] > 0
    # Of three scales of 16, 16 and 8 channels, 6, 6 and 3 lie on every plane.
    assert rows[0]["memory_ratio"] == pytest.approx(64 / 15)
