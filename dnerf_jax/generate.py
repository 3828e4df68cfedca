"""Makes labelled data: python -m dnerf_jax.generate --config generate --checkpoint DIR --out DIR"""

from pathlib import Path

from ml_collections import ConfigDict

from dnerf_jax import cli
from dnerf_jax.factory import dataset
from dnerf_jax.io import checkpoints
from dnerf_jax.training import process


def main(config: ConfigDict, checkpoint: str, out: str) -> None:
    """Generates images, masks, depth, cameras and labelled point clouds.

    checkpoint: folder of the model, or an embedded name
    out: folder of the dataset; latents that are there are kept
    """
    settings = cli.as_dataclass(config, dataset.Settings)
    process.prepare()
    model = checkpoints.load(checkpoint)
    rows = process.rows_at_once(model, views=settings.batch)
    dataset.generate(settings, model, Path(out), rows_at_once=rows)


if __name__ == "__main__":
    cli.door(main)
