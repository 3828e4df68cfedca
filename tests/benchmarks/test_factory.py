"""Labelled views are counted over latents and cameras."""

import json

import jax
import pytest

from benchmarks import factory
from dnerf_jax.models import marching, scenes
from dnerf_jax.models.model import Model
from dnerf_jax.ops import cameras


@pytest.mark.slow
def test_views_per_second_are_counted_and_half_precision_is_compared(
    known_machine, uncounted, small_checkpoint, tmp_path
):
    out, small = tmp_path / "out.json", {"views": "2", "batches": "2", "repeats": 1}
    rows = factory.main(str(small_checkpoint), **small, dtype="bfloat16", json=str(out))["rows"]
    assert json.loads(out.read_text())["rows"] == rows
    assert [(row["views"], row["batch"], row["skip_empty"]) for row in rows] == [(2, 2, False), (2, 2, True)]
    assert all(row["views_per_s"] == row["views"] * 2 / row["median_s"] for row in rows)
    assert all(0.5 < row["agreement"] <= 1 for row in rows)  # with the labels of float32
    whole, skipped = rows
    assert skipped["faster"] == whole["median_s"] / skipped["median_s"]
    assert skipped["cpu_faster"] == whole["cpu_s"] / skipped["cpu_s"] > 0
    assert skipped["labels"] > 0.9 and skipped["psnr"] > 15 and skipped["temporary_mib"] > 0


def test_every_number_of_views_is_measured_with_every_number_of_latents(known_machine, small_checkpoint, monkeypatch):
    monkeypatch.setattr(factory, "both_ways", lambda _, *pair: [{"pair": pair}])
    rows = factory.main(str(small_checkpoint), views="1,4", batches="2,3", dtype="float16", repeats=7)["rows"]
    assert [row["pair"] for row in rows] == [(v, b, "float16", 7) for v in (1, 4) for b in (2, 3)]


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="--dtype is 'int8': expected one of float32, "):
        factory.main(dtype="int8")
    with pytest.raises(ValueError, match="--views is '1,x': expected numbers separated by commas"):
        factory.main(views="1,x")


@pytest.mark.slow
def test_random_weights_are_given_a_density_that_some_rays_hit(tiny_config):
    made = factory.random_generator(tiny_config)
    z = jax.random.normal(jax.random.key(2), (8,))

    @jax.jit
    def opacity(made, z):
        rays = cameras.rays(scenes.default_camera(tiny_config), 8)
        return marching.march(made, scenes.synthesize(Model(made), z).planes, rays).opacity

    assert 0.1 < float((opacity(made, z) > 0.5).mean()) < 0.7
