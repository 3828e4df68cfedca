"""The steps of pretraining: how they begin, and what each learns from, which depends on seed and step alone."""

import dataclasses

import jax
import numpy as np
import pytest

from dnerf_jax.models import generator
from dnerf_jax.models.generator import Generator
from dnerf_jax.ops.convolutions import upsample
from dnerf_jax.training.pretraining import stages


@pytest.mark.slow
def test_a_block_that_joins_changes_nothing_yet(pretraining):
    generators = dataclasses.replace(pretraining.generator, plane_resolution=16)
    settings = dataclasses.replace(pretraining, generator=generators, refine_at=(2, 5), steps=7)
    variables = stages.initial_variables(settings)
    ws = jax.random.normal(jax.random.key(0), (1, settings.generator.num_ws, settings.generator.w_dim))

    @jax.jit
    def last(made, ws):
        return generator.synthesize_blocks(made, ws).last

    planes = {}
    for resolution in (4, 8, 16):
        config = dataclasses.replace(settings.generator, plane_resolution=resolution)
        planes[resolution] = last(Generator(config, variables), ws[:, : config.num_ws])
    np.testing.assert_allclose(planes[16], upsample(upsample(planes[4])), atol=1e-6)
    assert np.abs(planes[4]).max() > 0.01


def test_a_batch_depends_on_seed_and_step_alone(pretraining, rendered):
    first, second, again = (stages.ray_batch(pretraining, rendered, step) for step in (3, 4, 3))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first.rgb, second.rgb)
    other = stages.ray_batch(dataclasses.replace(pretraining, seed=pretraining.seed + 1), rendered, 3)
    assert not np.array_equal(first.rgb, other.rgb)


def test_a_pools_batch_depends_on_seed_and_step_alone_and_is_no_other_stream(pretraining):
    settings, number = dataclasses.replace(pretraining, identities_per_step=6), np.arange(50)
    image = np.broadcast_to(number[:, None, None, None], (50, 4, 4, 3)).astype(np.uint8)
    pool = stages.Pool(features=np.zeros((50, 2, 2, 8), np.float16), ws=number[:, None], image=image)

    def chosen(settings, step):
        features, ws, target = stages.pool_batch(settings, pool, step)
        assert features.dtype == target.dtype == np.float32
        np.testing.assert_allclose(target[:, 0, 0, 0], ws[:, 0] / 127.5 - 1, atol=1e-6)
        return tuple(ws[:, 0])

    assert chosen(settings, 6) == chosen(settings, 6)
    different = {chosen(settings, 6), chosen(settings, 7), chosen(dataclasses.replace(settings, seed=9), 6)}
    assert len(different) == 3


def test_held_out_identities_are_never_trained_on(pretraining, rendered):
    seen = np.concatenate([stages.ray_batch(pretraining, rendered, step).z for step in range(1, 30)])
    trained = [rendered[i]["z"] for i in range(4)]
    assert {z.tobytes() for z in seen} == {np.asarray(z).tobytes() for z in trained}


def test_the_learning_rate_warms_up_in_both_stages(pretraining):
    rates = [float(stages.learning_rate(pretraining)(step)) for step in range(pretraining.ray_steps + 1)]
    assert rates[0] == rates[pretraining.steps] == 0
    assert max(rates[: pretraining.steps]) == pytest.approx(pretraining.learning_rate)
    assert max(rates[pretraining.steps :]) == pytest.approx(pretraining.finish_learning_rate)
    alone = dataclasses.replace(pretraining, steps=0)
    rates = [float(stages.learning_rate(alone)(step)) for step in range(alone.finish_steps + 1)]
    assert rates[0] == 0 and max(rates) == pytest.approx(pretraining.finish_learning_rate)
