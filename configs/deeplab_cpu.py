"""Trains DeepLabV3 of a ResNet-18, from scratch, on images of 128 pixels: what two CPU cores can.

Command: python -m dnerf_jax.downstream --config deeplab_cpu --data out/dataset --workdir out/deeplab
Hardware: two CPU cores; 902 CPU seconds, 24 minutes on two thirds of a core; 1.7 GiB. What came of it is in
docs/downstream.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.segmentation.plan.Settings documents its fields."""
    return ConfigDict(
        dict(
            seed=0,
            network=dict(
                backbone=dict(blocks=(2, 2, 2, 2), bottleneck=False, width=64, output_stride=16),
                num_classes=0,
                width=128,
                pyramid=0,
                dropout=0.1,
            ),
            initial="",
            trained="all",
            resolution=128,
            split="train",
            confident=0.0,
            real="",
            real_share=0.0,
            test=("heads_test", "heads_video"),
            augmentation=dict(
                flip=0.5,
                smallest=0.8,
                largest=1.4,
                shift=1.0,
                brightness=0.2,
                contrast=0.2,
                saturation=0.2,
            ),
            steps=600,
            batch=8,
            optimizer="adamw",
            learning_rate=1e-3,
            warmup_steps=60,
            weight_decay=1e-2,
            save_every=200,
            score_every=200,
        )
    )
