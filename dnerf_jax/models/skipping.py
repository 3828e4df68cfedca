"""Rays of one view through one scene, where there is something to see: what `marching` finds, at a part of its cost.

Samples lie where `marching.march` puts them, and are composited by the same formulas. What is left out is what cannot
count: rays through nothing, samples in empty cells (see `occupancy`), and samples behind what stops their ray.

    rays that may hit something, without gaps, in chunks of K:
        coarse depths, their densities -> importance depths -> all depths, sorted
        those that may matter, one list without gaps, in blocks: density and colour features
        weights -> features and surface of the rays; where samples missed still get light, once more with all

Shapes are static, the numbers of chunks and blocks are not: nothing is cut, however full a scene is, and there are no
gradients. A ray's result depends on nothing but its view. There are S coarse depths on a ray, and J in all.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dnerf_jax.models import occupancy, semantic
from dnerf_jax.models.generator import Generator
from dnerf_jax.models.marching import Samples, background, draw_uniforms, to_image
from dnerf_jax.models.model import Model
from dnerf_jax.models.occupancy import Bounds
from dnerf_jax.models.surfaces import Surface, normals
from dnerf_jax.networks.decoders import Decoder, softplus
from dnerf_jax.ops import ragged, triplane, volume
from dnerf_jax.ops.cameras import Rays

VISIBLE = 1e-3  # of a ray's light: what seems to get less is not looked at ...
MISSED = 1e-2  # ... unless it turns out that it gets so much
NOTHING = -1e6  # the raw density of what is not looked at
FEW = 4  # coarse samples that are looked at together: most rays are stopped within so many
BLOCK = 2  # samples a ray of a chunk: so many are decoded together


def render(
    model: Model,
    planes: tuple[jax.Array, jax.Array | None],
    found: Bounds,
    rays: Rays,
    limits: tuple[jax.Array, jax.Array],
    *,
    rays_at_once: int,
    key: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array | None, Surface]:
    """Feature image (h, w, F), semantic features or None, and surface of one scene along rays (h, w).

    Args:
      planes: the scene's (P, H, W, C), and its semantic ones, or None.
      found: its bounds.
      limits: what `marching.ray_limits` returns for the rays.
      rays_at_once: K, a divisor of the number of rays.
      key: as in `marching.draw_uniforms`.
    """
    generator, config, shape = model.generator, model.generator.config, rays.batch_shape
    options = config.rendering
    rays, limits = jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), (rays, limits))
    count = len(rays)
    if not isinstance(options.ray_start, str):
        limits = limits[0][:1], limits[1][:1]  # all rays' are the same, and so are their coarse depths without a key
    coarse, fine = draw_uniforms(options, (1 if key is None else count,), key=key)
    fine = jnp.sort(fine, axis=-1)  # and so importance depths are
    depths = volume.stratified_depths(*limits, coarse, disparity=options.disparity_space_sampling)
    # A ray that finds nothing at its coarse depths has its importance depths here.
    blind = volume.importance_depths(depths, jnp.zeros_like(depths[:, 1:]), fine)
    hit = jnp.any(_occupied(found, options.box_warp, rays, jnp.concatenate([depths, blind], axis=-1)), axis=-1)
    rank = jnp.cumsum(hit.astype(jnp.int32))
    which = jnp.minimum(jnp.searchsorted(rank, jnp.arange(1, count + 1, dtype=jnp.int32)), count - 1)

    def some(start: jax.Array, buffer: jax.Array) -> tuple[Any, jax.Array]:
        these = jax.lax.dynamic_slice_in_dim(which, start, rays_at_once)
        own, own_depths, own_fine = rays[these], _rows(depths, these), _rows(fine, these)
        # Where there are no more rays that hit anything, nothing is looked at.
        hits = start + jnp.arange(rays_at_once, dtype=jnp.int32) < rank[-1]
        flags = functools.partial(_occupied, found, options.box_warp, own)

        def flagged(depths: jax.Array) -> jax.Array:
            return ragged.widened(flags(depths)) & hits[:, None]

        samples, composited, buffer = _march(generator, planes[0], own, own_depths, own_fine, flagged, buffer)
        semantic_features = None
        if model.semantic is not None and planes[1] is not None:
            selected = semantic.select_samples(model.semantic.config, samples)
            semantic_features = semantic.render(model.semantic, config, planes[1], selected)
            weights = jnp.asarray(selected.weights)
            samples = dataclasses.replace(samples, points=selected.points, weights=weights)
        surface = Surface(samples.distance, samples.opacity, normals(generator, planes[0], samples))
        return (to_image(config, composited, samples.opacity), semantic_features, surface), buffer

    def chunk(i: jax.Array, carry: Any) -> Any:
        made, buffer = carry
        new, buffer = some(i * rays_at_once, buffer)
        put = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=i * rays_at_once, axis=0)
        return jax.tree.map(put, made, new), buffer

    samples = jax.ShapeDtypeStruct((rays_at_once, depths.shape[-1] + fine.shape[-1]), jnp.float32)
    buffer = jnp.zeros((_capacity(samples), config.feature_channels), jnp.float32)
    shapes, _ = jax.eval_shape(some, jnp.int32(0), buffer)
    made = jax.tree.map(lambda x: jnp.zeros((count, *x.shape[1:]), x.dtype), shapes)
    made, _ = jax.lax.fori_loop(0, -(-rank[-1] // rays_at_once), chunk, (made, buffer))
    features, semantic_features, surface = jax.tree.map(lambda x: x[jnp.maximum(rank - 1, 0)], made)
    features = jnp.where(hit[:, None], features, background(config))
    if model.semantic is not None and planes[1] is not None:
        of_nothing = semantic.background(model.semantic, config, planes[1])
        semantic_features = jnp.where(hit[:, None], semantic_features, of_nothing)
    surface = surface.replace(opacity=jnp.where(hit, surface.opacity, 0.0))
    return jax.tree.map(lambda x: x.reshape((*shape, *x.shape[1:])), (features, semantic_features, surface))


def _march(
    generator: Generator,
    planes: jax.Array,
    rays: Rays,
    depths: jax.Array,
    fine: jax.Array,
    flag: Callable[[jax.Array], jax.Array],
    buffer: jax.Array,
) -> tuple[Samples, jax.Array, jax.Array]:
    """Samples of rays (K,), sorted, without features; those composited (K, F); and the buffer for features.

    depths: (K, S) coarse ones. fine: (K, J - S) uniforms. flag: says of depths (K, ...) which may matter. buffer:
    (capacity, F), for the features of samples.
    """
    raw = _coarse_density(generator, planes, rays, depths, flag(depths))
    drawn = ragged.computed(volume.importance_depths(depths, _weights(_thickness(raw, depths)), fine))
    places = ragged.merged_places(depths, drawn)
    ordered = ragged.scatter(jnp.concatenate([depths, drawn], axis=-1), places)
    guess = ragged.scatter(jnp.concatenate([raw, ragged.interpolate(depths, raw, drawn)], axis=-1), places)
    flagged = flag(ordered)
    # Interval i ends with sample i + 1; one sample more, because this is a guess.
    lit = ragged.sum_before(_at_least(guess, ordered))[:, :-1] < -math.log(VISIBLE)
    need = flagged & jnp.pad(lit, ((0, 0), (2, 0)), constant_values=True)

    def look(carry: Any) -> Any:
        need, weights, composited, buffer = carry
        indices, total = ragged.listed(need, capacity=_capacity(need))
        raw, buffer = _decode(generator, planes, rays, ordered, indices, total, buffer)
        thickness = _thickness(raw, ordered)
        new = _weights(thickness)
        touched = jnp.any(need, axis=-1, keepdims=True)
        lit = jnp.pad(ragged.sum_before(thickness) < -math.log(MISSED), ((0, 0), (1, 0)), constant_values=True)
        missed = touched & jnp.any(flagged & ~need & lit, axis=-1, keepdims=True)
        features = _composite(volume.sample_weights(new), indices, total, buffer)
        return flagged & missed, jnp.where(touched, new, weights), jnp.where(touched, features, composited), buffer

    weights, composited = jnp.zeros_like(ordered[:, 1:]), jnp.zeros((len(ordered), buffer.shape[-1]), jnp.float32)
    carry = need, weights, composited, buffer
    _, weights, composited, buffer = jax.lax.while_loop(lambda carry: jnp.any(carry[0]), look, carry)
    distance, opacity = volume.expected_depth(weights, ordered)
    order = jnp.broadcast_to(jnp.arange(ordered.shape[-1], dtype=jnp.int32), ordered.shape)
    weights = volume.sample_weights(weights)
    return Samples(_along(rays, ordered), ordered, weights, (), order, distance, opacity), composited, buffer


def _coarse_density(
    generator: Generator, planes: jax.Array, rays: Rays, depths: jax.Array, flagged: jax.Array
) -> jax.Array:
    """Raw densities at flagged depths (K, S), from the front until rays are stopped; NOTHING elsewhere."""
    rank = ragged.running_sum(flagged).astype(jnp.int32)

    def look(carry: Any) -> Any:
        done, need, raw = carry
        indices, total = ragged.listed(need, capacity=_capacity(need))
        new, _ = _decode(generator, planes, rays, depths, indices, total, None)
        raw = jnp.maximum(raw, new)
        lit = ragged.running_sum(_at_least(raw, depths))[:, -1:] < -math.log(VISIBLE)
        done = done + FEW
        return done, flagged & lit & (rank > done) & (rank <= done + FEW), raw

    carry = jnp.int32(0), flagged & (rank <= FEW), jnp.full(depths.shape, NOTHING, jnp.float32)
    return jax.lax.while_loop(lambda carry: jnp.any(carry[1]), look, carry)[2]


def _decode(
    generator: Generator,
    planes: jax.Array,
    rays: Rays,
    depths: jax.Array,
    indices: jax.Array,
    total: jax.Array,
    buffer: Any,
) -> tuple[jax.Array, Any]:
    """Raw densities (K, J) at the listed ones of depths (K, J), NOTHING elsewhere, and a buffer with features."""
    config = generator.config
    decoder: Any = generator.variables["params"]["decoder"]
    features = config.feature_channels
    if buffer is None:
        decoder, features = {**decoder, "fc1": {name: x[..., :1] for name, x in decoder["fc1"].items()}}, 0
    network = Decoder(features, config.decoder_hidden, config.decoder_lr_mul)
    flat, size = depths.reshape(-1), BLOCK * len(depths)

    def block(i: jax.Array, carry: Any) -> Any:
        raw, buffer = carry
        these = jax.lax.dynamic_slice_in_dim(indices, i * size, size)
        known = jnp.minimum(these, len(flat) - 1)
        ray = known // depths.shape[-1]
        points = rays.origins[ray] + flat[known][:, None] * rays.directions[ray]
        looked_up = triplane.sample(planes, points, plane_axes=config.plane_axes, box_warp=config.rendering.box_warp)
        decoded: Any = network.apply({"params": decoder}, looked_up / len(planes))
        density, colors = decoded
        raw = raw.at[these].set(density, mode="promise_in_bounds")
        return raw, None if buffer is None else jax.lax.dynamic_update_slice_in_dim(buffer, colors, i * size, axis=0)

    raw = jnp.full(len(flat) + 1, NOTHING, jnp.float32)
    raw, buffer = jax.lax.fori_loop(0, -(-total // size), block, (raw, buffer))
    return raw[:-1].reshape(depths.shape), buffer


def _composite(weights: jax.Array, indices: jax.Array, total: jax.Array, features: jax.Array) -> jax.Array:
    """Sums over rays (K, F) of listed features (capacity, F), times weights (K, J)."""
    flat, size = jnp.pad(weights.reshape(-1), (0, 1)), BLOCK * len(weights)

    def block(i: jax.Array, sums: jax.Array) -> jax.Array:
        these = jax.lax.dynamic_slice_in_dim(indices, i * size, size)
        some = jax.lax.dynamic_slice_in_dim(features, i * size, size) * flat[these][:, None]
        ray = jnp.minimum(these // weights.shape[-1], len(weights) - 1)
        return sums.at[ray].add(some, mode="promise_in_bounds")

    sums = jnp.zeros((len(weights), features.shape[-1]), jnp.float32)
    return jax.lax.fori_loop(0, -(-total // size), block, sums)


def _occupied(found: Bounds, box_warp: float, rays: Rays, depths: jax.Array) -> jax.Array:
    return occupancy.look_up(found, _along(rays, depths), box_warp=box_warp)


def _along(rays: Rays, depths: jax.Array) -> jax.Array:
    """Points (K, J, 3) at depths (K, J), or (1, J), of rays (K,)."""
    return rays.origins[:, None] + depths[..., None] * rays.directions[:, None]


def _rows(x: jax.Array, these: jax.Array) -> jax.Array:
    """Rows of x (N, ...), or of one that all share."""
    return x[these] if len(x) > 1 else jnp.broadcast_to(x, (len(these), *x.shape[1:]))


def _capacity(samples: Any) -> int:
    """The length of a list of all samples (K, J), in whole blocks."""
    size = BLOCK * samples.shape[0]
    return -(-samples.size // size) * size


def _thickness(raw: jax.Array, depths: jax.Array) -> jax.Array:
    """Optical thickness (K, J - 1) of the intervals, as in `volume.weights_from_density`."""
    return softplus(volume.midpoints(raw) - 1) * jnp.diff(depths, axis=-1)


def _at_least(raw: jax.Array, depths: jax.Array) -> jax.Array:
    """Nearly as `_thickness`, never more, and cheaper."""
    return jax.nn.relu(volume.midpoints(raw) - 1) * jnp.diff(depths, axis=-1)


def _weights(thickness: jax.Array) -> jax.Array:
    return jnp.exp(-ragged.sum_before(thickness)) * (1 - jnp.exp(-thickness))
