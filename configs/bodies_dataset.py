"""Makes a labelled dataset of bodies: 200 identities in four views each, from all around, in poses of the generator's.

Command: python -m dnerf_jax.generate --config bodies_dataset --checkpoint out/bodies/model --out out/bodies_dataset
Hardware: any.
"""

from ml_collections import ConfigDict

from dnerf_jax import cli


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.factory.plan.Plan documents its fields."""
    config = cli.load_config("heads_dataset")
    config.viewpoints.update(yaw=180.0, pitch=15.0)
    return config
