"""From a scene to a mesh: its surface, coloured and labelled by what the generator and the branch say of every point.

    mesh = extract_mesh(model, scene)                  # then io.mesh_files.save("head.glb", mesh)

Colours are those of the neural rendering, which super-resolution has not touched; labels are the raw semantic map's, or
those of masks: `meshes.with_labels_of_views`. What no view in training showed, such as the back of a head that was seen
from the front, is some surface all the same: generators mirror the face there.
"""

import dataclasses

import jax
import numpy as np
from jax.typing import ArrayLike

from dnerf_jax.models import articulated, generator, scenes, semantic
from dnerf_jax.models.model import Model
from dnerf_jax.models.scenes import Scene
from dnerf_jax.ops import meshes
from dnerf_jax.ops.meshes import Mesh


def extract_mesh(
    model: Model, scene: Scene, *, resolution: int = 128, level: float | None = None, canonical: bool = False
) -> Mesh:
    """The mesh of one scene in world units, with colours and, where there is a semantic branch, labels.

    Of a body it is extracted from the canonical world, within the shell, and carried into the scene's pose.

    Args:
      resolution: points of the grid along each side of the tri-plane's box.
      level: raw density of the surface; None is `meshes.surface_level()`.
      canonical: leaves a body in its canonical pose: vertex i is the same point in all poses of a scene.

    Raises ValueError: `scene` is a batch, was made by another model, or has no surface at this level; ImportError
    without the extra `meshes`.
    """
    scenes.check(model, scene)
    if scene.batch_shape:
        raise ValueError(f"the scene is a batch of shape {scene.batch_shape}, expected one: index it, scene[0]")
    config = model.generator.config

    def density(points: np.ndarray) -> ArrayLike:
        found = _decode(model.generator, scene.planes, points)[0]
        return found if scene.body is None else _within_shell(model, scene, points, np.asarray(found))

    def colors(points: np.ndarray) -> jax.Array:
        return _decode(model.generator, scene.planes, points)[1][:, :3] * 2 - 1

    box = config.rendering.box_warp
    mesh = meshes.largest_part(meshes.from_density(density, box_side=box, resolution=resolution, level=level))
    mesh = meshes.with_colors(mesh, colors)
    branch, label_map = model.semantic, model.label_map
    if branch is not None and label_map is not None:
        planes = scene.semantic_planes

        def labels(points: np.ndarray) -> np.ndarray:
            return np.asarray(_classify(branch, config, planes, points)).argmax(-1).astype(np.uint8)

        mesh = meshes.with_labels(mesh, labels, label_map)
    if scene.body is None or canonical:
        return mesh
    return dataclasses.replace(mesh, vertices=np.asarray(_to_posed(model, scene, mesh.vertices)[0]))


def _within_shell(model: Model, scene: Scene, points: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Raw density (N,) of canonical points (N, 3), without what is beyond a body's shell; asked where there is any."""
    some = np.flatnonzero(density > 0)
    # Few sizes, for each is compiled.
    padded = np.zeros((1 << max(len(some) - 1, 0).bit_length(), 3), np.float32)
    padded[: len(some)] = points[some]
    beyond = ~np.asarray(_to_posed(model, scene, padded)[1])[: len(some)]
    density = density.copy()
    density[some[beyond]] -= articulated.EMPTY
    return density


_decode, _classify = jax.jit(generator.decode), jax.jit(semantic.classify, static_argnums=1)
_to_posed = jax.jit(scenes.to_posed)
