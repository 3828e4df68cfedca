"""Labelled views are counted over latents and cameras."""

import json

import pytest

from benchmarks import factory
from dnerf_jax.io import checkpoints


@pytest.fixture(scope="module")
def checkpoint(tiny_semantic_model, tmp_path_factory):
    """The folder of the tiny model with a branch."""
    folder = tmp_path_factory.mktemp("factory") / "model"
    checkpoints.save(folder, tiny_semantic_model)
    return str(folder)


@pytest.mark.slow
def test_views_per_second_are_counted(known_machine, checkpoint, tmp_path):
    found = factory.main(checkpoint, views="1,2", batches="2", repeats=1, json=str(tmp_path / "out.json"))
    rows = found["rows"]
    assert json.loads((tmp_path / "out.json").read_text())["rows"] == rows
    assert [(row["views"], row["batch"]) for row in rows] == [(1, 2), (2, 2)]
    assert all(row["views_per_s"] == row["views"] * 2 / row["median_s"] for row in rows)
    assert not any("agreement" in row for row in rows)


@pytest.mark.slow
def test_half_precision_is_compared_with_float32(known_machine, checkpoint):
    (half,) = factory.main(checkpoint, views="1", batches="1", dtype="bfloat16", repeats=1)["rows"]
    assert 0.5 < half["agreement"] <= 1


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="--dtype is 'int8': expected one of float32, "):
        factory.main(dtype="int8")
    with pytest.raises(ValueError, match="--views is '1,x': expected numbers separated by commas"):
        factory.main(views="1,x")
