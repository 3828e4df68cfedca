"""dnerf_jax: DatasetNeRF in JAX. A pretrained 3D GAN becomes a factory of labelled, 3D-consistent data.

    model = dnerf_jax.load("heads")
    scene = dnerf_jax.synthesize(model, z)
    view = dnerf_jax.render(model, scene, camera)

Names are loaded when they are first used, so that a world's NumPy part, say, is imported without JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dnerf_jax.io.checkpoints import load, save
    from dnerf_jax.io.scene_folders import load_scene
    from dnerf_jax.models.articulated import Pose
    from dnerf_jax.models.model import Model
    from dnerf_jax.models.scenes import Scene, View, default_camera, render, synthesize
    from dnerf_jax.models.shapes import extract_mesh
    from dnerf_jax.ops.cameras import Camera, Rays

# Where every public name comes from: functions and types, then modules, by the names that notebooks import them by.
_NAMES = {
    "load": "io.checkpoints",
    "save": "io.checkpoints",
    "load_scene": "io.scene_folders",
    "Model": "models.model",
    "Pose": "models.articulated",
    "Scene": "models.scenes",
    "View": "models.scenes",
    "default_camera": "models.scenes",
    "render": "models.scenes",
    "synthesize": "models.scenes",
    "extract_mesh": "models.shapes",
    "Camera": "ops.cameras",
    "Rays": "ops.cameras",
}
_MODULES = {
    **dict.fromkeys(
        ("cameras", "triplane", "volume", "labels", "images", "losses", "metrics", "points", "meshes", "consistency"),
        "ops",
    ),
    **dict.fromkeys(("articulated", "generator", "marching", "semantic", "scenes"), "models"),
    **dict.fromkeys(("checkpoints", "packs", "png", "ply", "mesh_files", "pose_files"), "io"),
    **dict.fromkeys(("pictures", "reports"), "viz"),
}
# As they were called before the house had floors.
_FORMER = {
    "scene": "models.scenes",
    "checkpoint": "io.checkpoints",
    "annotations": "io.packs",
    "pointcloud": "ops.points",
    "runs": "training.runs",
    "settings": "cli",
}

__all__ = [
    "Camera",
    "Model",
    "Pose",
    "Rays",
    "Scene",
    "View",
    "default_camera",
    "extract_mesh",
    "load",
    "load_scene",
    "render",
    "save",
    "synthesize",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"dnerf_jax.{_NAMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"dnerf_jax.{_MODULES[name]}.{name}")
    if name == "factory":  # a folder, whose own names are few
        return importlib.import_module("dnerf_jax.factory")
    if name in _FORMER:
        return importlib.import_module(f"dnerf_jax.{_FORMER[name]}")
    raise AttributeError(f"module 'dnerf_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_MODULES})
