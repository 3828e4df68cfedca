"""Trains the paper's DeepLabV3: a ResNet-101, from scratch, on 10,000 generated pairs (section 5.1).

Command: python -m dnerf_jax.downstream --config deeplab --data out/dataset --workdir out/deeplab
with a dataset of `python -m dnerf_jax.generate --config heads_dataset --config.num_identities=10000
--config.views_per_identity=1 --config.modalities="('image','mask')" --config.splits="(('train',1),)" ...`.
Hardware: one GPU of 24 GB or more. Not run yet: no GPU was at hand, so neither time nor quality is known. The paper
gives no more than network and number of pairs; the other numbers are ours. What two CPU cores can is deeplab_cpu.py.
"""

from ml_collections import ConfigDict

from dnerf_jax import cli


def get_config() -> ConfigDict:
    """The configuration; dnerf_jax.training.segmentation.plan.Settings documents its fields."""
    config = cli.load_config("deeplab_cpu")
    config.update(
        network=dict(
            backbone=dict(blocks=(3, 4, 23, 3), bottleneck=True, output_stride=16),
            width=256,
            pyramid=0,
            dropout=0.5,
        ),
        resolution=256,
        steps=30000,
        batch=16,
        optimizer="sgd",
        learning_rate=1e-2,
        warmup_steps=1000,
        weight_decay=1e-4,
        save_every=1000,
        score_every=1000,
    )
    return config
