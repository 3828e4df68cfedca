"""Trains a narrow PointNet on clouds of 512 points: what two CPU cores can.

Command: python -m dnerf_jax.downstream --config pointnet_cpu --data out/dataset --workdir out/pointnet
Hardware: two CPU cores; some 80 seconds (docs/points.md).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.points.plan.Settings documents its fields."""
    return ConfigDict(
        dict(
            seed=0,
            network=dict(
                num_classes=0,
                widths=(32, 64, 64, 128, 256),
                head=(64, 64, 32),
                transform=(16, 32, 128, 64, 32),
                dropout=0.1,
            ),
            points=512,
            split="train",
            also="",
            test=(),
            augmentation=dict(turn=15.0, smallest=0.8, largest=1.25, jitter=0.01),
            orthogonality=1e-3,
            steps=600,
            batch=8,
            optimizer="adamw",
            learning_rate=3e-3,
            warmup_steps=20,
            weight_decay=1e-4,
            save_every=200,
        )
    )
