"""Volume rendering along rays: where to sample, and how samples become a pixel.

Along a ray there are S samples at increasing depths t (distances along the unit ray, world units), raw densities
r (before the activation) and values v of any kind (colour, features, semantics). Following EG3D, the ray is made of the
S - 1 intervals between neighbouring samples; an interval takes the mean of its ends:

    alpha_i  = 1 - exp(-softplus(mean r_i - 1) * (t_{i+1} - t_i))
    weight_i = alpha_i * prod_{j<i} (1 - alpha_j + 1e-10)

Shapes: depths and raw densities (..., S), values (..., S, C), weights of intervals (..., S - 1) or, halved to both
ends, of samples (..., S). One set of weights composites every modality. Where samples lie is a function of numbers in
[0, 1), `uniforms`, so that random draws, recorded draws and fixed quantiles are one thing.
"""

from typing import Any

import jax
import jax.numpy as jnp

from dnerf_jax.ops.cameras import Rays
from dnerf_jax.ops.precision import einsum


def box_limits(rays: Rays, box_side: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Distances (...) at which rays enter and leave the box, and whether they hit it.

    Entry may be negative for origins inside the box. Where a ray misses, the limits are meaningless.
    """
    # Along an axis the other limits are far away, but finite: infinite ones would have gradients that are NaN.
    inverse = 1 / jnp.where(rays.directions == 0, 1e-20, rays.directions)
    near = (-box_side / 2 - rays.origins) * inverse
    far = (box_side / 2 - rays.origins) * inverse
    enter = jnp.max(jnp.minimum(near, far), axis=-1)
    leave = jnp.min(jnp.maximum(near, far), axis=-1)
    return enter, leave, leave > enter


def ray_limits(
    rays: Rays, ray_start: float | str, ray_end: float | str, box_warp: float
) -> tuple[jax.Array, jax.Array]:
    """Distances (...) at which the sampling of the rays of one image (...) starts and ends.

    With ray_start = ray_end = "auto" a ray is sampled within the box; rays that miss it take the smallest and the
    largest entry among those of the same image that hit it. (EG3D takes them over the whole batch; here a sample
    never depends on its batch. Its density there is whatever lies outside the box, so limits hardly matter.)
    """
    shape = rays.directions.shape[:-1]
    if not isinstance(ray_start, str) and not isinstance(ray_end, str):
        return jnp.full(shape, ray_start, jnp.float32), jnp.full(shape, ray_end, jnp.float32)
    if not ray_start == ray_end == "auto":
        raise ValueError(f'ray_start is {ray_start!r}, ray_end {ray_end!r}: both must be "auto", or both numbers.')
    enter, leave, hit = box_limits(rays, box_warp)
    first, last = jnp.min(jnp.where(hit, enter, jnp.inf)), jnp.max(jnp.where(hit, enter, -jnp.inf))
    # An image that misses the box altogether is sampled around the closest approach of its own rays.
    center = jnp.linalg.norm(rays.origins, axis=-1)
    start = jnp.where(hit, enter, jnp.where(jnp.any(hit), first, center - box_warp / 2))
    end = jnp.where(hit, leave, jnp.where(jnp.any(hit), last, center + box_warp / 2))
    return start, end


def stratified_depths(start: jax.Array, end: jax.Array, uniforms: jax.Array, *, disparity: bool = False) -> jax.Array:
    """S depths per ray (..., S) from `start` to `end` (...), each pushed on by up to one interval.

    A single depth lies anywhere between the two.

    Args:
      uniforms: (..., S) in [0, 1), how far.
      disparity: space them evenly in 1 / t instead of t.
    """
    num = uniforms.shape[-1]
    fraction = jnp.linspace(0.0, 1.0, num, dtype=jnp.float32) + uniforms / max(num - 1, 1)
    start, end = start[..., None], end[..., None]
    if disparity:
        return 1 / ((1 - fraction) / start + fraction / end)
    return start + (end - start) * fraction


def importance_depths(depths: jax.Array, weights: jax.Array, uniforms: jax.Array) -> jax.Array:
    """Further depths per ray (..., N) where coarse weights (..., S - 1) are large, at quantiles `uniforms` (..., N).

    EG3D's smoothing: maximum of neighbouring weights, mean of neighbours, plus 0.01, and the outermost intervals
    dropped; the draw inverts the piecewise linear distribution over the coarse samples' midpoints. In the order of
    `uniforms`.
    No gradient flows to the weights.
    """
    weights = jax.lax.stop_gradient(weights)
    ends = [(0, 0)] * (weights.ndim - 1)
    padded = jnp.pad(weights, [*ends, (1, 1)], constant_values=-jnp.inf)
    peaks = jnp.maximum(padded[..., :-1], padded[..., 1:])
    smooth = (peaks[..., :-1] + peaks[..., 1:]) / 2 + 0.01
    bins = (depths[..., :-1] + depths[..., 1:]) / 2
    pdf = smooth[..., 1:-1] + 1e-5
    pdf = pdf / jnp.sum(pdf, axis=-1, keepdims=True)
    cdf = jnp.concatenate([jnp.zeros_like(pdf[..., :1]), jnp.cumsum(pdf, axis=-1)], axis=-1)
    below, above = _between(cdf, bins, uniforms)
    span = above[0] - below[0]
    drawn = below[1] + (uniforms - below[0]) / jnp.where(span < 1e-5, 1.0, span) * (above[1] - below[1])
    return jax.lax.stop_gradient(drawn)


def _between(edges: jax.Array, values: jax.Array, x: jax.Array) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """Of increasing edges (..., E) with values (..., E), the last at or below x (..., N) and the first above it.

    Returns two pairs (edge, value) of shape (..., N); where there is none above, the last edge.
    Unrolled, so that XLA makes one loop of it without gathers: there are so few edges.
    """
    every = [(edges[..., i, None], values[..., i, None]) for i in range(edges.shape[-1])]
    below: tuple[jax.Array, ...] = every[0]
    above: tuple[jax.Array, ...] = every[-1]
    for edge in every:
        below = tuple(jnp.where(edge[0] <= x, new, old) for new, old in zip(edge, below, strict=True))
    for edge in reversed(every):
        above = tuple(jnp.where(edge[0] <= x, old, new) for new, old in zip(edge, above, strict=True))
    return below, above


def merge_sorted(depths_a: jax.Array, depths_b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """All depths (..., A + B) in increasing order, and the permutation that sorts the concatenation, stably.

    depths_a must be sorted; depths_b need not be. So few are ranked faster by comparing all pairs than by sorting.
    """
    a = [depths_a[..., i, None] for i in range(depths_a.shape[-1])]
    b = [depths_b[..., i, None] for i in range(depths_b.shape[-1])]
    rank_a = jnp.arange(len(a), dtype=jnp.int32) + sum((other < depths_a).astype(jnp.int32) for other in b)
    rank_b = sum((other <= depths_b).astype(jnp.int32) for other in a)
    for i, other in enumerate(b):
        before = (other < depths_b) | ((other == depths_b) & (i < jnp.arange(len(b), dtype=jnp.int32)))
        rank_b = rank_b + before.astype(jnp.int32)
    order = invert_permutation(jnp.concatenate([rank_a, rank_b], axis=-1))
    depths = jnp.concatenate([depths_a, depths_b], axis=-1)
    return jnp.take_along_axis(depths, order, axis=-1), order


def invert_permutation(order: jax.Array) -> jax.Array:
    """The permutation (..., S) that undoes `order` (..., S)."""
    order = jnp.asarray(order)
    places = jnp.arange(order.shape[-1], dtype=order.dtype)
    undone = jnp.zeros_like(order)
    for i in range(order.shape[-1]):  # faster than a scatter, for so few
        undone = jnp.where(order[..., i, None] == places, i, undone)
    return undone


def midpoints(x: jax.Array, axis: int = -1) -> jax.Array:
    """Means of neighbouring samples along `axis`."""
    length = x.shape[axis]
    before = jax.lax.slice_in_dim(x, 0, length - 1, axis=axis)
    after = jax.lax.slice_in_dim(x, 1, length, axis=axis)
    return (before + after) / 2


def weights_from_density(raw_density: jax.Array, depths: jax.Array) -> jax.Array:
    """Weights (..., S - 1) of the intervals, summing to at most 1, from raw densities at sorted depths (..., S)."""
    if raw_density.shape != depths.shape:
        raise ValueError(f"raw_density has shape {raw_density.shape}, depths {depths.shape}: expected equal ones")
    density = jax.nn.softplus(midpoints(raw_density) - 1)
    alpha = 1 - jnp.exp(-density * jnp.diff(depths, axis=-1))
    passed = jnp.cumprod(1 - alpha + 1e-10, axis=-1)
    before = jnp.concatenate([jnp.ones_like(passed[..., :1]), passed[..., :-1]], axis=-1)
    return alpha * before


def sample_weights(weights: jax.Array) -> jax.Array:
    """Interval weights (..., S - 1) as weights of the samples (..., S): half to each end.

    The mean of an interval's ends then composites as `composite(sample_weights(weights), values)`.
    """
    ends = [(0, 0)] * (weights.ndim - 1)
    return (jnp.pad(weights, [*ends, (1, 0)]) + jnp.pad(weights, [*ends, (0, 1)])) / 2


def heaviest(weights: jax.Array, values: jax.Array, keep: int) -> tuple[jax.Array, jax.Array]:
    """The `keep` heaviest samples of every ray: weights (..., keep), scaled to the same sum, and values (..., keep, C).

    In no particular order. All of them, as they are, if there are no more.
    """
    if keep >= weights.shape[-1]:
        return weights, values
    opacity = jnp.sum(weights, axis=-1, keepdims=True)
    weights, index = jax.lax.top_k(weights, keep)
    weights = weights * opacity / jnp.maximum(jnp.sum(weights, axis=-1, keepdims=True), 1e-8)
    return weights, jnp.take_along_axis(values, index[..., None], axis=-2)


def composite(weights: jax.Array, values: jax.Array | tuple[jax.Array, ...]) -> jax.Array:
    """The ray's value (..., C): the sum of sample values (..., S, C) times sample weights (..., S), in any order.

    values: an array, or several whose samples follow each other: so they need not be joined first.

    Raises ValueError: there are more weights than samples, or fewer.
    """
    parts = values if isinstance(values, tuple) else (values,)
    count = sum(part.shape[-2] for part in parts)
    if count != weights.shape[-1]:
        raise ValueError(
            f"There are {weights.shape[-1]} weights for {count} samples: expected one weight a sample. Weights of "
            "intervals become weights of samples by sample_weights."
        )
    total: Any = 0.0
    start = 0
    for part in parts:
        some = weights[..., start : start + part.shape[-2]]
        if some.shape != part.shape[:-1]:
            raise ValueError(f"weights {some.shape} and values {part.shape} differ in the dimensions that they share")
        total, start = total + einsum("...s,...sc->...c", some, part), start + part.shape[-2]
    return total


def expected_depth(weights: jax.Array, depths: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Expected distance along the ray given that it is stopped, and opacity (the sum of weights), both (...).

    From weights of intervals (..., S - 1) and sorted depths (..., S). A ray without any weight gets its largest depth;
    EG3D gives it the largest of the batch, on which nothing of ours depends.
    """
    opacity = jnp.sum(weights, axis=-1)
    empty = opacity <= 0
    # An empty ray is 0 / 0; dividing by 1 there keeps its gradient finite.
    distance = jnp.sum(weights * midpoints(depths), axis=-1) / jnp.where(empty, 1.0, opacity)
    return jnp.clip(jnp.where(empty, jnp.inf, distance), depths[..., 0], depths[..., -1]), opacity
