"""dnerf_jax: DatasetNeRF in JAX. A pretrained 3D GAN becomes a factory of labelled, 3D-consistent data.

    model = dnerf_jax.load("heads")
    scene = dnerf_jax.synthesize(model, z)
    view = dnerf_jax.render(model, scene, camera)
"""

from dnerf_jax.io.checkpoints import Model, load, save
from dnerf_jax.models.scenes import Scene, View, default_camera, render, synthesize
from dnerf_jax.ops.cameras import Camera, Rays

__all__ = [
    "Camera",
    "Model",
    "Rays",
    "Scene",
    "View",
    "default_camera",
    "load",
    "render",
    "save",
    "synthesize",
]
