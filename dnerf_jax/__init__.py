"""dnerf_jax: DatasetNeRF in JAX. A pretrained 3D GAN becomes a factory of labelled, 3D-consistent data.

    model = dnerf_jax.load("heads")
    scene = dnerf_jax.synthesize(model, z)
    view = dnerf_jax.render(model, scene, camera)
"""

from dnerf_jax.cameras import Camera, Rays
from dnerf_jax.checkpoint import Model, load, save
from dnerf_jax.scene import Scene, View, default_camera, render, synthesize

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
