"""Triangle meshes of the worlds: their normals, and rays traced against them with Embree, all that is not NumPy."""

from typing import Any

import numpy as np


def structure(vertices: np.ndarray, faces: np.ndarray | None = None) -> Any:
    """Embree's scene of one mesh: `structure(...).run(origins, directions, output=True)` traces rays.

    vertices: (N, 3) with faces (F, 3) of their numbers, or (F, 3, 3), the triangles themselves.

    Raises ImportError, naming the extra, where embreex is not installed.
    """
    try:
        from embreex import mesh_construction, rtcore_scene
    except ImportError as error:
        raise ImportError(f"worlds need embreex ({error}): pip install dnerf_jax[worlds]") from error
    scene = rtcore_scene.EmbreeScene()
    parts = (vertices.astype(np.float32),) if faces is None else (vertices.astype(np.float32), faces)
    mesh_construction.TriangleMesh(scene, *parts)
    return scene


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit area-weighted normals (V, 3) float32 of a triangle mesh."""
    a, b, c = (vertices[faces[:, k]].T for k in range(3))
    (ux, uy, uz), (vx, vy, vz) = b - a, c - a
    flat = (uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)
    normals = np.stack(
        [sum(np.bincount(faces[:, k], component, len(vertices)) for k in range(3)) for component in flat],
        axis=1,
    )
    return (normals / (np.sqrt(np.einsum("vc,vc->v", normals, normals)) + 1e-12)[:, None]).astype(np.float32)


def ambient_occlusion(
    vertices: np.ndarray, normals: np.ndarray, faces: np.ndarray, rays: int = 64, reach: float = 0.12
) -> np.ndarray:
    """Share of the sky (V,) that each vertex sees, cosine-weighted; what is `reach` metres away hides nothing."""
    scene = structure(vertices[faces])
    # Of no stream of `worlds.streams`: the table is made once, and its bytes are to stay.
    generator = np.random.Generator(np.random.PCG64(0))
    origins = (vertices + normals * 1.5e-3).astype(np.float32)
    open_share = np.zeros(len(vertices))
    for _ in range(rays):
        sphere = generator.normal(size=vertices.shape)
        directions = normals + sphere / np.linalg.norm(sphere, axis=1, keepdims=True)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True) + 1e-9
        hit = scene.run(origins, directions.astype(np.float32), output=True)
        open_share += np.where(hit["primID"] < 0, 1.0, np.clip(hit["tfar"] / reach, 0, 1))
    return open_share / rays


def winding_numbers(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """How often a closed mesh goes around points (N, 3): 0 outside, 1 inside, 2 where two of its parts overlap.

    A ray from each point counts the faces that it leaves the mesh by, less those that it enters it by.
    """
    scene = structure(vertices, faces)
    corners = vertices[faces]
    outwards = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    direction = np.float32([0.3826, 0.6533, 0.6532])  # of no edge or face of a body in particular
    left = np.sign(outwards @ direction).astype(int)
    found, at = np.zeros(len(points), int), np.arange(len(points))
    origins = points.astype(np.float32)
    step = np.float32(1e-5 * np.ptp(vertices))
    while len(at):
        hit = scene.run(origins, np.tile(direction, (len(at), 1)), output=True)
        met = hit["primID"] >= 0
        at, face, far = at[met], hit["primID"][met], hit["tfar"][met]
        found[at] += left[face]
        origins = origins[met] + (far + step)[:, None] * direction
    return found
