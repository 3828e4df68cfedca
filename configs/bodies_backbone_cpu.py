"""Fits a bodies backbone: a small articulated EG3D, from z ~ N(0, I) to the renders of the bodies world.

Command: python -m dnerf_jax.pretrain --config bodies_backbone_cpu --workdir out/bodies_backbone
Hardware: two CPU cores, some three hours beside other work: 70 minutes for the first stage, 25 for the second, half an
hour for the third, and the renders (5.5 GB) before. `docs/bodies.md` has the scores and what was done otherwise.

The planes are those of the mean body in the canonical pose, so the rays' stages see every latent's clothes, hair and
colours on it, from all sides, and nothing has to be deformed; how a latent's own body is shaped is told from w. The
third stage and the scores are of bodies in their own shape and in poses.
"""

from ml_collections import ConfigDict

from dnerf_jax import cli


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.pretraining.plan.Settings documents its fields."""
    config = cli.load_config("heads_backbone_cpu")
    config.update(
        world="bodies",
        data=dict(identities=6000, views=2, held_out=100, posed=1300),
        steps=3000,
        finish_steps=900,
        superresolution_steps=400,
        superresolution_views=600,
        refine_at=(600, 1800),
        shape_weight=0.1,
    )
    config.generator.z_dim = 40
    config.generator.rendering.update(
        ray_start=2.15,
        ray_end=3.25,
        box_warp=0.92,
        avg_camera_focal=2.05,
        metres_per_unit=2.0,
    )
    return config
