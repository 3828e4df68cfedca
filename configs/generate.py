"""Makes a small labelled dataset from a trained model.

Command: python -m dnerf_jax.generate --config generate --checkpoint out/heads/model --out out/dataset
Hardware: two CPU cores; seconds per view. Result: a folder per latent, and a contact sheet.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.factory.dataset.Settings documents its fields."""
    return ConfigDict(
        dict(
            seed=0,
            latents=8,
            views=3,
            batch=4,
            yaw=30.0,
            pitch=8.0,
            truncation_psi=1.0,
            voxel_size=0.005,
        )
    )
