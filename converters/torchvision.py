"""ResNets and DeepLabV3 from torchvision's files: `python -m converters.torchvision FILE.pth --out DIR`.

FILE.pth is a state dict of a ResNet (resnet18-f37072fd.pth, resnet50-..., resnet101-...) or of a DeepLabV3 on one
(deeplabv3_resnet50_coco-..., deeplabv3_resnet101_coco-...). Which it is, and its sizes, follow from the names of its
tensors and their shapes. Nothing in the file is executed and PyTorch is not needed (see `pickles`).

    conv1.weight (O, I, h, w)              params/backbone/conv1/kernel (h, w, I, O)
    layer1.0.bn1.running_var (O,)          batch_stats/backbone/layer1_0/bn1/var (O,)
    layer2.0.downsample.0.weight           params/backbone/layer2_0/downsample_conv/kernel
    classifier.0.convs.1.0.weight          params/aspp1_conv/kernel         of DeepLab, whose ResNet is "backbone."
    aux_classifier...                      left out: a second head that only helped its training
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from flax import traverse_util

from dnerf_jax import cli
from dnerf_jax.io import networks
from dnerf_jax.models import classifiers, segmenters
from dnerf_jax.models.classifiers import Classifier, ClassifierConfig
from dnerf_jax.models.segmenters import Segmenter, SegmenterConfig
from dnerf_jax.networks.deeplab import DeepLabConfig
from dnerf_jax.networks.resnet import ResNetConfig
from dnerf_jax.ops.messages import some

from . import archives
from .refusals import naming, shown
from .states import filled, read_state

# By their blocks, and whether these are bottlenecks.
NAMES = {
    ((2, 2, 2, 2), False): "ResNet-18",
    ((3, 4, 6, 3), False): "ResNet-34",
    ((3, 4, 6, 3), True): "ResNet-50",
    ((3, 4, 23, 3), True): "ResNet-101",
    ((3, 8, 36, 3), True): "ResNet-152",
}
# Kinds of parameters, and torch's names of them.
PARTS = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_HEAD = {"pool": "classifier.0.convs.4.", "project": "classifier.0.project.", "head": "classifier."}
_FIRST = {"pool": 1, "head": 1}  # what the convolution is in its list; batch norm follows it
_COUNTS = ".num_batches_tracked"  # that torch keeps and nothing reads


def convert(state: Mapping[str, np.ndarray], network: ResNetConfig | None = None) -> Classifier | Segmenter:
    """The network of torchvision's state dict.

    network: blocks and width of its ResNet, where they are none of NAMES.

    Raises ValueError: it is of no such network, or (listing them) tensors are missing, too many, not finite or of
    another shape.
    """
    segments = any(name.startswith("backbone.") for name in state)
    prefix = "backbone." if segments else ""
    network = network or recognized(state, prefix)
    last = state.get("classifier.4.weight" if segments else "fc.weight")
    if not isinstance(last, np.ndarray) or last.ndim < 2 or not 1 <= len(last) <= 10_000:
        wanted = "classifier.4.weight of DeepLabV3" if segments else "fc.weight of a ResNet"
        raise ValueError(f"{wanted} is {shown(last)}: expected the classifier of torchvision's network")
    made: Classifier | Segmenter
    if segments:
        made = _segmenter(state, network, len(last))
    else:
        made = classifiers.abstract(ClassifierConfig(network, num_classes=len(last)))
    wanted = traverse_util.flatten_dict(made.params, sep="/")
    params = filled_network(wanted, state, lambda path: torch_name(path, prefix), unused=("aux_classifier.",))
    return made.replace(params=traverse_util.unflatten_dict(params, sep="/"))


def filled_network(
    wanted: Mapping[str, Any],
    state: Mapping[str, np.ndarray],
    torch_name: Callable[[str], str],
    *,
    unused: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """`states.filled` of a network with batch norm: its counts of batches are left out, its variances checked."""
    tensors = {name: tensor for name, tensor in state.items() if not str(name).endswith(_COUNTS)}
    params = filled(wanted, tensors, torch_name, unused=unused)
    negative = [torch_name(path) for path, value in params.items() if path.endswith("var") and value.min() < 0]
    if negative:
        raise ValueError(f"variances are negative: {some(negative)}. Is the file damaged?")
    return params


def _segmenter(state: Mapping[str, np.ndarray], network: ResNetConfig, classes: int) -> Segmenter:
    """A DeepLabV3 of shapes. torchvision's have an output stride of 8, which no tensor tells."""
    if classes > 255:
        raise ValueError(f"classifier.4.weight has {classes} classes, expected at most 255: ids of masks are bytes")
    head = state.get("classifier.1.weight")
    width = len(head) if isinstance(head, np.ndarray) and head.ndim else 256
    backbone = ResNetConfig(network.blocks, network.bottleneck, network.width, output_stride=8)
    return segmenters.abstract(SegmenterConfig(DeepLabConfig(backbone, num_classes=classes, width=width)))


def recognized(state: Mapping[str, np.ndarray], prefix: str) -> ResNetConfig:
    """Blocks and width of the ResNet whose tensors begin with `prefix`. Raises ValueError: it is none of NAMES."""
    blocks = [0, 0, 0, 0]
    for name in state:
        if match := re.match(rf"{re.escape(prefix)}layer([1-4])\.(\d{{1,3}})\.", str(name)):
            layer = int(match[1]) - 1
            blocks[layer] = max(blocks[layer], int(match[2]) + 1)
    bottleneck = f"{prefix}layer1.0.conv3.weight" in state
    stem = state.get(f"{prefix}conv1.weight")
    if (tuple(blocks), bottleneck) not in NAMES or not isinstance(stem, np.ndarray) or not stem.ndim:
        kinds = some(NAMES.values(), separator=", ")
        raise ValueError(
            f"it is no ResNet or DeepLabV3 of torchvision: expected layer1. to layer4. of {kinds}, found {blocks} "
            f"blocks among {some(map(shown, state), 4)}"
        )
    return ResNetConfig(tuple(blocks), bottleneck, len(stem))  # type: ignore[arg-type]


def torch_name(path: str, prefix: str) -> str:
    """torchvision's name of a parameter such as "params/backbone/layer1_0/bn1/scale"."""
    _, *modules, part = path.split("/")
    kind = PARTS[part]
    if modules[0] == "backbone":
        layer = [name.replace("_", ".") if name.startswith("layer") else name for name in modules[1:]]
        name = ".".join(layer).replace("downsample_conv", "downsample.0").replace("downsample_bn", "downsample.1")
        return f"{prefix}{name}.{kind}"
    if modules[0] == "fc":
        return f"fc.{kind}"
    if modules[0] == "classifier":
        return f"classifier.4.{kind}"
    view, layer_kind = modules[0].split("_")
    inside = f"classifier.0.convs.{view[4:]}." if view.startswith("aspp") else _HEAD[view]
    return f"{inside}{_FIRST.get(view, 0) + (layer_kind == 'bn')}.{kind}"


def described(network: Classifier | Segmenter) -> str:
    """What a converted network is called."""
    config = network.config.network
    backbone = config.backbone if isinstance(config, DeepLabConfig) else config
    name = NAMES.get((backbone.blocks, backbone.bottleneck), "a ResNet")
    classes = config.num_classes if isinstance(config, DeepLabConfig) else network.config.num_classes  # type: ignore[union-attr]
    return f"{'DeepLabV3 of ' if isinstance(config, DeepLabConfig) else ''}{name}, {classes} classes"


def main(file: str, /, out: str, license: str | None = None, dtype: str = "float32") -> None:
    """Converts one network; prints what was written.

    file: torchvision's state dict of a ResNet, or of a DeepLabV3 on one
    out: the folder to write; must not have content yet
    license: licence of the weights, recorded with them
    dtype: of the arrays on the disk: float32, float16 or int8
    """
    with naming(file):
        network = convert(read_state(file))
    info = {"origin": os.path.basename(file), "origin_sha256": archives.sha256(file)}
    info["license"] = license or "unknown; check the origin"
    networks.save(out, network, info=info, dtype=dtype)
    print(f"{described(network)}, as {dtype} written to {out}")


if __name__ == "__main__":
    cli.door(main)
