"""How far a closed surface is inside of itself: what a pose does where limbs go through each other.

A ray from each vertex counts the faces that it leaves the surface by, less those that it enters it by: its winding
number, 0 outside. Vertices are first moved outwards by a hair, away from their own faces. V vertices and F faces are
those of a triangle mesh; lengths are any. NumPy: nothing is compiled for a few poses.
"""

import numpy as np
from numpy.typing import ArrayLike

HAIR = 0.0025  # of the longest side of the surface's box
# Orthonormal; rays go along the last, which is parallel to no edge or face of a body in particular.
_RAY = np.array([0.3826, 0.6533, 0.6532]) / np.linalg.norm([0.3826, 0.6533, 0.6532])
_ACROSS = np.array([0.0, _RAY[2], -_RAY[1]]) / np.hypot(_RAY[1], _RAY[2])
_AXES = np.stack([_ACROSS, np.cross(_RAY, _ACROSS), _RAY])


def share_inside(vertices: ArrayLike, faces: ArrayLike) -> float:
    """The share, in [0, 1], of the vertices (V, 3) of a closed mesh that are inside of it. faces: (F, 3), outwards."""
    placed, faces = np.asarray(vertices, np.float64) @ _AXES.T, np.asarray(faces)
    hair = HAIR * np.ptp(np.asarray(vertices), axis=0).max()
    points = placed + hair * _outwards(placed, faces)
    points = points[np.argsort(points[:, 0])]
    corners = placed[faces]
    # Of each face the vertices whose rays may meet it: those within its breadth.
    first = np.searchsorted(points[:, 0], corners[..., 0].min(axis=1))
    count = np.searchsorted(points[:, 0], corners[..., 0].max(axis=1)) - first
    face = np.repeat(np.arange(len(faces)), count)
    point = np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)
    low, high = corners[..., 1].min(axis=1), corners[..., 1].max(axis=1)
    near = (points[point, 1] >= low[face]) & (points[point, 1] <= high[face])
    face, point = face[near], point[near]
    # Twice the areas of the triangles between the ray's foot and the edges: of one sign within the face.
    d = corners[face] - points[point, None]
    shares = np.stack([d[:, i, 0] * d[:, j, 1] - d[:, j, 0] * d[:, i, 1] for i, j in ((1, 2), (2, 0), (0, 1))], axis=1)
    within = (shares.min(axis=1) >= 0) | (shares.max(axis=1) <= 0)
    whole = np.sum(shares, axis=1)
    above = np.sum(shares * d[..., 2], axis=1) * whole > 0
    met = within & above
    winding = np.bincount(point[met], np.sign(whole[met]), minlength=len(points))
    return float(np.mean(winding > 0))


def _outwards(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3): the mean of the faces', weighed by area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    of = faces.ravel()
    summed = np.stack([np.bincount(of, np.repeat(flat[:, i], 3), len(vertices)) for i in range(3)], axis=1)
    return summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)
