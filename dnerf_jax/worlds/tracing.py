"""Tracing rays against triangle meshes with Embree, the one thing that a world needs beside NumPy."""

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
