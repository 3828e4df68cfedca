"""How pretraining renders the rays of a batch (`head_batches.RayBatch`): with few samples, or with the renderer's own.

Few samples find less of what is half transparent than many do, so silhouettes that were learned from few come out too
wide where many are rendered: of the embedded heads after their first stage, pixels that the 18 samples of a training
ray saw 42 % opaque (as they truly were, 44 %) had 50 % with the renderer's 48.
"""

import dataclasses

import jax
import jax.numpy as jnp

from dnerf_jax.models import generator
from dnerf_jax.ops import triplane, volume


def render_guided(run, plane_resolution, variables, batch, key):
    """Renders the rays of a batch: rgb (B, N, 3), opacity (B, N), sample weights and depths (B, N, S).

    Further samples lie where the model has density, as in `generator.march`: the final renderer would otherwise see
    what is left there, but not the loss. And they lie around the true distance or, on rays that pass a silhouette,
    around that of the silhouette; where there is neither, they are spread too.
    """
    config, planes = _planes(run, plane_resolution, variables, batch.z)
    options, keys = config.rendering, jax.random.split(key, 4)
    shape = batch.alpha.shape

    def decode(depths):
        points = batch.rays.origins[..., None, :] + depths[..., None] * batch.rays.directions[..., None, :]
        sigma, features = generator.decode(config, variables, planes, points.reshape(shape[:1] + (-1, 3)))
        return sigma.reshape(depths.shape), features[..., :3].reshape(depths.shape + (3,))

    start, end = jnp.full(shape, options.ray_start), jnp.full(shape, options.ray_end)
    coarse = volume.stratified_depths(keys[0], start, end, run.stratified_samples)
    coarse_sigma, coarse_rgb = decode(coarse)
    found = volume.importance_depths(
        keys[1], coarse, volume.weights_from_density(coarse_sigma, coarse), run.importance_samples
    )
    guide = batch.guide[..., None]
    guided = guide + run.guide_spread * jax.random.normal(keys[2], shape + (run.guided_samples,))
    spread = volume.stratified_depths(keys[3], start, end, run.guided_samples)
    fine = jnp.concatenate([found, jnp.where(guide > 0, guided, spread)], axis=-1)
    fine_sigma, fine_rgb = decode(fine)

    depths, order = volume.merge_sorted(coarse, fine)
    sigma = jnp.take_along_axis(jnp.concatenate([coarse_sigma, fine_sigma], axis=-1), order, axis=-1)
    rgb = jnp.take_along_axis(jnp.concatenate([coarse_rgb, fine_rgb], axis=-2), order[..., None], axis=-2)
    weights = volume.weights_from_density(sigma, depths)
    opacity = jnp.sum(weights, axis=-1)
    per_sample = volume.sample_weights(weights)
    rgb = volume.blend(per_sample, rgb)
    if options.white_back:
        rgb = rgb + 1 - opacity[..., None]
    return {"rgb": rgb, "opacity": opacity, "weights": per_sample, "depths": depths}


def render_finally(run, plane_resolution, variables, batch, key):
    """What `render_guided` returns, with the samples that `generator.march` draws."""
    config, planes = _planes(run, plane_resolution, variables, batch.z)
    march = lambda planes, rays, key: generator.march(config, variables, planes, rays, key=key)  # noqa: E731
    image = jax.tree.map(lambda x: x[:, None], batch.rays)  # rays of one identity are an image of one row
    samples = jax.vmap(march)(planes, image, jax.random.split(key, len(batch.z)))
    samples = samples.replace(features=tuple(features[..., :3] for features in samples.features))
    rendered = {
        "rgb": (generator.feature_image(config, samples) + 1) / 2,
        "opacity": samples.opacity,
        "weights": jnp.take_along_axis(samples.weights, samples.order, axis=-1),
        "depths": samples.depths,
    }
    return {name: value[:, 0] for name, value in rendered.items()}


def _planes(run, plane_resolution, variables, z):
    """The generator's configuration with planes of that size, and the planes of latents z."""
    config = dataclasses.replace(run.generator, plane_resolution=plane_resolution)
    outputs = generator.synthesize_planes(config, variables, generator.map_latents(config, variables, z))
    return config, triplane.split_channels(outputs.last, len(config.plane_axes))
