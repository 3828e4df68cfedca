"""Trains an encoder, which inversions start from: python -m dnerf_jax.encode --config heads_encoder --workdir DIR"""

from dnerf_jax import cli
from dnerf_jax.io import folders
from dnerf_jax.training import process, runs
from dnerf_jax.training.encoders import learning


def main(config: learning.Settings, workdir: str, checkpoint: str = "heads") -> None:
    """Renders views of random latents, and learns to tell latent and camera from them; writes workdir/encoder.

    workdir: folder of the run; a run that is there is continued
    checkpoint: the generator whose images it is to know
    """
    with folders.claimed(workdir, known_by=[runs.SETTINGS]) as folder:
        process.prepare()
        learning.learn(config, checkpoint, folder)


if __name__ == "__main__":
    cli.door(main)
