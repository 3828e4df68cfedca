"""Trains a semantic branch: python -m dnerf_jax.train --config heads --workdir DIR"""

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, files, folders, label_folders, packs
from dnerf_jax.training import branch, process, runs


def main(config: branch.Settings, workdir: str, checkpoint: str = "") -> None:
    """Trains a semantic branch on labelled views and writes workdir/model.

    workdir: folder of the run; a run that is there is continued
    checkpoint: the generator, a folder or an embedded name; by default the embedded one that the labelled views are of
    """
    with folders.claimed(workdir, known_by=[runs.SETTINGS]) as folder:
        process.prepare()
        model = checkpoints.load(checkpoint or checkpoints.embedded_of(config.annotations))
        print(f"checking the labelled views {config.annotations}", flush=True)
        pack = packs.load(config.annotations, model)
        done = label_folders.labelled(pack)
        if len(done) < len(pack):
            print(f"{len(pack) - len(done)} of {len(pack)} views are not labelled yet: they are left out", flush=True)
        branch.train(config, model, done, folder)
        model_folder = folder / branch.MODEL
        print(f"the model is in {model_folder}; score it: python -m dnerf_jax.evaluate --checkpoint {model_folder} ...")
        if files.located(config.annotations, label_folders.NAME).parent != files.ASSETS:
            print("with --annotations PACK: views with your labels that this training has not seen")


if __name__ == "__main__":
    cli.door(main)
