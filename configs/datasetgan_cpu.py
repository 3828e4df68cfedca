"""DatasetGAN on the heads world, at 128 pixels: what a CPU core can.

A pixel has 728 features, as many as our branch's default has on the embedded heads (all blocks' activations and the
last planes, `hidden+last`): 3 x 168 + 128 + 64 + 32.

Command: python -m dnerf_jax.datasetgan --config datasetgan_cpu --workdir out/datasetgan
Hardware: one CPU core: 16 minutes to render the views, an hour for the distillation; resumable. What came of it:
docs/downstream.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.datasetgan.plan.Settings documents its fields."""
    return ConfigDict(
        dict(
            seed=0,
            labelled="heads_train",
            generator=dict(
                z_dim=52,
                w_dim=256,
                mapping_layers=2,
                resolution=128,
                channel_base=4096,
                channel_max=168,
                conv_clamp=256.0,
            ),
            data=dict(identities=12000, held_out=64, processes=1),
            steps=3000,
            batch=12,
            refine_at=(1200, 2000),
            learning_rate=1e-2,
            final_learning_rate=3e-4,
            warmup_steps=50,
            style_init=0.1,
            mapping_boost=100.0,
            ema_decay=0.998,
            color_weight=10.0,
            gradient_weight=0.2,
            save_every=200,
            sheet_every=300,
            ensemble=dict(
                members=10,
                widths=(128, 32),
                pixels=4096,
                steps=2000,
                batch=256,
                learning_rate=1e-3,
            ),
            dropped=0.1,
            test=("heads_test", "heads_video"),
        )
    )
