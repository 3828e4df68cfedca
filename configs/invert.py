"""Finds the latent and the pose of a photo or a mask.

Command: python -m dnerf_jax.invert --config invert --checkpoint heads --image photo.png --out out/inversion
Hardware: two CPU cores; 40 seconds for the embedded heads. Result: latent, pose, and input beside reconstruction.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.inversion.Settings documents its fields."""
    return ConfigDict(
        dict(
            seed=0,
            steps=150,
            candidates=48,
            rendering_resolution=32,
            learning_rate=5e-2,
            pose_learning_rate=1e-2,
            yaw=35.0,
            pitch=15.0,
        )
    )
