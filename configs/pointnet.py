"""Trains PointNet for parts, of its authors' size, on clouds of 2,048 points.

Command: python -m dnerf_jax.downstream --config pointnet --data out/dataset --workdir out/pointnet
Hardware: a GPU; it was not run yet. Two CPU cores take configs/pointnet_cpu.py.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.points.plan.Settings documents its fields."""
    return ConfigDict(
        dict(
            seed=0,
            network=dict(
                num_classes=0,
                widths=(64, 128, 128, 512, 2048),
                head=(256, 256, 128),
                transform=(64, 128, 1024, 512, 256),
                dropout=0.3,
            ),
            points=2048,
            split="train",
            also="",
            test=(),
            augmentation=dict(turn=15.0, smallest=0.8, largest=1.25, jitter=0.01),
            orthogonality=1e-3,
            steps=10_000,
            batch=32,
            optimizer="adamw",
            learning_rate=1e-3,
            warmup_steps=200,
            weight_decay=1e-4,
            save_every=1000,
        )
    )
