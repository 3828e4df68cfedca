"""The feature baseline of figure S13: classes linear in DINOv2's frozen features, of the same 90 labels.

Commands, with a file of DINOv2's ViT-S/14, which has to be at hand:
    python -m converters.dinov2 dinov2_vits14_pretrain.pth --out out/dinov2_vits14
    python -m dnerf_jax.downstream --config dinov2 --data heads_train --workdir out/dinov2 \\
        --config.initial=out/dinov2_vits14
Hardware: any. It has not run with the published weights, which were not at hand.
"""

from ml_collections import ConfigDict

from dnerf_jax import cli


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.segmentation.plan.Settings documents its fields."""
    config = cli.load_config("transfer")
    del config.network
    config.update(
        network=dict(
            backbone=dict(width=384, depth=12, heads=6, grid=37, output_stride=14),
            num_classes=0,
            width=0,
            pyramid=0,
            dropout=0.1,
        ),
        trained="last",
        resolution=224,
        learning_rate=1e-2,
    )
    return config
