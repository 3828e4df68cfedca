"""Labelled views are counted over latents and cameras."""

import json

import pytest

from benchmarks import factory
from dnerf_jax import checkpoint


def test_views_per_second_are_counted(tiny_semantic_model, tmp_path):
    checkpoint.save(tmp_path / "model", tiny_semantic_model)
    factory.main(str(tmp_path / "model"), views="1,2", batches="2", repeats=1, json=str(tmp_path / "out.json"))
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [(row["views"], row["batch"]) for row in rows] == [(1, 2), (2, 2)]
    assert all(row["views_per_s"] == row["views"] * 2 / row["median_s"] for row in rows)


def test_counts_must_be_numbers():
    with pytest.raises(ValueError, match="--views is '1,x': expected numbers separated by commas"):
        factory.main(views="1,x")
