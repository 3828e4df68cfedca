"""Other labels for a dataset: python -m dnerf_jax.relabel --dataset DIR --checkpoint DIR --out DIR"""

import warnings
from pathlib import Path

from dnerf_jax import cli
from dnerf_jax.factory import description
from dnerf_jax.factory.cards import card
from dnerf_jax.factory.checks import relabelling, rerendering
from dnerf_jax.io import folders


def main(dataset: str, out: str, checkpoint: str = "", labelmap: str = "") -> None:
    """Writes a dataset as another one with other labels; pictures, depth and cameras are copied byte for byte.

    dataset: folder that dnerf_jax.generate wrote
    out: folder of the new one; what is there of it is kept
    checkpoint: the same generator with the branch that gives the new labels
    labelmap: a JSON file of new names by old ones, {"hair": "head", "nose": "head"}; of one name becomes one class
    """
    if Path(dataset).resolve() == Path(out).resolve():
        raise ValueError(f"--out is the dataset itself, {out}: name another folder")
    with folders.claimed(out, known_by=[description.NAME, description.LABEL_MAP]):
        for warning in rerendering.in_a_worker(relabelling.run, dataset, out, checkpoint, labelmap):
            warnings.warn(warning, stacklevel=1)
        card.write(Path(out))
    print(f"relabelled: {out}")


if __name__ == "__main__":
    cli.door(main)
