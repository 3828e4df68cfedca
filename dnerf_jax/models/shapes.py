"""From a scene to a mesh: its surface, coloured and labelled by what the generator and the branch say of every point.

    mesh = extract_mesh(model, scene)                  # then io.mesh_files.save("head.glb", mesh)

Colours are those of the neural rendering, which super-resolution has not touched; labels are the raw semantic map's, or
those of masks: `meshes.with_labels_of_views`. What no view in training showed, such as the back of a head that was seen
from the front, is some surface all the same: generators mirror the face there.
"""

import jax
import numpy as np

from dnerf_jax.models import generator, scenes, semantic
from dnerf_jax.models.model import Model
from dnerf_jax.models.scenes import Scene
from dnerf_jax.ops import meshes
from dnerf_jax.ops.meshes import Mesh


def extract_mesh(model: Model, scene: Scene, *, resolution: int = 128, level: float | None = None) -> Mesh:
    """The mesh of one scene in world units, with colours and, where there is a semantic branch, labels.

    Args:
      resolution: points of the grid along each side of the tri-plane's box.
      level: raw density of the surface; None is `meshes.surface_level()`.

    Raises ValueError: `scene` is a batch, was made by another model, or has no surface at this level; ImportError
    without the extra `meshes`.
    """
    scenes.check(model, scene)
    if scene.batch_shape:
        raise ValueError(f"the scene is a batch of shape {scene.batch_shape}, expected one: index it, scene[0]")
    config = model.generator.config

    def density(points: np.ndarray) -> jax.Array:
        return _decode(model.generator, scene.planes, points)[0]

    def colors(points: np.ndarray) -> jax.Array:
        return _decode(model.generator, scene.planes, points)[1][:, :3] * 2 - 1

    box = config.rendering.box_warp
    mesh = meshes.largest_part(meshes.from_density(density, box_side=box, resolution=resolution, level=level))
    mesh = meshes.with_colors(mesh, colors)
    branch, label_map = model.semantic, model.label_map
    if branch is None or label_map is None:
        return mesh
    planes = scene.semantic_planes

    def labels(points: np.ndarray) -> np.ndarray:
        return np.asarray(_classify(branch, config, planes, points)).argmax(-1).astype(np.uint8)

    return meshes.with_labels(mesh, labels, label_map)


_decode, _classify = jax.jit(generator.decode), jax.jit(semantic.classify, static_argnums=1)
