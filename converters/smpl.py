"""SMPL's body model out of a user's own file, read as data: nothing in it is executed, and nothing of it is kept here.

The file is the `.pkl` that its authors give out, whose arrays are those of chumpy and scipy in the pickles of Python 2,
or one that was saved again without them, or an `.npz` of the same names with a dense `J_regressor`:

    v_template     (V, 3) vertices at rest, metres      shapedirs       (V, 3, S) what a unit of each shape adds
    f              (F, 3) triangles                     posedirs        (V, 3, 207) what a unit of each entry of the
    J_regressor    (24, V) joints of vertices                           23 rotations, less the identity, adds
    weights        (V, 24) of skinning                  kintree_table   (2, 24) in row 0 each joint's parent

SMPL is not free: its licence allows non-commercial research alone.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from dnerf_jax.io import arrays as array_files

from . import pickles, tensors
from .attributes import Problems
from .records import Record
from .refusals import Refused, naming, shown
from .tensors import Inert, Sealed

LICENSE = "SMPL Model License (smpl.is.tue.mpg.de): non-commercial scientific research"
JOINTS = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle"),
    *("spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder"),
    *("right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand"),
)
_SHAPES = 10  # directions of the body's shape that networks know; files have these first
_OFFSETS = 9 * (len(JOINTS) - 1)
_NAMES = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_WHAT = "SMPL file"
_MISFIT = "it is not a body model of SMPL (24 joints) that can be read"


@dataclasses.dataclass(frozen=True)
class Smpl:
    """A body model of V vertices and B = 24 joints, float64.

    vertices (V, 3) at rest, metres. shapes (10, V, 3) and offsets (207, V, 3): what a unit of each direction of shape,
    and of each entry of `pose_feature`, adds at rest. regressor (B, V): joints of vertices. weights (V, B). parents: of
    every joint, -1 of the first. faces (F, 3) int64.
    """

    vertices: np.ndarray
    shapes: np.ndarray
    offsets: np.ndarray
    regressor: np.ndarray
    weights: np.ndarray
    parents: tuple[int, ...]
    faces: np.ndarray


def rotations(vectors: Any) -> Any:
    """Rotation matrices (..., 3, 3) of vectors (..., 3): axis times angle in radians; of NumPy's arrays as such.

    As `smplx` has them: 1e-8 is added before the angle is taken, so that there is one of no rotation.
    """
    of = np if isinstance(vectors, np.ndarray) else jnp
    angle = of.sqrt(of.sum(of.square(vectors + 1e-8), axis=-1))[..., None, None]
    axis = vectors / angle[..., 0]
    x, y, z = of.moveaxis(axis, -1, 0)
    zero = of.zeros_like(x)
    cross = of.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape((*vectors.shape, 3))
    across = axis[..., :, None] * axis[..., None, :] - of.eye(3)  # the square of the matrix above
    return of.eye(3) + of.sin(angle) * cross + (1 - of.cos(angle)) * across


def pose_feature(turned: Any) -> Any:
    """What `offsets` are multiplied by: (..., 207) of rotations (..., 24, 3, 3), the first of which does not count."""
    return (turned[..., 1:, :, :] - np.eye(3, dtype=np.float32)).reshape((*turned.shape[:-3], _OFFSETS))


def read(path: str | os.PathLike) -> Smpl:
    """The body model in a `.pkl` or `.npz` file.

    Raises ValueError, always naming the file: it cannot be read without executing something, or lacks an array, or has
    one of another shape, or is of a body with other joints.
    """
    path, start = pathlib.Path(path), b""
    if path.is_file():
        with open(path, "rb") as file:
            start = file.read(8)
    if tensors.is_zip(start):
        content: Any = array_files.load_arrays(path, _NAMES)
    else:
        content = pickles.read(path, unpickler=_Unpickler, what=_WHAT)
    with naming(path):
        if not isinstance(content, dict):
            raise ValueError(f"it holds {shown(content)}, expected a dict of arrays")
        absent = [name for name in _NAMES if name not in content]
        if absent:
            raise ValueError(f"it has no {', '.join(absent)}, expected {', '.join(_NAMES)}: give SMPL's own file")
        return _body({name: _dense(name, content[name]) for name in _NAMES})


def _body(arrays: Mapping[str, np.ndarray]) -> Smpl:
    count, joints = len(np.atleast_1d(arrays["v_template"])), len(JOINTS)
    shapes = {
        "v_template": (count, 3),
        "posedirs": (count, 3, _OFFSETS),
        "J_regressor": (joints, count),
        "weights": (count, joints),
        "kintree_table": (2, joints),
    }
    problems = Problems()
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            problems.append(f"{name} is {shown(arrays[name])}, expected the shape {shape}")
    directions, faces = arrays["shapedirs"], arrays["f"]
    if directions.ndim != 3 or directions.shape[:2] != (count, 3) or directions.shape[2] < _SHAPES:
        problems.append(f"shapedirs is {shown(directions)}, expected the shape ({count}, 3, {_SHAPES} or more)")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu" or not len(faces):
        problems.append(f"f is {shown(faces)}, expected whole numbers of the shape (F, 3)")
    elif faces.min() < 0 or faces.max() >= count:
        problems.append(f"f has numbers from {faces.min()} to {faces.max()}, expected those of {count} vertices")
    problems += [
        f"{name} has numbers that are not finite" for name in _NAMES[:5] if not np.isfinite(arrays[name]).all()
    ]
    problems.stop(_MISFIT)
    parents = (-1, *arrays["kintree_table"][0, 1:].astype(np.int64).tolist())
    if not all(0 <= parent < joint for joint, parent in enumerate(parents[1:], 1)):
        problems.append(f"kintree_table has the parents {parents}, expected each joint after its own")
    if np.abs(arrays["weights"].sum(axis=1) - 1).max() > 1e-3:
        problems.append("weights are not of sum 1 at every vertex")
    problems.stop(_MISFIT)
    real = {name: arrays[name].astype(np.float64) for name in _NAMES[:5]}
    return Smpl(
        vertices=real["v_template"],
        shapes=np.moveaxis(real["shapedirs"][..., :_SHAPES], -1, 0),
        offsets=np.moveaxis(real["posedirs"], -1, 0),
        regressor=real["J_regressor"],
        weights=real["weights"],
        parents=parents,
        faces=faces.astype(np.int64),
    )


def _dense(name: str, value: Any) -> np.ndarray:
    """The numbers of an array, of one of chumpy's, or of one of scipy's sparse matrices."""
    for _ in range(2):  # chumpy's may be a choice of the entries of another
        if isinstance(value, Record) and value.class_name == "Ch":
            value = value.get("x")
        elif isinstance(value, Record) and value.class_name == "Select":
            value = _selected(name, value)
    if isinstance(value, Record) and value.class_name in ("csc_matrix", "csr_matrix"):
        value = _unpacked(name, value)
    if isinstance(value, Record):
        raise ValueError(
            f"{name} is an object of the class {shown(value.class_name)}, of which the numbers are not known: save the "
            "file again with NumPy's arrays"
        )
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        raise ValueError(f"{name} is {shown(value)}, expected an array of numbers")
    return value


def _selected(name: str, record: Record) -> np.ndarray:
    source, index = record.get("a"), record.get("idxs")
    source = source.get("x") if isinstance(source, Record) and source.class_name == "Ch" else source
    if not isinstance(source, np.ndarray) or not isinstance(index, np.ndarray) or index.dtype.kind not in "iu":
        raise ValueError(f"{name} is a choice of {shown(index)} of {shown(source)}, expected arrays")
    shape = record.get("preferred_shape", index.shape)
    plain = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    there = not index.size or (index.min() >= 0 and index.max() < source.size)
    if not plain or math.prod(shape) != index.size or not there:
        raise ValueError(f"{name} is a choice of entries that are not there, or of the shape {shown(shape)}")
    return source.ravel()[index.ravel()].reshape(shape)


def _unpacked(name: str, record: Record) -> np.ndarray:
    """The dense array of a compressed sparse matrix: per row or column, where its entries begin and end."""
    parts = [record.get(part) for part in ("data", "indices", "indptr")]
    shape = record.get("_shape", record.get("shape"))
    plain = isinstance(shape, tuple) and len(shape) == 2 and all(type(n) is int and 0 < n <= 1 << 20 for n in shape)
    if not plain or not all(isinstance(part, np.ndarray) and part.ndim == 1 for part in parts):
        raise ValueError(f"{name} is a sparse matrix of the shape {shown(shape)} and {shown(parts)}, expected arrays")
    data, indices, starts = parts
    across, along = (shape[1], shape[0]) if record.class_name == "csc_matrix" else shape
    whole = all(part.dtype.kind in "iu" for part in (indices, starts)) and len(starts) == across + 1
    counts = np.diff(starts.astype(np.int64)) if whole else np.zeros(0)
    if not whole or len(data) != len(indices) or starts[0] or (counts < 0).any() or counts.sum() != len(data):
        raise ValueError(f"{name} is a sparse matrix whose parts do not fit together: the file is damaged")
    if along * across > 1 << 26 or (len(indices) and (indices.min() < 0 or indices.max() >= along)):
        raise ValueError(f"{name} is a sparse matrix with entries that are not there: the file is damaged")
    dense = np.zeros((across, along))
    np.add.at(dense, (np.repeat(np.arange(across), counts), indices), data)
    return dense.T if record.class_name == "csc_matrix" else dense


class _Unpickler(pickles.Unpickler):
    """Gives stand-ins for the arrays of chumpy and scipy besides, and takes the bytes of Python 2 for bytes."""

    what, text_encoding = "SMPL's files", "latin1"

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.".startswith(("chumpy.", "scipy.sparse.")) and name.isidentifier():
            return self.module(name)
        if module in ("copyreg", "copy_reg") and name == "_reconstructor":  # the latter in Python 2
            return Inert(f"{module}.{name}", _reconstructed)
        if module in ("builtins", "__builtin__") and name == "object":
            return _OBJECT
        return super().find_class(module, name)


class _Object(Sealed):
    """What stands in for the class `object`, which old pickles name beside the class of what they make."""

    def __repr__(self) -> str:
        return "builtins.object"


def _reconstructed(made: Any, base: Any, state: Any) -> Record:
    """Stands in for what old pickles make objects with: an empty record of the class, without calling that."""
    if not isinstance(made, type) or not issubclass(made, Record) or base is not _OBJECT or state is not None:
        raise Refused(f"an object made of {shown(made)}, {shown(base)} and {shown(state)}: the file is damaged")
    return made()


_OBJECT = _Object()
