"""Fits a larger heads backbone, with the batches that a GPU is fed with.

Command: python -m dnerf_jax.pretrain --config heads_backbone_gpu --workdir out/heads_backbone
Hardware: one GPU and 16 CPU cores, 30 GB of disk for the renders. Not run yet: no GPU was at hand, so neither time nor
quality is known. The embedded model is that of heads_backbone_cpu.py.
"""

from ml_collections import ConfigDict

from dnerf_jax import cli


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.pretraining.plan.Settings documents its fields."""
    config = cli.load_config("heads_backbone_cpu")
    config.update(
        generator=dict(w_dim=256, channel_base=8192, channel_max=256, plane_channels=32),
        data=dict(identities=20000, views=3, processes=16),
        steps=12000,
        superresolution_steps=2000,
        refine_at=(1000, 3000),
        identities_per_step=32,
        rays_per_identity=512,
    )
    config.generator.superresolution.widths = (64, 32)
    return config
