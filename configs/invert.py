"""Finds the scene of a photo or a mask: latent and pose, and what they leave is tuned.

Command: python -m dnerf_jax.invert --config invert --checkpoint heads --image photo.png --out out/inversion
Hardware: two CPU cores; two minutes, of which z takes 50 seconds. Views of the generator itself are found by z
alone (--config.stages="('z',)"), to 40 dB; `tune` after the others fits a photo closer. Masks of other heads are
met to 0.81 to 0.90 mIoU.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.inversion.plan.Settings documents its fields."""
    rays = dict(rays=1024, whole=False, perceptual=0.0, staying=0.0, patience=0, newton=0)
    return ConfigDict(
        dict(
            seed=0,
            stages=("z", "w", "w+"),
            free=("yaw", "pitch"),
            encoder=True,
            candidates=8,
            restarts=2,
            trial_steps=20,
            yaw=45.0,
            pitch=20.0,
            class_balance=0.2,
            whole_masks=True,
            z=rays | dict(steps=40, learning_rate=5e-2, camera_learning_rate=1e-2, newton=10),
            w=rays | dict(steps=60, learning_rate=2e-2, camera_learning_rate=2e-3),
            wplus=rays | dict(steps=160, learning_rate=1e-2, camera_learning_rate=1e-3, staying=1e-3),
            tune=rays
            | dict(steps=40, learning_rate=1e-3, camera_learning_rate=0.0, whole=True, perceptual=1e-3, staying=5.0),
        )
    )
