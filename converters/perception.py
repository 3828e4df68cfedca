"""Perceptual networks from the usual PyTorch files: `python -m converters.perception NETWORK.pth --out DIR`.

NETWORK.pth is torchvision's VGG16 (vgg16-397923af.pth) or SqueezeNet 1.1 (squeezenet1_1-b8a52dc0.pth); `--linear` takes
the weights of the channels that LPIPS learned on top of the same network (vgg.pth or squeeze.pth of the package lpips,
weights/v0.1). With them distances are LPIPS's own. Nothing in the files is executed and PyTorch is not needed (see
`pickles`).

    features.0.weight (O, I, h, w)    network/conv1_1/kernel (h, w, I, O)      features.N: N counts ReLUs and pools too
    features.3.squeeze.bias (O,)      network/fire2/squeeze1x1/bias (O,)
    lin0.model.1.weight (1, C, 1, 1)  linear/0 (C,)
"""

import os
from collections.abc import Mapping

import numpy as np
from flax import traverse_util

from dnerf_jax import cli
from dnerf_jax.io import loss_networks
from dnerf_jax.models import perception
from dnerf_jax.models.perception import Perception, PerceptionConfig
from dnerf_jax.networks.squeezenet import SqueezeNetConfig
from dnerf_jax.networks.vgg import VGGConfig

from . import archives
from .refusals import naming
from .states import filled, read_state

# Of red, green and blue from 0 to 1, what torchvision's networks were trained with.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FIRES = (3, 4, 6, 7, 9, 10, 11, 12)
_CLASSIFIER = ("classifier.",)


def convert(
    state: Mapping[str, np.ndarray],
    linear: Mapping[str, np.ndarray] | None = None,
    *,
    network: VGGConfig | SqueezeNetConfig | None = None,
) -> Perception:
    """The perceptual network of torchvision's state dict, with LPIPS's weights where they are given.

    network: which it is, and its sizes; None tells VGG16 from SqueezeNet 1.1 by the names of tensors.

    Raises ValueError that lists tensors that are missing, too many, not finite or of another shape.
    """
    if network is None:
        network = SqueezeNetConfig() if any(".squeeze." in name for name in state) else VGGConfig()
    config = PerceptionConfig(
        network=network,
        mean=tuple(2 * mean - 1 for mean in MEAN),  # type: ignore[arg-type]
        deviation=tuple(2 * deviation for deviation in DEVIATION),  # type: ignore[arg-type]
        calibrated=linear is not None,
    )
    wanted = traverse_util.flatten_dict(perception.abstract(config).params, sep="/")
    tensors = dict(state)
    if linear is not None:
        tensors |= linear
    params = filled(wanted, tensors, lambda name: torch_name(network, name), unused=_CLASSIFIER)
    if any(name.startswith("linear/") and (value < 0).any() for name, value in params.items()):
        raise ValueError("LPIPS's weights are negative in places, expected at least 0: is it another file?")
    return Perception(config, traverse_util.unflatten_dict(params, sep="/"))


def torch_name(network: VGGConfig | SqueezeNetConfig, name: str) -> str:
    """torchvision's, or LPIPS's, name of a parameter such as "network/conv1_1/kernel"."""
    part, *path = name.split("/")
    if part == "linear":
        return f"lin{path[0]}.model.1.weight"
    kind = {"kernel": "weight", "bias": "bias"}[path[-1]]
    if isinstance(network, VGGConfig):
        block, layer = (int(number) for number in path[0].removeprefix("conv").split("_"))
        # Each convolution has a ReLU behind it, each block a pool.
        number = sum(2 * depth + 1 for depth in network.depths[: block - 1]) + 2 * (layer - 1)
        return f"features.{number}.{kind}"
    if path[0] == "conv1":
        return f"features.0.{kind}"
    fire = _FIRES[int(path[0].removeprefix("fire")) - 2]
    return f"features.{fire}.{path[1].replace('squeeze1x1', 'squeeze')}.{kind}"


def main(file: str, /, out: str, linear: str | None = None, license: str | None = None, dtype: str = "float32") -> None:
    """Converts one network; prints what was written.

    file: torchvision's vgg16-397923af.pth or squeezenet1_1-b8a52dc0.pth
    out: the folder to write; must not have content yet
    linear: LPIPS's weights for the same network, vgg.pth or squeeze.pth
    license: licence of the weights, recorded with them
    dtype: of the arrays on the disk: float32, float16 or int8
    """
    with naming(file):
        network = convert(read_state(file), None if linear is None else read_state(linear))
    info = {"origin": os.path.basename(file), "origin_sha256": archives.sha256(file)}
    if linear is not None:
        info |= {"linear": os.path.basename(linear), "linear_sha256": archives.sha256(linear)}
    info["license"] = license or "unknown; check the origin"
    loss_networks.save(out, network, info=info, dtype=dtype)
    name = type(network.config.network).__name__.removesuffix("Config")
    print(f"{name}, {'with' if linear else 'without'} LPIPS's weights, as {dtype} written to {out}")


if __name__ == "__main__":
    cli.door(main)
