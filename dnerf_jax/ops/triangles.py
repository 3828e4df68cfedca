"""Triangles in space, many of them: their normals, and which is nearest to each of many points.

A face is given by its corners (3, 3), F of them by (F, 3, 3), in world units. What is compared with one face after the
other should fit a CPU's cache, and has the coordinates first.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

SMALL = 1e-12  # squared lengths below it are of faces or edges without a size
UNROLLED = 4  # faces in a step of a scan over them
_AT_ONCE = 16384  # points that are compared with a face together: what is kept of them fits a cache
_GROUPED, _NEAR_AT_ONCE = 8, 128  # faces that are met together, and points that meet them
_State = tuple[jax.Array, jax.Array, jax.Array]
_SLACK = 1 + 1e-5  # for what boxes' distances round


def nearest(points: jax.Array, corners: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Squared distances (...) of points (..., 3) to the nearest of faces (F, 3, 3), exactly, and its number.

    Of equal ones it is the first. Without gradients.
    """
    points, corners = jax.lax.stop_gradient((points, corners))
    # Leaving faces out takes steps that depend on what was found: elsewhere than on a CPU, all are sooner compared.
    return jax.lax.platform_dependent(points, corners, cpu=_among_near, default=_among_all)


def normals(corners: jax.Array) -> jax.Array:
    """Unit normals (..., 3) of faces (..., 3, 3)."""
    cross = jnp.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
    return cross / jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(cross), axis=-1, keepdims=True), SMALL * SMALL))


def dot(a: Any, b: Any) -> jax.Array:
    """The product of two vectors of three entries each, which are numbers or arrays of points."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def square(a: Any) -> jax.Array:
    """The squared length of such a vector."""
    return dot(a, a)


def in_parts(one: Callable[[jax.Array], Any], x: jax.Array, at_once: int | None = None) -> Any:
    """`one` of x (N, C) in parts, as (C, N'), whose results are (N',); for x (..., C) of any leading shape.

    at_once: N' at most; None is as many as fit a cache.
    """
    shape, flat = x.shape[:-1], x.reshape(-1, x.shape[-1])
    count = len(flat)
    part = min(at_once or _AT_ONCE, max(count, 1))
    padded = jnp.pad(flat, ((0, -count % part), (0, 0)), mode="edge" if count else "constant")
    found = jax.lax.map(one, jnp.swapaxes(padded.reshape(-1, part, flat.shape[-1]), 1, 2))
    return jax.tree.map(lambda y: y.reshape(-1)[:count].reshape(shape), found)


def _among_all(points: jax.Array, corners: jax.Array) -> tuple[jax.Array, jax.Array]:
    """As `nearest`: all faces are compared with all points."""
    table = _edges(corners)

    def one(points: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(best: tuple[jax.Array, jax.Array], face: tuple) -> tuple[tuple[jax.Array, jax.Array], None]:
            squared = _squared_distance(points, face[1])
            nearer = squared < best[0]
            return (jnp.where(nearer, squared, best[0]), jnp.where(nearer, face[0], best[1])), None

        start = jnp.full(points.shape[1:], jnp.inf), jnp.zeros(points.shape[1:], jnp.int32)
        numbered = jnp.arange(len(corners), dtype=jnp.int32), table
        return jax.lax.scan(step, start, numbered, unroll=UNROLLED)[0]

    return in_parts(one, points)


def _among_near(points: jax.Array, corners: jax.Array) -> tuple[jax.Array, jax.Array]:
    """As `nearest`, among the faces whose box is not farther from a few points' box than their distances found so far.

    Points and faces are grouped along a curve through space; the faces' boxes are met in the order of their distances.
    """
    count, flat = len(corners), points.reshape(-1, 3)
    number = jnp.argsort(_along_curve(jnp.mean(corners, axis=1))).astype(jnp.int32)
    number = jnp.pad(number, (0, -count % _GROUPED), mode="edge").reshape(-1, _GROUPED)
    grouped = corners[number]
    low, high = jnp.min(grouped, axis=(1, 2)), jnp.max(grouped, axis=(1, 2))
    table = jax.tree.map(lambda x: x.reshape(*number.shape, -1), _edges(grouped.reshape(-1, 3, 3)))

    def one(points: jax.Array) -> tuple[jax.Array, jax.Array]:
        gaps = jnp.maximum(low - jnp.max(points, axis=1), jnp.min(points, axis=1) - high)
        apart = jnp.sum(jnp.square(jnp.maximum(gaps, 0.0)), axis=-1)
        order = jnp.argsort(apart)
        apart = jnp.append(apart[order], jnp.inf)

        def unfinished(state: _State) -> jax.Array:
            return (state[0] < len(number)) & (apart[state[0]] <= _SLACK * jnp.max(state[1]))

        def step(state: _State) -> _State:
            done, best, face = state
            group = order[done]
            squared = jax.vmap(_squared_distance, (None, 0))(points, jax.tree.map(lambda x: x[group], table))
            least = jnp.min(squared, axis=0)
            first = jnp.min(jnp.where(squared == least, number[group][:, None], count), axis=0)
            nearer = (least < best) | ((least == best) & (first < face))
            return done + 1, jnp.where(nearer, least, best), jnp.where(nearer, first, face)

        none = jnp.full(points.shape[1], jnp.inf), jnp.full(points.shape[1], count, jnp.int32)
        return jax.lax.while_loop(unfinished, step, (jnp.int32(0), *none))[1:]

    along = jnp.argsort(_along_curve(flat))
    back = jnp.zeros_like(along).at[along].set(jnp.arange(len(flat), dtype=along.dtype))
    found = in_parts(one, flat[along], _NEAR_AT_ONCE)
    return jax.tree.map(lambda x: x[back].reshape(points.shape[:-1]), found)


def _along_curve(points: jax.Array) -> jax.Array:
    """Numbers (N,) by which points (N, 3) are sorted so that near ones mostly follow each other (a Z-order curve)."""
    if not len(points):
        return jnp.zeros(0, jnp.uint32)
    low, high = jnp.min(points, axis=0), jnp.max(points, axis=0)
    whole = ((points - low) / jnp.maximum(high - low, SMALL) * 1023).astype(jnp.uint32)
    for shift, kept in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        whole = (whole | (whole << shift)) & jnp.uint32(kept)
    return whole[:, 0] | (whole[:, 1] << 1) | (whole[:, 2] << 2)


def _edges(corners: jax.Array) -> dict[str, jax.Array]:
    """What the distance to a face (F, 3, 3) takes, once: 19 numbers of each."""
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    bc = ac - ab
    aa, cc, ca = (jnp.sum(x * y, axis=-1) for x, y in ((ab, ab), (ac, ac), (ab, ac)))
    area = aa * cc - ca * ca
    area = jnp.where(area > SMALL * SMALL, area, jnp.inf)
    lengths = [1 / jnp.maximum(x, SMALL) for x in (aa, cc, jnp.sum(bc * bc, axis=-1))]
    return {
        "a": a,
        "ab": ab,
        "ac": ac,
        "normal": normals(corners),
        "dots": jnp.stack([aa / area, cc / area, ca / area], axis=-1),
        "inverse": jnp.stack(lengths, axis=-1),
    }


def _squared_distance(points: jax.Array, face: dict[str, jax.Array]) -> jax.Array:
    """Squared distances (N,) of points (3, N) to one face of `_edges`."""
    ab, ac = face["ab"], face["ac"]
    d = [points[i] - face["a"][i] for i in range(3)]
    along, beside = dot(ab, d), dot(ac, d)
    aa, cc, ca = face["dots"]
    v, w = cc * along - ca * beside, aa * beside - ca * along
    above = dot(face["normal"], d)

    def of_edge(start: list[jax.Array], edge: jax.Array, along: jax.Array, inverse: jax.Array) -> jax.Array:
        t = jnp.clip(along * inverse, 0.0, 1.0)
        return square([start[i] - t * edge[i] for i in range(3)])

    bc = ac - ab
    from_b = [d[i] - ab[i] for i in range(3)]
    first, second, third = face["inverse"]
    edges = jnp.minimum(
        jnp.minimum(of_edge(d, ab, along, first), of_edge(d, ac, beside, second)),
        of_edge(from_b, bc, dot(bc, from_b), third),
    )
    # A face without an area has v + w = 0, and edges only.
    return jnp.where((v >= 0) & (w >= 0) & (v + w <= 1) & (v + w > 0), jnp.square(above), edges)
