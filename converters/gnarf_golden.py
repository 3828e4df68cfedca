"""Recorded cases of GNARF: the deformation of points beside a body, or the rendering of bodies in poses.

NAME.json with NAME.npz beside it, as EG3D's (`golden`). Sizes are those of the arrays, so meshes may be of any
fineness; weights and planes are redrawn by name, and the renderer's draws from the case's `uniforms_seed`. Boolean
arrays are not read: they follow from the others.
"""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dnerf_jax.io import arrays as array_files
from dnerf_jax.models.articulated import ArticulationConfig
from dnerf_jax.models.generator import Generator, GeneratorConfig, RenderingConfig, abstract
from dnerf_jax.ops import articulation
from dnerf_jax.ops.ranges import Range

from . import golden, layout
from .attributes import FINE, POSITIVE, SAMPLES, Problems
from .refusals import naming, shown

BOX, CORNER = "anywhere in the box", "at a vertex"
KINDS = ("near the surface", "on a face", CORNER, "on an edge's middle", BOX)
MARGINS = 1e-5, 1e-4  # nearer to a tie than these, of vertices and of faces, rounding decides

# Sizes by letters: V vertices and F faces of the mesh, T and G of its template, P poses, N points, K the most faces at
# a vertex; of a rendering B images, R rows, Q rays that are recorded in full, C and H of the decoder, O its features.
# "< V": whole numbers below V.
_DEFORMATION = {
    "template_vertices": "P T 3",
    "template_faces": "G 3 < T",
    "simple_posed": "P V 3",
    "simple_vertices": "V 3",
    "simple_face_id": "V < G",
    "faces": "F 3 < V",
    "v_faces": "V K < F",
    "points": "N 3",
    "point_kind": "N < kinds",
    "nearest_vertex": "N < V",
    "face": "N < F",
    "canonical": "N 3",
    "margin_vertex": "N",
    "margin_face": "N",
    "true_face": "N < F",
    "true_distance": "N",
    "true_closest": "N 3",
    "true_canonical": "N 3",
}
_RENDERING = {
    "posed_vertices": "B V 3",
    "clip_vertices": "B V 3",
    "canonical_vertices": "V 3",
    "canonical_clip_vertices": "V 3",
    "faces": "F 3 < V",
    "cam2world": "B 4 4",
    "canonical_cam2world": "B 4 4",
    "intrinsics": "B 3 3",
    "near": "B rays",
    "far": "B rays",
    "canonical_near": "B rays",
    "canonical_far": "B rays",
    "rays": "B Q < rays",
    "depths_coarse": "B Q coarse",
    "canonical_coarse": "B Q coarse 3",
    "depths_fine": "B Q fine",
    "canonical_fine": "B Q fine 3",
    "depths_all": "B Q all",
    "sigma_all": "B Q all",
    "weights": "B Q intervals",
    "features": "B O R R",
    "weight_sum": "B 1 R R",
    "marched_distance": "B 1 R R",
    "canonical_features": "B E R R",
    "canonical_weight_sum": "B 1 R R",
}
# What a rendering's options must be, for ours to be the same.
_FIXED = {
    "projector": "surface_field",
    "warping_mask": "mesh",
    "box_warp_pre_deform": False,
    "clamp_mode": "softplus",
    "disparity_space_sampling": False,
    "density_noise": 0,
}
_RULES = {"planes": r"([\d.]{1,9}) \* a", "decoder.net.2.weight": r"row 0 \(density\) times ([\d.]{1,9})"}
_UNFIT = "it is not a recorded case of GNARF"


@dataclasses.dataclass(frozen=True)
class Deformation:
    """Points (N, 3) of the posed world, and what became of them.

    arrays: as recorded, indices int32. posed, canonical: (V, 3) of the mesh. scale: from the template's to their units.
    near: (N,) points of the surface and beside it, others being corners and anywhere. sure: (N,) those that are
    not as near to a tie as MARGINS.
    """

    arrays: Mapping[str, np.ndarray]
    posed: np.ndarray
    canonical: np.ndarray
    scale: float
    near: np.ndarray
    sure: np.ndarray


@dataclasses.dataclass(frozen=True)
class Rendering:
    """Images (B) of R x R rays of bodies in poses, and of the same body in the canonical pose.

    arrays: as recorded, indices int32. generator: a decoder alone, of the rule "vertex" and without a shell. planes:
    (B, P, S, S, C). uniforms: (B, R, R, coarse) and (B, R, R, fine) in [0, 1). neighbours: (V, K), see
    `articulation.incident`. resolution: R.
    """

    arrays: Mapping[str, np.ndarray]
    generator: Generator
    planes: np.ndarray
    uniforms: tuple[np.ndarray, np.ndarray]
    neighbours: np.ndarray
    resolution: int


def is_one(case: Mapping) -> bool:
    """Whether the JSON is of one of these cases, and not of EG3D's."""
    return "source_pose" in case or "poses_of_batch" in case


def load(path: str | os.PathLike) -> Deformation | Rendering:
    """Reads a case, given the path of its NAME.json.

    Raises ValueError, always naming the file, that lists what is missing, of another shape or kind, or not finite.
    """
    case, file = golden.read_case(path), golden.arrays_path(path)
    arrays = array_files.load_arrays(file, _DEFORMATION if "source_pose" in case else _RENDERING)
    with naming(path):
        return _deformation(case, arrays) if "source_pose" in case else _rendering(case, arrays)


def _deformation(case: Mapping, arrays: dict[str, np.ndarray]) -> Deformation:
    problems, kinds = Problems(), case.get("point_kind")
    if not isinstance(kinds, list) or not all(isinstance(kind, str) and kind in KINDS for kind in kinds):
        problems.append(f"point_kind is {shown(kinds)}, expected some of {KINDS}")
        kinds = []
    arrays = _checked(problems, arrays, _DEFORMATION, {"kinds": len(kinds)})
    scale = problems.number(case, "scale", "the case", allowed=POSITIVE)
    poses = Range(least=0, most=len(arrays["simple_posed"]) - 1)
    source, target = (
        problems.size(case, name, "the case", allowed=poses) for name in ("source_pose", "canonical_pose")
    )
    problems.stop(_UNFIT)
    apart = np.array([kind in (BOX, CORNER) for kind in kinds])[arrays["point_kind"]]
    sure = (arrays["margin_vertex"] > MARGINS[0]) & (arrays["margin_face"] > MARGINS[1])
    posed = arrays["simple_posed"]
    return Deformation(arrays, posed[source], posed[target], scale, ~apart, sure)


def _rendering(case: Mapping, arrays: dict[str, np.ndarray]) -> Rendering:
    problems, tables = Problems(), {}
    for name in ("rendering_kwargs", "parameters", "rules"):
        tables[name] = case.get(name)
        if not isinstance(tables[name], dict):
            problems.append(f"{name} are {shown(tables[name])}, expected an object")
    problems.stop(_UNFIT)
    options, shapes, rules = tables.values()
    for name, value in _FIXED.items():
        problems.expect(f"{name} of rendering_kwargs", options.get(name), value)
    size = problems.size(case, "resolution", "the case", allowed=SAMPLES)
    coarse = problems.size(options, "depth_resolution", "rendering_kwargs", allowed=SAMPLES)
    fine = problems.size(options, "depth_resolution_importance", "rendering_kwargs", allowed=FINE)
    seed = problems.size(case, "uniforms_seed", "the case", allowed=Range(least=0, most=2**32 - 1))
    box = problems.number(options, "box_warp", "rendering_kwargs", allowed=POSITIVE)
    white = problems.switch(options, "white_back", "rendering_kwargs")
    golden.check_tensors(problems, {f"rendering.{name}": shape for name, shape in shapes.items()})
    factors = {name: _factor(problems, rules, name) for name in _RULES}
    known = {"R": size, "rays": size * size, "coarse": coarse, "fine": fine, "all": coarse + fine}
    arrays = _checked(problems, arrays, _RENDERING, known | {"intervals": coarse + fine - 1})
    batch, channels, vertices = len(arrays["near"]), arrays["features"].shape[1], arrays["posed_vertices"].shape[1]
    planes = shapes.get("planes")
    if not isinstance(planes, list) or len(planes) != 5 or planes[:2] != [batch, 3] or 0 in planes:
        problems.append(f"planes of parameters are {shown(planes)}, expected [{batch}, 3, C, S, S]")
    hidden = shapes.get("decoder.net.0.bias")
    if not isinstance(hidden, list) or len(hidden) != 1 or not hidden[0]:
        problems.append(f"decoder.net.0.bias of parameters is {shown(hidden)}, expected a layer's width")
    problems.stop(_UNFIT)
    drawn = {name: golden.redraw(name, tuple(shape)) for name, shape in shapes.items()}
    drawn["decoder.net.2.weight"][:1] *= factors["decoder.net.2.weight"]
    neighbours = articulation.incident(arrays["faces"], vertices)
    moves = ArticulationConfig(
        ("root",), (-1,), vertices, len(arrays["faces"]), num_neighbours=neighbours.shape[1], rule="vertex", shell=0.0
    )
    config = GeneratorConfig(
        plane_channels=planes[2],
        feature_channels=channels,
        decoder_hidden=hidden[0],
        neural_rendering_resolution=size,
        rendering=RenderingConfig(coarse, fine, box_warp=box, white_back=white),
        articulation=moves,
    )
    expected = {"params": {"decoder": abstract(config).variables["params"]["decoder"]}}
    variables = layout.to_variables({name: x for name, x in drawn.items() if name != "planes"}, expected)
    uniforms = golden.redraw_uniforms(batch, size * size, coarse, fine, seed=seed)
    return Rendering(
        arrays=arrays,
        generator=Generator(config, variables),
        planes=np.moveaxis(np.float32(factors["planes"]) * drawn["planes"], 2, -1),
        uniforms=tuple(u.reshape(batch, size, size, -1) for u in uniforms),  # type: ignore[arg-type]
        neighbours=neighbours,
        resolution=size,
    )


def _factor(problems: Problems, rules: Mapping, name: str) -> float:
    """What a redrawn tensor is multiplied by, from the words of its rule."""
    words = rules.get(name)
    match = re.fullmatch(_RULES[name], words) if isinstance(words, str) else None
    factor = {"factor": float(match[1])} if match and match[1].count(".") < 2 and match[1] != "." else {}
    if not factor:
        problems.append(f"the rule of {name} is {shown(words)}, expected the form {_RULES[name]}")
    return problems.number(factor, "factor", f"the rule of {name}", 1.0, allowed=POSITIVE)


def _checked(
    problems: Problems, arrays: Mapping[str, np.ndarray], forms: Mapping[str, str], sizes: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """The arrays, indices int32; stops where one is not of its form, whose letters are sizes by name or what is found.

    What was noted before is told with it.
    """
    sizes, made = dict(sizes), {}
    for name, form in forms.items():
        dims, _, most = form.partition(" < ")
        made[name] = array = arrays[name]
        expected = _expected(dims.split(), array.shape, sizes)
        if array.shape != expected or 0 in array.shape:
            problems.append(f"the array {name} has the shape {array.shape}, expected {dims}: {expected}")
        elif most:
            if array.dtype.kind not in "iu":
                problems.append(f"the array {name} has the type {array.dtype}, expected whole numbers")
            made[name] = array.astype(np.int32) if array.dtype.kind in "iu" else array
        elif array.dtype.kind != "f" or not np.isfinite(array).all():
            problems.append(f"the array {name} has not only finite floating-point numbers")
    problems.stop(_UNFIT)
    for name, form in forms.items():
        most = form.partition(" < ")[2]
        if most and not (made[name].min() >= 0 and made[name].max() < sizes[most]):
            problems.append(f"the array {name} has numbers that are not from 0 to below {most}, which is {sizes[most]}")
    problems.stop(_UNFIT)
    return made


def _expected(dims: Sequence[str], shape: tuple[int, ...], sizes: dict[str, int]) -> tuple[Any, ...]:
    """The shape that an array should have; sizes that are met for the first time are noted."""
    if len(shape) != len(dims):
        return tuple(sizes.get(dim, dim) for dim in dims)
    return tuple(
        int(dim) if dim.isdecimal() else sizes.setdefault(dim, size) for dim, size in zip(dims, shape, strict=True)
    )
