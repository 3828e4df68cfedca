"""What planes cost by scales: all of them first, then ever fewer."""

import json

import pytest

from benchmarks import scales
from dnerf_jax.models.semantic import SemanticConfig


@pytest.mark.slow
def test_all_scales_come_first_and_are_what_others_are_a_share_of(known_machine, tiny_config, tmp_path):
    scales.compare(tiny_config, SemanticConfig(num_classes=5, hidden=16), {}, 1, str(tmp_path / "out.json"))
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["from"] for row in rows] == [4, 8, 16]
    assert [row["channels"] for row in rows] == [40, 24, 8]
    assert rows[0]["parameters"] > rows[1]["parameters"] > rows[2]["parameters"]
    assert rows[0]["share"] == rows[0]["gradient_share"] == 1
    assert rows[2]["share"] == rows[2]["planes_s"] / rows[0]["planes_s"] > 0
