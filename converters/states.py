"""PyTorch's state dicts to flat parameters of Linen modules: names by a function, layouts by the number of axes.

linear (out, in) -> (in, out)    convolution (O, I, h, w) -> (h, w, I, O)    all else is taken as its numbers in a row
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dnerf_jax.ops.messages import some

from . import pickles
from .architecture import is_state_dict
from .refusals import naming, shown

_LINES = 20  # of a message, each of at most 160 letters
_AXES = {2: (1, 0), 4: (2, 3, 1, 0)}


def read_state(path: str | os.PathLike) -> Mapping[str, np.ndarray]:
    """The state dict in a file of `torch.save`; raises ValueError, naming the file, if it is none."""
    state = pickles.read(path)
    with naming(path):
        if not is_state_dict(state):
            raise ValueError(f"it holds {shown(state)}, expected a state dict: tensors by name")
        return state


def filled(
    wanted: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    torch_name: Callable[[str], str],
    *,
    unused: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Parameters by path, float32 and of the shapes that are wanted, out of a state dict.

    Args:
      wanted: arrays, or shapes, by path.
      torch_name: the tensor's name of a path.
      unused: beginnings of names of tensors that may be there and are not used.

    Raises ValueError that lists the tensors that are missing, too many, not finite, no floats, or of another shape.
    """
    params, problems = {}, []
    names = {path: torch_name(path) for path in wanted}
    for path, name in names.items():
        shape = wanted[path].shape
        if name not in tensors:
            problems.append(f"missing: {name}")
            continue
        tensor = np.asarray(tensors[name])
        if tensor.ndim == len(shape):
            tensor = np.transpose(tensor, _AXES.get(tensor.ndim, range(tensor.ndim)))
        elif tensor.size == max(tensor.shape, default=1):  # one number per channel, with axes of length 1
            tensor = tensor.reshape(-1)
        if tensor.shape != shape:
            problems.append(f"wrong shape: {name} is {shown(tensors[name])}, expected what becomes {shape}")
        elif not (tensor.dtype.kind == "f" or tensor.dtype.name == "bfloat16"):
            problems.append(f"wrong type: {name} {tensor.dtype}, expected floating point")
        elif not np.isfinite(tensor.astype(np.float32)).all():
            problems.append(f"not finite: {name}")
        else:
            params[path] = np.ascontiguousarray(tensor, np.float32)
    odd = [name for name in tensors if name not in names.values() and not str(name).startswith(tuple(unused))]
    problems += [f"unexpected: {shown(name)}" for name in odd]
    if problems:
        listed = some((f"{problem:.160}" for problem in problems), _LINES, separator="\n  ")
        raise ValueError(f"{len(problems)} tensors do not fit the network:\n  {listed}")
    return params
