"""EG3D's network pickles to checkpoints of dnerf_jax: `python -m converters.eg3d NETWORK.pkl --out DIR`.

Nothing in the pickle is executed and PyTorch is not needed (see `pickles`). The checkpoint has all that the
network needs: weights, average w, noise, clamps, rendering options, plane axes; it loads with
`dnerf_jax.load(DIR)`.
"""

import argparse
import hashlib
import os
import pathlib
import sys

from converters import layout, pickles
from converters.architecture import config_from, require_generator
from converters.pickles import Record
from dnerf_jax.io import checkpoints
from dnerf_jax.models import generator

NVIDIA_LICENSE = "NVIDIA Source Code License for EG3D: non-commercial, research and evaluation use only"
UNKNOWN_LICENSE = (
    f"unknown; check the origin (weights that NVIDIA published are under its {NVIDIA_LICENSE[7:]})"
)

# The files that NVIDIA published, by name: their licence is known.
_PUBLISHED = (
    *("ffhq512-64.pkl", "ffhq512-128.pkl", "ffhqrebalanced512-64.pkl", "ffhqrebalanced512-128.pkl"),
    *("afhqcats512-128.pkl", "shapenetcars128-64.pkl"),
)


def read_network(path: str | os.PathLike, network: str = "G_ema") -> Record:
    """Return the record of one network in an EG3D pickle: "G_ema" (the one to use) or "G".

    Raises ValueError if the file cannot be read without executing something, or has no EG3D generator of that
    name.
    """
    content = pickles.read(path)
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, expected the dict of networks that EG3D writes"
        )
    if network not in content:
        if content and all(hasattr(value, "shape") for value in content.values()):
            require_generator(content)
        keys = ", ".join(map(str, list(content)[:8])) or "nothing"
        raise ValueError(f"{path} has no network {network}; it has {keys}: name one with --network")
    try:
        require_generator(content[network])
    except ValueError as error:
        raise ValueError(f"{path}, {network}: {error}") from None
    return content[network]


def convert(network: Record, *, info: dict[str, str] | None = None) -> checkpoints.Model:
    """Return the model of a pickled EG3D generator: configuration, and float32 tensors in Flax's layout.

    Raises ValueError that lists all attributes, or else all tensors, that do not fit.
    """
    config = config_from(network)
    variables = layout.to_variables(network.state_dict(), generator.abstract_variables(config))
    return checkpoints.Model(config=config, variables=variables, info=tuple((info or {}).items()))


def provenance(path: str | os.PathLike, network: str, license: str | None = None) -> dict[str, str]:
    """Return what a checkpoint records of its origin: file name, SHA-256, network, licence."""
    path = pathlib.Path(path)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if license is None:
        license = NVIDIA_LICENSE if path.name in _PUBLISHED else UNKNOWN_LICENSE
    return {"origin": path.name, "origin_sha256": digest, "network": network, "license": license}


def main(argv: list[str] | None = None) -> int:
    """Convert one file; print what was written and under which licence. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m converters.eg3d", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument(
        "pickle", metavar="NETWORK.pkl", help="a network pickle of EG3D's training or publication"
    )
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="the checkpoint to write; must not exist yet"
    )
    parser.add_argument("--network", default="G_ema", help="which network of the file (default: %(default)s)")
    parser.add_argument(
        "--license", help="licence of the weights, recorded with them (default: by the file's name)"
    )
    args = parser.parse_args(argv)
    try:
        if os.path.exists(args.out) and (not os.path.isdir(args.out) or os.listdir(args.out)):
            raise ValueError(f"{args.out} exists and is not empty: give another --out, or remove it first")
        network = read_network(args.pickle, args.network)
        model = convert(network, info=provenance(args.pickle, args.network, args.license))
        checkpoints.save(args.out, model)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(summary(model))
    print(f"written to {args.out}")
    return 0


def summary(model: checkpoints.Model) -> str:
    """Return a few lines for people: the sizes, how the network renders, origin and licence."""
    config, rendering = model.config, model.config.rendering
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


if __name__ == "__main__":
    sys.exit(main())
