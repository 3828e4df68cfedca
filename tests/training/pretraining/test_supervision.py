"""Rendering the rays of a batch while pretraining: samples where the batch says, or as the renderer draws them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import generator, marching
from dnerf_jax.models.generator import Generator
from dnerf_jax.ops import cameras
from dnerf_jax.training.pretraining import stages, supervision
from dnerf_jax.training.pretraining.supervision import GuidedSampling

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(pretraining):
    """The generator at the start of the run."""
    return Generator(pretraining.generator, stages.initial_variables(pretraining))


def test_samples_lie_where_the_batch_says_or_where_a_ray_meets_density(pretraining, made, rendered, monkeypatch):
    def ball(made, planes, points):
        inside = jnp.linalg.norm(points, axis=-1) < 0.15
        return jnp.where(inside, 30.0, -100.0), jnp.ones((*points.shape[:-1], 4))

    monkeypatch.setattr(marching, "decode", ball)
    guided = GuidedSampling(stratified=16, importance=32, guided=32, spread=0.01)
    render = jax.jit(lambda made, batch, key: supervision.render(made, 8, batch, key, guided=guided))
    batch = stages.ray_batch(pretraining, rendered, 1)
    shape = batch.alpha.shape
    along = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0]), (*shape, 3))
    batch = batch.replace(rays=cameras.Rays(2.7 * along, -along))
    # Of samples spread over all of the limits, a third lie within the ball and a ninth around the guide.
    for guide, low, high, share in ((2.4, 2.35, 2.45, 0.95), (0.0, 2.55, 2.85, 0.8 + 0.3)):
        found = render(made, batch.replace(guide=jnp.full(shape, guide)), jax.random.key(0))
        assert found.depths.shape == found.weights.shape == (*shape, 16 + 32 + 32)
        within = np.mean(np.sum((found.depths > low) & (found.depths < high), axis=-1))
        assert within > 32 * share
        np.testing.assert_allclose(found.opacity, 1, atol=0.05)


def test_finishing_renders_what_the_renderer_does(pretraining, made, rendered):
    batch = stages.ray_batch(pretraining, rendered, pretraining.steps + 1)

    @jax.jit
    def expected(made, batch, key):
        ws = generator.map_latents(made, batch.z)
        planes = generator.to_planes(made.config, generator.synthesize_blocks(made, ws))

        def march(planes, rays, key):
            return marching.march(made, planes, rays, key=key)

        samples = jax.vmap(march)(planes, batch.rays, jax.random.split(key, len(batch.z)))
        depths = jnp.take_along_axis(samples.depths, samples.order, axis=-1)
        return marching.feature_image(made.config, samples)[..., :3], samples.opacity, samples.distance, depths

    image, opacity, distance, depths = expected(made, batch, jax.random.key(0))
    render = jax.jit(lambda made, batch, key: supervision.render(made, 8, batch, key))
    found = render(made, batch, jax.random.key(0))
    np.testing.assert_allclose(found.rgb, (image + 1) / 2, atol=1e-6)
    np.testing.assert_allclose(found.opacity, opacity, atol=1e-6)
    assert np.all(np.diff(depths) >= 0)
    np.testing.assert_allclose(np.sort(found.depths, axis=-1), depths, atol=1e-6)
    # The renderer's distance is of the middles of intervals, these are of their ends.
    mean, seen = np.sum(found.weights * found.depths, axis=-1) / found.opacity, opacity > 0.1
    assert seen.any()
    np.testing.assert_allclose(mean[seen], distance[seen], atol=0.02)
