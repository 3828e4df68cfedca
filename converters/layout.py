"""Names and layouts of tensors: PyTorch's state dict on one side, Flax's variables on the other.

    backbone.X, superresolution.X    X without "backbone.", in the collection "params"
    decoder.net.0, decoder.net.2     decoder/fc0, decoder/fc1
    w_avg, noise_const               the collection "buffers"
    resample_filter                  not stored: checked to be the one filter that our modules have built in

    linear (out, in) -> (in, out)    convolution (O, I, h, w) -> (h, w, I, O)    const (C, 4, 4) -> (4, 4, C)

Values are unchanged: both sides keep weights unscaled.
"""

from collections.abc import Mapping

import numpy as np
from flax import traverse_util

from dnerf_jax.ops.messages import some

RESAMPLE_FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
_LINES = 20  # of a message, each of at most 160 letters
_DECODER = {"fc0": "net.0", "fc1": "net.2"}


def torch_name(path: tuple[str, ...]) -> str:
    """PyTorch's name of the variable at a path such as ("params", "synthesis", "b4", "const")."""
    _collection, part, *rest = path
    if part == "decoder":
        return ".".join([part, _DECODER[rest[0]], *rest[1:]])
    return ".".join([part, *rest] if part == "superresolution" else ["backbone", part, *rest])


def to_flax(name: str, array: np.ndarray) -> np.ndarray:
    """A tensor in Flax's layout, float32."""
    axes = _axes(name, array.ndim)
    return np.ascontiguousarray(np.transpose(array, axes), dtype=np.float32).reshape([array.shape[i] for i in axes])


def _axes(name: str, ndim: int) -> tuple[int, ...]:
    last = name.rsplit(".", 1)[-1]
    if last == "weight":
        return {2: (1, 0), 4: (2, 3, 1, 0)}[ndim]
    return (1, 2, 0) if last == "const" else tuple(range(ndim))


def torch_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that PyTorch has for a variable of this shape in Flax."""
    return tuple(shape[i] for i in np.argsort(_axes(name, len(shape))).tolist())


def to_variables(tensors: Mapping[str, np.ndarray], abstract: Mapping) -> dict:
    """Variables with the structure of `abstract` (arrays or shapes), filled from a PyTorch state dict.

    Raises ValueError that lists all tensors that are missing, too many, wrongly shaped, not finite, or of no
    floating type, and all resampling filters that differ from the one built in.
    """
    paths = {torch_name(path): path for path in traverse_util.flatten_dict(abstract)}
    shapes = traverse_util.flatten_dict(abstract)
    shapes = {name: torch_shape(name, shapes[path].shape) for name, path in paths.items()}
    filters = filter_names(paths)
    filters |= tensors.keys() & {"superresolution.resample_filter"}
    shapes |= dict.fromkeys(filters, RESAMPLE_FILTER.shape)

    problems = [f"missing: {name} {list(shapes[name])}" for name in sorted(shapes.keys() - tensors.keys())]
    problems += [f"unexpected: {name} {list(tensors[name].shape)}" for name in sorted(tensors.keys() - shapes.keys())]
    for name in sorted(shapes.keys() & tensors.keys()):
        tensor = tensors[name]
        if tensor.shape != shapes[name]:
            problems.append(f"wrong shape: {name} {list(tensor.shape)}, expected {list(shapes[name])}")
        elif not (tensor.dtype.kind == "f" or tensor.dtype.name == "bfloat16"):
            problems.append(f"wrong type: {name} {tensor.dtype}, expected floating point")
        elif not np.all(np.isfinite(_float32(tensor))):
            problems.append(f"not finite: {name}")
        elif name not in paths and not np.allclose(_float32(tensor), RESAMPLE_FILTER, atol=1e-6):
            problems.append(f"another filter: {name}, expected the outer product of [1, 3, 3, 1] divided by 64")
    if problems:
        listed = some((f"{problem:.160}" for problem in problems), _LINES, separator="\n  ")
        raise ValueError(f"{len(problems)} tensors do not fit the network's configuration:\n  {listed}")
    return traverse_util.unflatten_dict({path: to_flax(name, tensors[name]) for name, path in paths.items()})


def _float32(tensor: np.ndarray) -> np.ndarray:
    """The tensor in float32, infinite where that is too small for it."""
    with np.errstate(over="ignore"):
        return np.asarray(tensor, np.float32)


def filter_names(names: Mapping[str, tuple]) -> set[str]:
    """The names of the filters that PyTorch keeps beside these tensors, per block and layer."""
    layers = {name.removesuffix(".noise_const") for name in names if name.endswith(".noise_const")}
    blocks = {layer.rsplit(".", 1)[0] for layer in layers}
    return {f"{place}.resample_filter" for place in layers | blocks}
