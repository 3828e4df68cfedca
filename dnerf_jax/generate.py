"""Makes labelled data: python -m dnerf_jax.generate --config generate --checkpoint DIR --out DIR"""

from dnerf_jax import cli
from dnerf_jax.factory import dataset
from dnerf_jax.io import checkpoints, folders
from dnerf_jax.training import process


def main(config: dataset.Settings, checkpoint: str, out: str) -> None:
    """Generates images, masks, depth, cameras and labelled point clouds.

    checkpoint: folder of the model, or an embedded name
    out: folder of the dataset; latents that are there are kept
    """
    with folders.claimed(out, known_by=[dataset.DESCRIPTION]) as folder:
        process.prepare()
        model = checkpoints.load(checkpoint)
        dataset.generate(config, model, folder, rows_at_once=process.rows_at_once(model, views=config.batch))


if __name__ == "__main__":
    cli.door(main)
