"""DINOv2's vision transformers from its own files: `python -m converters.dinov2 FILE.pth --out DIR`.

FILE.pth is the state dict of a backbone without registers (dinov2_vits14_pretrain.pth, dinov2_vitb14_..., _vitl14_...).
Its sizes follow from its tensors: heads have 64 channels in all of them. Nothing in the file is executed and PyTorch
is not needed (see `pickles`).

    patch_embed.proj.weight (O, 3, 14, 14)    params/backbone/patch_embed/kernel (14, 14, 3, O)
    pos_embed (1, 1 + G * G, C)               params/backbone/pos_embed
    blocks.3.attn.qkv.weight (3 C, C)         params/backbone/block3/qkv/kernel (C, 3 C)
    blocks.3.ls1.gamma (C,)                   params/backbone/block3/ls1_gamma
    mask_token                                left out: only its training hid patches
"""

import math
import re
from collections.abc import Mapping

import numpy as np
from flax import traverse_util

from dnerf_jax import cli
from dnerf_jax.io import networks
from dnerf_jax.models import classifiers
from dnerf_jax.models.classifiers import Classifier, ClassifierConfig
from dnerf_jax.networks.vit import ViTConfig

from . import archives
from .refusals import naming, shown
from .states import filled, read_state
from .torchvision import PARTS

_HEAD = 64  # channels of each head
_LAYERS = {
    "patch_embed": "patch_embed.proj",
    "qkv": "attn.qkv",
    "proj": "attn.proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}


def convert(state: Mapping[str, np.ndarray]) -> Classifier:
    """The backbone of DINOv2's state dict, a classifier without classes.

    Raises ValueError: it is of another network, or (listing them) tensors are missing, too many, not finite or of
    another shape.
    """
    made = classifiers.abstract(ClassifierConfig(recognized(state), num_classes=0))
    wanted = traverse_util.flatten_dict(made.params, sep="/")
    params = filled(wanted, state, torch_name, unused=("mask_token",))
    return made.replace(params=traverse_util.unflatten_dict(params, sep="/"))


def recognized(state: Mapping[str, np.ndarray]) -> ViTConfig:
    """The sizes of a state dict's network. Raises ValueError: it is none of DINOv2's that are known here."""
    for name, what in (("register_tokens", "registers"), ("blocks.0.mlp.w12.weight", "a SwiGLU layer (ViT-g)")):
        if name in state:
            raise ValueError(f"it has {what}, which is not known here: expected ViT-S, B or L without registers")
    places, first = (state.get(name) for name in ("pos_embed", "cls_token"))
    known = all(isinstance(x, np.ndarray) and x.ndim == 3 for x in (places, first))
    width, count = (first.shape[-1], places.shape[1] - 1) if known else (0, 0)
    depth = 1 + max(
        (int(found[1]) for name in state if (found := re.match(r"blocks\.(\d{1,2})\.", str(name)))), default=-1
    )
    grid = math.isqrt(max(count, 0))
    if not (depth and width and grid**2 == count) or width % _HEAD:
        raise ValueError(
            "it is no backbone of DINOv2: expected cls_token (1, 1, C) with C a multiple of 64, pos_embed "
            f"(1, 1 + G * G, C) and blocks, found {shown(first)}, {shown(places)} and {depth} blocks"
        )
    return ViTConfig(width, depth, width // _HEAD, grid)


def torch_name(path: str) -> str:
    """DINOv2's name of a parameter such as "params/backbone/block0/norm1/scale"."""
    *modules, part = path.removeprefix("params/backbone/").split("/")
    block = [f"blocks.{name.removeprefix('block')}." for name in modules if name.startswith("block")]
    layers = [_LAYERS.get(name, name) for name in modules if not name.startswith("block")]
    return "".join(block) + ".".join([*layers, PARTS.get(part, part).replace("_gamma", ".gamma")])


def main(file: str, /, out: str, dtype: str = "float32") -> None:
    """Converts the weights and writes a folder that dnerf_jax.downstream starts from.

    file: dinov2_vits14_pretrain.pth, say
    out: the folder to write; must not have content yet
    dtype: of the arrays on the disk: float32, float16 or int8
    """
    with naming(file):
        network = convert(read_state(file))
    info = {"origin": "DINOv2", "origin_sha256": archives.sha256(file), "license": "Apache-2.0"}
    networks.save(out, network, info=info, dtype=dtype)
    print(
        f"a ViT of {network.config.network.depth} blocks of {network.config.network.width} as {dtype} written to {out}"
    )


if __name__ == "__main__":
    cli.door(main)
