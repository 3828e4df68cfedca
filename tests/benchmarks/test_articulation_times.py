"""What a body in a pose costs is timed, and the released code's rule in a process of its own."""

import json
import sys

import numpy as np
import pytest

from benchmarks import articulation
from dnerf_jax.io import checkpoints
from dnerf_jax.models.articulated import Body

# Stands for the released code: carries nothing, and says that it took seven seconds.
STANDS_IN = """
import sys, numpy as np
for line in sys.stdin:
    if line.strip() == "save": np.save(sys.argv[2], np.load(sys.argv[1])["points"])
    print("noise", "answer 7.0", sep="\\n", flush=True)
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that looks like the public code, whose process is stood in for."""
    (tmp_path / "warping_utils").mkdir()
    (tmp_path / "warping_utils" / "surface_field.py").touch()
    monkeypatch.setattr(articulation, "RELEASED", STANDS_IN)
    return str(tmp_path)


@pytest.mark.slow
def test_rules_and_views_are_timed(checkout, known_machine, uncounted, monkeypatch, small_model, tmp_path):
    monkeypatch.setattr(checkpoints, "load", lambda name: small_model)
    articulation.main(gnarf=checkout, repeats=1, json=str(tmp_path / "out.json"))
    rows = {row["stage"]: row for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    assert {"rule 'vertex'", "blend with gradient", "ray limits", "pose to body", "GNARF", "view, posed"} <= set(rows)
    assert all(0 < row["min_s"] <= row["median_s"] <= row["max_s"] and row["cpu_s"] > 0 for row in rows.values())
    ours = rows["rule 'vertex'"]
    assert rows["GNARF"]["cpu_s"] == 7 and ours["cpu_faster"] == 7 / ours["cpu_s"] and ours["same"] < 0.5
    assert rows["view, posed"]["longer"] > 0 and 0 < rows["view, posed"]["rays"] < 1


def test_the_released_code_is_given_the_same_points(checkout):
    body = Body(*(np.zeros((3, 3), np.float32) for _ in range(4)), faces=np.zeros((1, 3), np.int32))
    points = np.arange(6, dtype=np.float32).reshape(2, 3)
    other = articulation.Released(checkout, sys.executable, body, points)
    other.carry()
    np.testing.assert_array_equal(other.carried(), points)
    assert other.spent == [7.0, 7.0]
    other.close()


def test_a_process_that_ends_is_noticed(checkout, monkeypatch):
    monkeypatch.setattr(articulation, "RELEASED", "import sys; sys.stdin.readline()")
    body = Body(*(np.zeros((3, 3), np.float32) for _ in range(4)), faces=np.zeros((1, 3), np.int32))
    other = articulation.Released(checkout, sys.executable, body, np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="the process of --gnarf ended"):
        other.carry()
    other.close()


def test_what_is_no_checkout_is_refused():
    with pytest.raises(
        ValueError, match="expected a checkout of the public GNARF, with warping_utils/surface_field.py"
    ):
        articulation.main(gnarf="nowhere")
