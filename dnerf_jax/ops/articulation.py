"""Articulated bodies: from points of the posed world to those of the canonical one, by a template surface between them.

A template is a triangle mesh with V vertices and F faces that moves with a skeleton of B bones. Where a point near the
posed surface lies in the canonical world is told by the face that it belongs to, found by a query, and by a map of the
point beside that face. Queries are exact and under `stop_gradient`, since a face is a choice; maps are differentiable
in points, posed vertices and rotations. Three rules go together with them (section 3.3 of the paper, and GNARF's
surface fields, which it builds on):

    blend     the nearest face; the closest point's barycentrics, and the offset from it turned by the corners'
              rotations, blended by them. Ours: continuous across edges, where a fifth of all points belong
    triangle  the nearest face; barycentrics in its plane, unclamped, and the signed distance along its normal. The
              paper's wording
    vertex    of the faces at the nearest vertex the one that the point is farthest above, then as `triangle`. What
              GNARF's code does, so what its checkpoints were trained with

Functions are of one body; more of them are `vmap`'s business. Leading dimensions (...) of points and rays are free.
Lengths are world units, numbers float32.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dnerf_jax.ops import triangles
from dnerf_jax.ops.cameras import Rays
from dnerf_jax.ops.precision import einsum
from dnerf_jax.ops.triangles import SMALL, UNROLLED

Rule = Literal["blend", "triangle", "vertex"]
RULES: tuple[Rule, ...] = ("blend", "triangle", "vertex")


@struct.dataclass
class Correspondence:
    """The face of the posed surface that each point (...) belongs to, and its distance in world units.

    face: (...) int32. distance: (...) to the surface; of the rule `vertex` to the nearest vertex, which is no nearer.
    """

    face: jax.Array
    distance: jax.Array


def incident(faces: np.ndarray, count: int) -> np.ndarray:
    """The faces at each of `count` vertices (V, K) int32, in order, padded with the last of them; K is the most.

    Raises ValueError: a vertex is in no face.
    """
    found: list[list[int]] = [[] for _ in range(count)]
    for number, corners in enumerate(np.asarray(faces).tolist()):
        for vertex in corners:
            found[vertex].append(number)
    lonely = [vertex for vertex, own in enumerate(found) if not own]
    if lonely:
        raise ValueError(f"vertex {lonely[0]} is in no face, and {len(lonely) - 1} others: expected a closed surface")
    most = max(map(len, found))
    return np.array([own + own[-1:] * (most - len(own)) for own in found], np.int32)


def nearest_face(points: jax.Array, vertices: jax.Array, faces: jax.Array) -> Correspondence:
    """The face nearest to each point (..., 3), exactly. Of equal ones the first.

    vertices: (V, 3) posed. faces: (F, 3).
    """
    squared, face = triangles.nearest(points, jnp.asarray(vertices)[jnp.asarray(faces)])
    return Correspondence(face, jnp.sqrt(squared))


def steepest_face(points: jax.Array, vertices: jax.Array, faces: jax.Array, neighbours: jax.Array) -> Correspondence:
    """Of the faces at the nearest vertex the one whose normal is nearest to the way there; of equal ones the first.

    vertices: (V, 3) posed. faces: (F, 3). neighbours: (V, K), see `incident`.
    """
    vertices, faces = jax.lax.stop_gradient(jnp.asarray(vertices)), jnp.asarray(faces)
    normals = triangles.normals(vertices[faces])

    def one(points: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(best: tuple[jax.Array, jax.Array], vertex: tuple) -> tuple[tuple[jax.Array, jax.Array], None]:
            # Of differences: the expanded square rounds other vertices to be the nearest.
            squared = triangles.square([points[i] - vertex[1][i] for i in range(3)])
            nearer = squared < best[0]
            return (jnp.where(nearer, squared, best[0]), jnp.where(nearer, vertex[0], best[1])), None

        start = jnp.full(points.shape[1:], jnp.inf), jnp.zeros(points.shape[1:], jnp.int32)
        numbered = jnp.arange(len(vertices), dtype=jnp.int32), vertices
        return jax.lax.scan(step, start, numbered, unroll=UNROLLED)[0]

    points = jax.lax.stop_gradient(points)
    squared, nearest = triangles.in_parts(one, points)
    candidates = jnp.asarray(neighbours)[nearest]
    way = points - vertices[nearest]
    slope = jnp.abs(einsum("...i,...ki->...k", way, normals[candidates]))
    chosen = jnp.argmax(slope, axis=-1)
    return Correspondence(jnp.take_along_axis(candidates, chosen[..., None], axis=-1)[..., 0], jnp.sqrt(squared))


def to_canonical(
    rule: Rule,
    points: jax.Array,
    face: jax.Array,
    posed: jax.Array,
    canonical: jax.Array,
    faces: jax.Array,
    turned: jax.Array | None = None,
) -> jax.Array:
    """Where points (..., 3) of the posed world, beside the faces (...), lie in the canonical one.

    Args:
      posed, canonical: vertices (V, 3) of one template. faces: (F, 3).
      turned: (V, 3, 3) what turns a direction at each vertex from the canonical to the posed world: for `blend`.

    Raises ValueError: `blend` without `turned`, or another rule.
    """
    if rule not in RULES:
        raise ValueError(f"the rule is {rule!r}, expected one of {RULES}")
    corners = jnp.asarray(faces)[face]
    here, there = posed[corners], canonical[corners]
    if rule != "blend":
        height = jnp.sum((points - here[..., 0, :]) * triangles.normals(here), axis=-1, keepdims=True)
        v, w = (x[..., None] for x in _shares(points, here))
        first, second, third = (there[..., i, :] for i in range(3))
        # Of edges, not of corners: far beside a small face shares are large, and corners nearly cancel.
        return first + v * (second - first) + w * (third - first) + height * triangles.normals(there)
    if turned is None:
        raise ValueError("the rule 'blend' turns offsets by the vertices' rotations: pass turned (V, 3, 3)")
    shares = _closest(points, here)
    offset = points - einsum("...k,...ki->...i", shares, here)
    back = einsum("...k,...kij,...i->...j", shares, turned[corners], offset)
    return einsum("...k,...ki->...i", shares, there) + back


def ray_limits(rays: Rays, vertices: jax.Array, faces: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Distances (...) at which rays first enter and last leave a closed surface, and whether they hit it.

    Where a ray misses, both are 0.
    """
    corners = jax.lax.stop_gradient(jnp.asarray(vertices)[jnp.asarray(faces)])
    both = jnp.concatenate([rays.origins, rays.directions], axis=-1)

    def one(both: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(best: tuple[jax.Array, jax.Array], face: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
            hit, distance = _crossed(both[:3], both[3:], face)
            near = jnp.minimum(best[0], jnp.where(hit, distance, jnp.inf))
            return (near, jnp.maximum(best[1], jnp.where(hit, distance, -jnp.inf))), None

        start = jnp.full(both.shape[1:], jnp.inf), jnp.full(both.shape[1:], -jnp.inf)
        return jax.lax.scan(step, start, corners, unroll=UNROLLED)[0]

    near, far = triangles.in_parts(one, jax.lax.stop_gradient(both))
    hit = near <= far
    return jnp.where(hit, near, 0.0), jnp.where(hit, far, 0.0), hit


def grown(vertices: jax.Array, faces: jax.Array, by: float) -> jax.Array:
    """The vertices (V, 3) moved outwards by a distance, along the mean of their faces' normals, weighed by area."""
    corners = vertices[faces]
    normals = jnp.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
    summed = jnp.zeros_like(vertices)
    for corner in range(3):
        summed = summed.at[faces[:, corner]].add(normals)
    return vertices + by * summed / jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(summed), -1, keepdims=True), SMALL))


def _crossed(origin: jax.Array, direction: jax.Array, corners: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether rays (3, N) pass through a face (3, 3), and at which distances (N,)."""
    a, ab, ac = corners[0], corners[1] - corners[0], corners[2] - corners[0]
    cross = jnp.cross(ab, ac)
    slope = triangles.dot(direction, cross)
    d = [origin[i] - a[i] for i in range(3)]
    # d x direction, in which both edges' coordinates are linear.
    turned = [d[(i + 1) % 3] * direction[(i + 2) % 3] - d[(i + 2) % 3] * direction[(i + 1) % 3] for i in range(3)]
    inverse = jnp.where(jnp.abs(slope) > 0, 1 / slope, jnp.inf)
    v = -triangles.dot(ac, turned) * inverse
    w = triangles.dot(ab, turned) * inverse
    distance = -triangles.dot(cross, d) * inverse
    return (v >= 0) & (w >= 0) & (v + w <= 1) & (distance > 0) & (jnp.abs(slope) > 0), distance


def _shares(points: jax.Array, corners: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How much (...) of its second and third corner the feet of points on the planes of faces have, unclamped.

    Of triple products, which need no foot, and of which nothing but differences of places is subtracted.
    """
    d, ab, ac = (x - corners[..., 0, :] for x in (points, corners[..., 1, :], corners[..., 2, :]))
    cross = jnp.cross(ab, ac)
    square = jnp.maximum(jnp.sum(jnp.square(cross), axis=-1), SMALL * SMALL)
    v, w = (jnp.sum(cross * jnp.cross(x, y), axis=-1) / square for x, y in ((d, ac), (ab, d)))
    return v, w


def _closest(points: jax.Array, corners: jax.Array) -> jax.Array:
    """Barycentrics (..., 3), none negative, of the points of faces that are closest to points."""
    a, b, c = (corners[..., i, :] for i in range(3))
    ab, ac, bc = b - a, c - a, c - b
    v, w = _shares(points, corners)
    s, t, u = (
        jnp.clip(jnp.sum(edge * (points - start), -1) / jnp.maximum(jnp.sum(edge * edge, -1), SMALL), 0.0, 1.0)
        for edge, start in ((ab, a), (ac, a), (bc, b))
    )
    zero = jnp.zeros_like(s)
    places = (1 - v - w, v, w), (1 - s, s, zero), (1 - t, zero, t), (zero, 1 - u, u)
    shares = jnp.stack([jnp.stack(x, axis=-1) for x in places], axis=-2)
    offsets = points[..., None, :] - einsum("...ek,...ki->...ei", shares, corners)
    # The foot first, where it is on the face; a face without an area has edges only.
    allowed = jnp.all(shares >= 0, axis=-1)
    nearest = jnp.argmin(jnp.where(allowed, jnp.sum(jnp.square(offsets), axis=-1), jnp.inf), axis=-1)
    return jnp.take_along_axis(shares, nearest[..., None, None], axis=-2)[..., 0, :]
