"""Trains the semantic branch on the 90 labelled views that come with the embedded heads.

Command: python -m dnerf_jax.train --config heads --workdir out/heads
Hardware: two CPU cores; about 4 minutes. Result: mIoU 0.80, accuracy 0.97 (see the README). How it was chosen:
docs/experiments.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.branch.Settings documents its fields."""
    return ConfigDict(
        dict(
            seed=0,
            annotations="heads_train",
            semantic=dict(
                features="hidden+last",
                scales=None,
                channels="all",
                aggregation="none",
                density_prior=True,
                samples_kept=5,
                hidden=64,
                feature_channels=32,
                superresolution_width=32,
            ),
            steps=400,
            views_per_step=4,
            patch=64,
            coarse_dropout=0.5,
            sparsity=0.0,
            class_balance=0.2,
            learning_rate=2e-2,
            final_learning_rate=2e-4,
            save_every=100,
        )
    )
