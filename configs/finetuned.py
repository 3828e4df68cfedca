"""Fine-tunes EfficientNet-Lite0 of ImageNet with a feature pyramid: eyes, noses and lips on two CPU cores.

Command, after that of configs/transfer.py which converts the weights:
    python -m dnerf_jax.downstream --config finetuned --data out/dataset --workdir out/finetuned \\
        --config.initial=out/efficientnet
Hardware: two CPU cores; 12 to 20 CPU minutes, 2 to 3 GiB. What came of it is in docs/downstream.md.
"""

from ml_collections import ConfigDict

from dnerf_jax import cli


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.segmentation.plan.Settings documents its fields."""
    config = cli.load_config("transfer")
    config.network.backbone.output_stride = 32
    config.network.pyramid = 64
    config.steps = 1200
    config.warmup_steps = 40
    return config
