"""A tiny GNARF network and a body model in the form of SMPL's files, made without either: nothing of SMPL is in them.

The full and the reduced mesh, and how one rides on the other, are those of the released code's recording, on a body of
MakeHuman's. Joints and weights are made up, and so are the directions of its shape and the pose offsets.
"""

import functools
import io
import pickle
from pathlib import Path

import foreign
import numpy as np
import tiny
from foreign import Call, Name, New

from converters.records import Record
from dnerf_jax.ops import articulation

GOLDEN = Path(__file__).parents[1] / "golden" / "gnarf_deform.npz"
SCALE, HULL = 0.25, 0.05
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
_NAMED = {  # of GNARF's classes, those that are pickled by name
    "SMPLSimplified": "warping_utils.smpl_helper",
    "SurfaceField": "warping_utils.surface_field",
    "SMPL": "smplx.body_models",
    "VertexJointSelector": "smplx.vertex_joint_selector",
    "RaySampler": "training.volumetric_rendering.ray_sampler",
}


@functools.cache
def smpl() -> dict[str, np.ndarray]:
    """The arrays of the body model, by SMPL's names."""
    recorded = np.load(GOLDEN)
    vertices, faces = recorded["template_vertices"][0].astype(np.float64), recorded["template_faces"]
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    # Of the box, from the left, from below, and from behind.
    places = {0: (0.5, 0.53), 3: (0.5, 0.6), 6: (0.5, 0.68), 9: (0.5, 0.73), 12: (0.5, 0.83), 15: (0.5, 0.88)}
    for left, x, y in ((1, 0.56, 0.5), (4, 0.57, 0.28), (7, 0.58, 0.06), (10, 0.6, 0.02), (13, 0.54, 0.79)):
        places |= {left: (x, y), left + 1: (1 - x, y)}
    for left, x, y in ((16, 0.62, 0.8), (18, 0.76, 0.72), (20, 0.88, 0.65), (22, 0.94, 0.62)):
        places |= {left: (x, y), left + 1: (1 - x, y)}
    points = np.array([[*places[joint], 0.5] for joint in range(24)]) * (high - low) + low
    distances = np.linalg.norm(vertices[:, None] - points, axis=-1)
    regressor = np.exp(-((distances / 0.08) ** 2)).T
    closeness = np.exp(-((distances / 0.07) ** 2)) + 1e-9
    drawn = np.random.default_rng(0)
    return {
        "v_template": vertices,
        "f": faces.astype(np.uint32),
        "J_regressor": regressor / regressor.sum(axis=1, keepdims=True),
        "weights": closeness / closeness.sum(axis=1, keepdims=True),
        "kintree_table": np.array([PARENTS, range(24)]).astype(np.uint32),
        "shapedirs": _smooth(drawn, vertices, 12, 0.01),
        "posedirs": _smooth(drawn, vertices, 207, 0.01),
    }


def _smooth(drawn: np.random.Generator, vertices: np.ndarray, count: int, size: float) -> np.ndarray:
    """Directions (V, 3, count) of about a size, in metres, that are alike in neighbouring vertices."""
    waves, phases = drawn.normal(scale=3, size=(3, 3, count)), drawn.uniform(0, 6, (3, count))
    return size * np.sin(np.einsum("vi,ijk->vjk", vertices, waves) + phases)


def npz(path: Path, **changes) -> Path:
    """Writes the body model as .npz; None leaves an array out."""
    arrays = {name: array for name, array in (smpl() | changes).items() if array is not None}
    np.savez(path, **arrays)
    return path


def pkl(path: Path, protocol: int = 2, **changes) -> Path:
    """Writes the body model as SMPL's authors did: in Python 2, with the arrays of chumpy and scipy.

    changes: arrays, or stand-ins for what is written in their place.
    """
    arrays = smpl() | changes
    content = {name: _array(array) if isinstance(array, np.ndarray) else array for name, array in arrays.items()}
    if not changes:
        shapes = arrays["shapedirs"]
        source = np.concatenate([shapes, shapes[..., ::-1]], axis=-1)
        index = np.arange(source.size).reshape(source.shape)[..., : shapes.shape[-1]]
        choice = {"a": chumpy({"x": _array(source)}, protocol), "idxs": _array(index.ravel())}
        choice |= {"preferred_shape": shapes.shape, "_itr": None}
        content["shapedirs"] = _object("chumpy.reordering", "Select", choice, protocol)
        content["v_template"] = chumpy({"x": _array(arrays["v_template"])}, protocol)
        content["J_regressor"] = sparse(arrays["J_regressor"], protocol)
    file = io.BytesIO()
    _Writer(file, protocol).dump(content | {"bs_style": "lrotmin"})
    path.write_bytes(file.getvalue())
    return path


def chumpy(state: dict, protocol: int = 2):
    """An array of chumpy's."""
    return _object("chumpy.ch", "Ch", state | {"_dirty_vars": ["x"]}, protocol)


def sparse(array: np.ndarray, protocol: int = 2, **changes):
    """A sparse matrix of scipy's, by columns."""
    columns, rows = np.nonzero(array.T)
    starts = np.concatenate([[0], np.cumsum((array != 0).sum(axis=0))]).astype(np.int32)
    parts = {"data": array[rows, columns], "indices": rows.astype(np.int32), "indptr": starts} | changes
    state = {name: _array(part) for name, part in parts.items()} | {"_shape": array.shape, "maxprint": 50}
    return _object("scipy.sparse.csc", "csc_matrix", state, protocol)


class _Bytes(bytes):
    """Bytes, which Python 2 wrote as texts."""


class _Writer(foreign._Writer):
    """Writes texts and bytes as Python 2 did."""

    def save(self, obj, save_persistent_id=True):
        if not isinstance(obj, str | _Bytes):
            super().save(obj, save_persistent_id)
            return
        data = obj.encode("latin1") if isinstance(obj, str) else bytes(obj)
        if self.proto:
            self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)
        else:
            self.write(pickle.STRING + repr(data)[1:].encode() + b"\n")


def _array(array: np.ndarray) -> Call:
    array = np.ascontiguousarray(array)
    kind = Call(Name("numpy", "dtype"), (array.dtype.str[1:], 0, 1), (3, "<", None, None, None, -1, -1, 0))
    state = (1, array.shape, kind, False, _Bytes(array.tobytes()))
    return Call(Name("numpy.core.multiarray", "_reconstruct"), (Name("numpy", "ndarray"), (0,), "b"), state)


def _object(module: str, name: str, state: dict, protocol: int):
    if protocol >= 2:
        return New(Name(module, name), state)
    return Call(Name("copy_reg", "_reconstructor"), (Name(module, name), Name("__builtin__", "object"), None), state)


def record() -> Record:
    """The network: EG3D's tiny one with a body, and what training leaves in its options."""
    recorded, body = np.load(GOLDEN), smpl()
    network = tiny.record()
    network.attributes |= {"c_dim": 108, "_last_planes": None}
    network.child("backbone.mapping").attributes["c_dim"] = 25
    network.get("rendering_kwargs").update(
        {"projector": "surface_field", "warping_mask": "mesh", "mesh_clip_offset": 0.0, "box_warp_pre_deform": False},
        **{"cfg_name": "aist_rescaled", "cam2world": np.zeros((2, 4, 4), np.float32)},
        intrinsics=np.zeros((2, 3, 3), np.float32),
    )
    full = _module("SMPL", {"v_template": body["v_template"].astype(np.float32)})
    full.attributes["faces"] = body["f"].view(_Plain)
    full.attributes["_modules"]["vertex_joint_selector"] = _module("VertexJointSelector", {})
    field = _field(full, body["v_template"], body["f"])
    faces = recorded["faces"].astype(np.int64)
    binding = {
        "nearest_face_id": recorded["simple_face_id"].astype(np.int64),
        "weights_2d": recorded["simple_bary"],
        "proj_dist": recorded["simple_offset"],
        "faces_t": faces,
    }
    rest = recorded["simple_vertices"].astype(np.float64)
    grown = np.asarray(articulation.grown(rest.astype(np.float32), faces, HULL), np.float64)
    reduced, clip = (_module("SMPLSimplified", binding, smpl_template=full, sf=field) for _ in range(2))
    reduced.attributes |= {"v_template": rest.view(_Plain), "faces": faces.view(_Plain)}
    clip.attributes |= {"v_template": grown.view(_Plain), "faces": faces.view(_Plain)}
    drawn = np.random.default_rng(1)
    averages = {
        "body_pose": drawn.normal(scale=0.2, size=(1, 69)),
        "orient": np.array([[0.1, -0.3, 0.05]]),
        "betas": drawn.normal(size=(1, 10)),
        "transl": np.array([[0.02, 0.1, -0.03]]),
        "scale": np.array([SCALE]),
    }
    renderer = network.child("renderer")
    renderer.attributes |= {"_avg_pose_initialized": True}
    renderer.attributes["_buffers"] |= {f"smpl_avg_{name}": np.float32(x) for name, x in averages.items()}
    renderer.attributes["_modules"] |= {
        "smpl_reduced": reduced,
        "surface_field": _field(reduced, rest, faces),
        "smpl_clip": clip,
    }
    network.attributes["_modules"]["ray_sampler"] = _module("RaySampler", {})
    return network


def _field(mesh: Record, vertices: np.ndarray, faces: np.ndarray) -> Record:
    neighbours = articulation.incident(faces, len(vertices)).astype(np.int64)
    buffers = {"faces": faces.astype(np.int64), "v_faces": neighbours, "vertices_0": vertices.astype(np.float32)}
    return _module("SurfaceField", buffers, smpl=mesh)


def _module(name: str, buffers: dict, **modules: Record) -> Record:
    return Record(name, {"_modules": modules, "_parameters": {}, "_buffers": buffers})


def write(path: Path, network: Record | None = None, **others) -> Path:
    """Writes a pickle such as GNARF's training does, its tensors on a GPU; `others` are further entries."""
    written = foreign.network(record() if network is None else network, by_name=foreign._BY_NAME | _NAMED, tensor=_cuda)
    path.write_bytes(foreign.dumps({"training_set_kwargs": {"path": "x"}, "G_ema": written, **others}))
    return path


class _Plain(np.ndarray):
    """An array that is NumPy's in the pickle too; all others are tensors there."""


def _cuda(array: np.ndarray):
    """A tensor whose storage says that it was on a GPU."""
    if isinstance(array, _Plain):
        return np.asarray(array)
    array = np.array(array, order="C")
    kind = Name("torch", foreign._STORAGES[array.dtype.name])
    reference = foreign.Stored(("storage", kind, "0", "cuda:0", array.size, None))
    return foreign.tensor(array, foreign.legacy(reference, {"0": array.ravel()}))
