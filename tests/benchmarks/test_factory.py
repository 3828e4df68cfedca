"""Labelled views are counted over latents and cameras."""

import json

import pytest

from benchmarks import factory
from dnerf_jax.io import checkpoints


def test_views_per_second_are_counted(tiny_semantic_model, tmp_path):
    checkpoints.save(tmp_path / "model", tiny_semantic_model)
    factory.main(str(tmp_path / "model"), views="1,2", batches="2", repeats=1, json=str(tmp_path / "out.json"))
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [(row["views"], row["batch"]) for row in rows] == [(1, 2), (2, 2)]
    assert all(row["views_per_s"] == row["views"] * 2 / row["median_s"] for row in rows)


def test_half_precision_is_compared_with_float32(tiny_semantic_model, tmp_path):
    checkpoints.save(tmp_path / "model", tiny_semantic_model)

    def door(dtype):
        return factory.main(str(tmp_path / "model"), views="1", batches="1", dtype=dtype, repeats=1)

    (half,) = door("bfloat16")["rows"]
    assert 0.5 < half["agreement"] <= 1
    assert "agreement" not in door("float32")["rows"][0]
    with pytest.raises(ValueError, match="--dtype is 'int8': expected one of float32, "):
        door("int8")


def test_counts_must_be_numbers():
    with pytest.raises(ValueError, match="--views is '1,x': expected numbers separated by commas"):
        factory.main(views="1,x")
