"""EG3D's network pickles to checkpoints of dnerf_jax: `python -m converters.eg3d NETWORK.pkl --out DIR`.

Nothing in the pickle is executed and PyTorch is not needed (see `pickles`). The checkpoint has all that the
network needs: weights, average w, noise, clamps, rendering options, plane axes; it loads with
`dnerf_jax.load(DIR)`.
"""

import hashlib
import os
import pathlib

from dnerf_jax import cli
from dnerf_jax.io import checkpoints
from dnerf_jax.models import generator
from dnerf_jax.models.model import Model
from dnerf_jax.ops.messages import some

from . import layout, pickles
from .architecture import config_from, require_generator
from .pickles import Record

NVIDIA_LICENSE = "NVIDIA Source Code License for EG3D: non-commercial, research and evaluation use only"
UNKNOWN_LICENSE = f"unknown; check the origin (weights that NVIDIA published are under its {NVIDIA_LICENSE[7:]})"

# The files that NVIDIA published, by name: their licence is known.
_PUBLISHED = (
    *("ffhq512-64.pkl", "ffhq512-128.pkl", "ffhqrebalanced512-64.pkl", "ffhqrebalanced512-128.pkl"),
    *("afhqcats512-128.pkl", "shapenetcars128-64.pkl"),
)


def read_network(path: str | os.PathLike, network: str = "G_ema") -> Record:
    """The record of one network in an EG3D pickle: "G_ema" (the one to use) or "G".

    Raises ValueError if the file cannot be read without executing something, or has no EG3D generator of that
    name.
    """
    content = pickles.read(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected the dict of networks that EG3D writes")
    if network not in content:
        if content and all(hasattr(value, "shape") for value in content.values()):
            require_generator(content)
        raise ValueError(
            f"{path} has no network {network}; it has {some(content) or 'nothing'}: name one with --network"
        )
    try:
        require_generator(content[network])
    except ValueError as error:
        raise ValueError(f"{path}, {network}: {error}") from None
    return content[network]


def convert(network: Record, *, info: dict[str, str] | None = None) -> Model:
    """The model of a pickled EG3D generator: configuration, and float32 tensors in Flax's layout.

    Raises ValueError that lists all attributes, or else all tensors, that do not fit.
    """
    abstract = generator.abstract(config_from(network))
    variables = layout.to_variables(network.state_dict(), abstract.variables)
    return Model(generator=abstract.replace(variables=variables), info=tuple((info or {}).items()))


def provenance(path: str | os.PathLike, network: str, license: str | None = None) -> dict[str, str]:
    """What a checkpoint records of its origin: file name, SHA-256, network, licence."""
    path = pathlib.Path(path)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if license is None:
        license = NVIDIA_LICENSE if path.name in _PUBLISHED else UNKNOWN_LICENSE
    return {"origin": path.name, "origin_sha256": digest, "network": network, "license": license}


def summary(model: Model) -> str:
    """A few lines for people: the sizes, how the network renders, origin and licence."""
    config, rendering = model.generator.config, model.generator.config.rendering
    size = config.plane_resolution
    samples = f"{rendering.depth_resolution} + {rendering.depth_resolution_importance}"
    lines = [
        f"planes         3 x {config.plane_channels} x {size} x {size}, box {rendering.box_warp}",
        f"rays           {rendering.ray_start} to {rendering.ray_end}, {samples} samples,"
        f" at {config.neural_rendering_resolution} x {config.neural_rendering_resolution}",
        f"image          {config.image_resolution} x {config.image_resolution}",
        *(f"{key:14} {value}" for key, value in model.info),
    ]
    return "\n".join(lines)


def main(pickle: str, /, out: str, network: str = "G_ema", license: str | None = None) -> None:
    """Converts one file; prints what was written and under which licence.

    pickle: a network pickle of EG3D's training or publication
    out: the checkpoint to write; must not exist yet
    network: which network of the file
    license: licence of the weights, recorded with them; by default told from the file's name
    """
    folder = pathlib.Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{out} exists and is not empty: give another --out, or remove it first")
    model = convert(read_network(pickle, network), info=provenance(pickle, network, license))
    checkpoints.save(out, model)
    print(summary(model))
    print(f"written to {out}")


if __name__ == "__main__":
    cli.door(main)
