"""ArcFace's IR-SE50 from its usual PyTorch file: `python -m converters.arcface model_ir_se50.pth --out DIR`.

The file is a state dict as InsightFace_Pytorch saves it, which EG3D's and StyleGAN's inversions take for their identity
loss. Nothing in it is executed and PyTorch is not needed (see `pickles`).

    input_layer.0, .1, .2            conv, norm, prelu
    body.N.res_layer.0 to .4         norm0, conv0, prelu, conv1, norm1 of the N-th block
    body.N.res_layer.5.fc1, .fc2     squeeze, excite
    body.N.shortcut_layer.0, .1      shortcut, shortcut_norm
    output_layer.0, .3, .4           last_norm, embedding, embedding_norm

A batch normalisation after training is a scale and an offset: w / sqrt(variance + 1e-5) and b - mean * scale. The
matrix of the embedding takes the 7 x 7 places channel by channel there, and place by place here.
"""

import os
import re
from collections.abc import Mapping

import numpy as np
from flax import traverse_util

from dnerf_jax import cli
from dnerf_jax.io import loss_networks
from dnerf_jax.models import identity
from dnerf_jax.models.identity import Identity, IdentityConfig
from dnerf_jax.networks.arcface import ArcFaceConfig

from . import archives
from .refusals import naming
from .states import filled, read_state

# Where a chip of 112 pixels has the five landmarks that ArcFace's faces are aligned by; pixels' centres at halves.
POINTS = (
    ("right_eye", 38.7946, 52.1963),
    ("left_eye", 74.0318, 52.0014),
    ("nose_tip", 56.5252, 72.2366),
    ("right_mouth", 42.0493, 92.8655),
    ("left_mouth", 71.2299, 92.7041),
)
SIZE = 112  # pixels of a chip
_VARIANCE = 1e-5  # added to variances
_NORM = re.compile(r"(.+)\.running_var")
_COUNTS = ".num_batches_tracked"
_BLOCK = {
    "norm0": "res_layer.0",
    "conv0": "res_layer.1",
    "prelu": "res_layer.2",
    "conv1": "res_layer.3",
    "norm1": "res_layer.4",
    "squeeze": "res_layer.5.fc1",
    "excite": "res_layer.5.fc2",
    "shortcut": "shortcut_layer.0",
    "shortcut_norm": "shortcut_layer.1",
}
_OUTSIDE = {
    "conv": "input_layer.0",
    "norm": "input_layer.1",
    "prelu": "input_layer.2",
    "last_norm": "output_layer.0",
    "embedding": "output_layer.3",
    "embedding_norm": "output_layer.4",
}


def convert(state: Mapping[str, np.ndarray], *, network: ArcFaceConfig | None = None, size: int = SIZE) -> Identity:
    """The network in a state dict.

    Args:
      network: its sizes; None is IR-SE50's.
      size: of the chips that it takes, in pixels.

    Raises ValueError that lists tensors that are missing, too many, not finite or of another shape.
    """
    network = network or ArcFaceConfig()
    points = tuple((name, x * size / SIZE, y * size / SIZE) for name, x, y in POINTS)
    config = IdentityConfig(network, size, points, mean=(0.0,) * 3, deviation=(1.0,) * 3, unit=True)
    wanted = traverse_util.flatten_dict(identity.abstract(config).params, sep="/")
    tensors = _without_statistics(state)
    params = filled(wanted, tensors, lambda path: torch_name(network, path))
    matrix, channels = params["embedding/kernel"], network.widths[-1]
    places = matrix.reshape(channels, -1, matrix.shape[-1])
    params["embedding/kernel"] = np.ascontiguousarray(places.swapaxes(0, 1)).reshape(matrix.shape)
    return Identity(config, traverse_util.unflatten_dict(params, sep="/"))


def torch_name(network: ArcFaceConfig, path: str) -> str:
    """InsightFace_Pytorch's name of a parameter such as "stage1_0/conv0/kernel"."""
    *parents, layer, part = path.split("/")
    kind = {"kernel": "weight", "scale": "weight", "slope": "weight", "bias": "bias"}[part]
    if not parents:
        return f"{_OUTSIDE[layer]}.{kind}"
    stage, block = (int(number) for number in parents[0].removeprefix("stage").split("_"))
    return f"body.{sum(network.depths[:stage]) + block}.{_BLOCK[layer]}.{kind}"


def _without_statistics(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors with every batch normalisation's weight and bias turned into its scale and offset."""
    tensors = {name: value for name, value in state.items() if not name.endswith(_COUNTS)}
    for match in filter(None, map(_NORM.fullmatch, list(tensors))):
        names = [f"{match[1]}.{part}" for part in ("running_mean", "running_var", "weight", "bias")]
        absent = [name for name in names if name not in tensors]
        if absent:
            raise ValueError(f"the batch normalisation {match[1]:.100} lacks {', '.join(absent):.200}")
        mean, variance, weight, bias = (np.asarray(tensors[name], np.float64) for name in names)
        if not mean.shape == variance.shape == weight.shape == bias.shape or not (variance >= 0).all():
            raise ValueError(f"the batch normalisation {match[1]:.100} has shapes that differ, or negative variances")
        scale = weight / np.sqrt(variance + _VARIANCE)
        tensors[names[2]], tensors[names[3]] = scale.astype(np.float32), (bias - mean * scale).astype(np.float32)
        del tensors[names[0]], tensors[names[1]]
    return tensors


def main(file: str, /, out: str, license: str | None = None, dtype: str = "float32") -> None:
    """Converts the network and writes a folder that `loss_networks.load_identity` reads.

    file: model_ir_se50.pth
    out: the folder to write; must not have content yet
    license: licence of the weights, recorded with them
    dtype: of the arrays on the disk: float32, float16 or int8
    """
    with naming(file):
        network = convert(read_state(file))
    info = {"origin": os.path.basename(file), "origin_sha256": archives.sha256(file)}
    info["license"] = license or "unknown; check the origin"
    loss_networks.save(out, network, info=info, dtype=dtype)
    print(f"ArcFace's IR-SE50 as {dtype} written to {out}")


if __name__ == "__main__":
    cli.door(main)
