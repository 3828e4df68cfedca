"""From rays to samples: where a generator's density is looked up, once for all that is composited from it.

Rays may have any leading shape (...): an image (h, w), a part of one, or a list (N,). They are of one scene and one
camera; more of either are `vmap`'s business, as in `scenes.render`. S samples lie on a ray, in the order in which they
were decoded: first the stratified ones, sorted along the ray, then those that importance sampling added, then further
ones.
"""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from dnerf_jax.models import articulated
from dnerf_jax.models.articulated import Body
from dnerf_jax.models.generator import Generator, GeneratorConfig, RenderingConfig, decode
from dnerf_jax.ops import keys, volume
from dnerf_jax.ops.cameras import Rays


@struct.dataclass
class Samples:
    """What one pass along rays (...) leaves for every modality to composite; all in the order of decoding.

    points: (..., S, 3) where features were looked up: in the world, of a body in the canonical one. depths: (..., S)
    distances along the rays. weights: (..., S) of the samples, which sum to the opacity. features: the decoded colour
    features, parts (..., S', F) that follow each other.
    order: (..., S) the permutation that sorts the samples along the ray.
    distance: (...) expected, in world units, and opacity: (...) in [0, 1].
    inside: (..., S) of a body, whether there is any of it; else None.
    """

    points: jax.Array
    depths: jax.Array
    weights: jax.Array
    features: tuple[jax.Array, ...]
    order: jax.Array
    distance: jax.Array
    opacity: jax.Array
    inside: jax.Array | None = None

    def along_ray(self) -> "Samples":
        """The same samples in the order in which the ray meets them, their features in one part: to look at."""
        joined, inside = jnp.concatenate(self.features, axis=-2), self.inside
        return self.replace(  # type: ignore[attr-defined]
            points=jnp.take_along_axis(self.points, self.order[..., None], axis=-2),
            depths=jnp.take_along_axis(self.depths, self.order, axis=-1),
            weights=jnp.take_along_axis(self.weights, self.order, axis=-1),
            features=(jnp.take_along_axis(joined, self.order[..., None], axis=-2),),
            order=jnp.broadcast_to(jnp.arange(self.order.shape[-1], dtype=jnp.int32), self.order.shape),
            inside=None if inside is None else jnp.take_along_axis(inside, self.order, axis=-1),
        )


def draw_uniforms(
    options: RenderingConfig, shape: tuple[int, ...], *, key: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """What places the samples of rays of `shape`: numbers in [0, 1) for stratified and for importance sampling.

    (*shape, depth_resolution) and (*shape, depth_resolution_importance).

    key: draws them at random, as EG3D does; None gives fixed quantiles, which do not flicker.
    """
    coarse, fine = options.depth_resolution, options.depth_resolution_importance
    if key is None:
        quantiles = (jnp.arange(fine, dtype=jnp.float32) + 0.5) / max(fine, 1)
        return jnp.full((*shape, coarse), 0.5, jnp.float32), jnp.broadcast_to(quantiles, (*shape, fine))
    of_coarse, of_fine = jax.random.split(keys.typed(key))
    return (
        jax.random.uniform(of_coarse, (*shape, coarse), jnp.float32),
        jax.random.uniform(of_fine, (*shape, fine), jnp.float32),
    )


def ray_limits(options: RenderingConfig, rays: Rays, body: Body | None = None) -> tuple[jax.Array, jax.Array]:
    """Where along the rays (...) of one image sampling starts and ends, (...) each; 0 twice beside a body."""
    if body is not None:
        return articulated.ray_limits(body, rays)[:2]
    return volume.ray_limits(rays, options.ray_start, options.ray_end, options.box_warp)


def march(
    generator: Generator,
    planes: jax.Array,
    rays: Rays,
    *,
    key: jax.Array | None = None,
    uniforms: tuple[jax.Array, jax.Array] | None = None,
    limits: tuple[jax.Array, jax.Array] | None = None,
    further_depths: jax.Array | None = None,
    body: Body | None = None,
) -> Samples:
    """Samples rays (...) through one scene: the density once, for every modality.

    Args:
      planes: (P, H, W, C) of one scene.
      key: draws depths at random (`draw_uniforms`).
      uniforms: what `draw_uniforms` returns, to use instead.
      limits: what `ray_limits` returns, where the rays are a part of an image.
      further_depths: (..., S') distances at which to sample besides, in any order.
      body: whose planes these are, where the generator is articulated.
    """
    options, shape = generator.config.rendering, rays.directions.shape[:-1]
    u_coarse, u_fine = uniforms if uniforms is not None else draw_uniforms(options, shape, key=key)
    start, end = limits = limits if limits is not None else ray_limits(options, rays, body)
    depths = volume.stratified_depths(start, end, u_coarse, disparity=options.disparity_space_sampling)
    look = functools.partial(_decode_along, generator, planes, rays, limits, body)
    points, raw_density, coarse_features, inside = look(depths)
    features: tuple[jax.Array, ...] = (coarse_features,)
    order, ordered = jnp.broadcast_to(jnp.arange(depths.shape[-1], dtype=jnp.int32), depths.shape), depths
    further = [] if further_depths is None else [further_depths]
    if u_fine.shape[-1]:
        coarse_weights = volume.weights_from_density(raw_density, depths)
        further = [volume.importance_depths(depths, coarse_weights, u_fine), *further]
    if further:
        added = jnp.concatenate(further, axis=-1)
        more_points, more_density, more_features, more_inside = look(added)
        points, features = jnp.concatenate([points, more_points], axis=-2), (coarse_features, more_features)
        raw_density = jnp.concatenate([raw_density, more_density], axis=-1)
        if inside is not None and more_inside is not None:
            inside = jnp.concatenate([inside, more_inside], axis=-1)
        ordered, order = volume.merge_sorted(depths, added)
        depths = jnp.concatenate([depths, added], axis=-1)
        raw_density = jnp.take_along_axis(raw_density, order, axis=-1)
    weights = volume.weights_from_density(raw_density, ordered)
    distance, opacity = volume.expected_depth(weights, ordered)
    # Weights go back to the order in which samples were decoded: cheaper than sorting their features.
    in_order = jnp.take_along_axis(volume.sample_weights(weights), volume.invert_permutation(order), axis=-1)
    return Samples(points, depths, in_order, features, order, distance, opacity, inside)


def feature_image(config: GeneratorConfig, samples: Samples) -> jax.Array:
    """The rendered features (..., F) of rays (...), in [-1, 1]; the first three channels are the raw image."""
    return to_image(config, volume.composite(samples.weights, samples.features), samples.opacity)


def to_image(config: GeneratorConfig, composited: jax.Array, opacity: jax.Array) -> jax.Array:
    """Composited features (..., F) of rays of opacity (...) as those of an image, in [-1, 1], with what lies behind."""
    if config.rendering.white_back:
        composited = composited + 1 - opacity[..., None]
    return composited * 2 - 1


def background(config: GeneratorConfig) -> jax.Array:
    """The rendered features (1, F) of a ray that meets nothing."""
    return to_image(config, jnp.zeros((1, config.feature_channels), jnp.float32), jnp.zeros(1, jnp.float32))


def _decode_along(
    generator: Generator,
    planes: jax.Array,
    rays: Rays,
    limits: tuple[jax.Array, jax.Array],
    body: Body | None,
    depths: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """Points (..., S, 3), raw densities (..., S) and features (..., S, F) at depths (..., S) along rays (...).

    And of a body whether there is any of it (..., S).
    """
    points = rays.origins[..., None, :] + depths[..., None] * rays.directions[..., None, :]
    inside = None
    if body is not None and generator.config.articulation is not None:
        points, near = articulated.to_canonical(generator.config.articulation, body, points)
        start, end = (limit[..., None] for limit in limits)
        inside = near & (start < end) & (depths >= start) & (depths <= end)
    raw_density, features = decode(generator, planes, points.reshape(-1, 3))
    raw_density = raw_density.reshape(depths.shape)
    if inside is not None:
        raw_density = jnp.where(inside, raw_density, raw_density - articulated.EMPTY)
    return points, raw_density, features.reshape(depths.shape + features.shape[-1:]), inside
