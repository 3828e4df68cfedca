"""The heads world's table, made by `export`: the shapes of a bust and the fields painted on it.

Notation: V vertices, F triangles, S shapes. Lengths are metres, axes the world's, the eyes' midpoint at the
origin. "Canonical" is the default person; what is painted on a head is a function of the canonical point.
"""

import dataclasses
import functools
import pathlib

import numpy as np

from dnerf_jax.io import arrays, files

# Groups of vertices and triangles; MOUTH is teeth and tongue; HAIR is not in the table.
BODY, EYE, MOUTH, HAIR = 0, 1, 2, 3

PATH = files.ASSETS / "heads_world.npz"
EXPORT = "python -m dnerf_jax.worlds.heads.export --out dnerf_jax/assets/heads_world.npz"

# The file's arrays and their axes: as of HeadTable, K phenotype corners, M signed sides.
_SHAPES = {
    "mean": ("V", "3"),
    "corners": ("K", "V", "3"),
    "sides": ("M", "V", "3"),
    "faces": ("F", "3"),
    "group": ("V",),
    "canonical": ("V", "3"),
    "fields": ("V", "7"),
    "eye_direction": ("V", "3"),
    "hair_face": ("2", "E", "A", "3"),
    "hair_weights": ("2", "E", "A", "3"),
    "hair_azimuth": ("A",),
    "hair_elevation": ("E", "A"),
}


@dataclasses.dataclass(frozen=True)
class HeadTable:
    """Everything a head is made from; float32 unless said.

    mean: (V, 3), shapes: (S, V * 3) offsets from it, phenotype corners first (see attributes.shape_coefficients).
    faces: (F, 3) int32, group: (V,) uint8, face_group: (F,) uint8.
    canonical: (V, 3), eye_direction: (V, 3) unit vectors from the eye's centre on eyes, 0 elsewhere.
    lip, ear, mouth, lid, tongue, occlusion: (V,) in [0, 1]; jaw: (V,) metres the vertex sinks when the jaw opens.
    hair_face: (2, E, A, 3) int64 vertex ids and hair_weights: (2, E, A, 3): where the hair grid of E elevations by A
        azimuths touches the head, below the ears (0) and over them (1).
    hair_azimuth: (A,) radians, hair_elevation: (E, A) degrees.
    """

    mean: np.ndarray
    shapes: np.ndarray
    faces: np.ndarray
    group: np.ndarray
    face_group: np.ndarray
    canonical: np.ndarray
    eye_direction: np.ndarray
    lip: np.ndarray
    ear: np.ndarray
    mouth: np.ndarray
    lid: np.ndarray
    jaw: np.ndarray
    occlusion: np.ndarray
    tongue: np.ndarray
    hair_face: np.ndarray
    hair_weights: np.ndarray
    hair_azimuth: np.ndarray
    hair_elevation: np.ndarray

    def vertices(self, coefficients: np.ndarray) -> np.ndarray:
        """Mesh (V, 3) of shape coefficients (S,): one matrix product; the eyes' midpoint moved to the origin."""
        # einsum, not BLAS: the same bytes whatever the number of threads.
        vertices = self.mean + np.einsum("s,sk->k", coefficients, self.shapes).reshape(-1, 3)
        return vertices - _eye_midpoint(vertices, self.group, self.canonical)


def eye_midpoint(vertices: np.ndarray, stored: dict[str, np.ndarray]) -> np.ndarray:
    """Midpoint (3,) of the eyeballs of a mesh (V, 3), given a table's arrays as `export` writes them."""
    return _eye_midpoint(vertices, stored["group"], stored["canonical"])


@functools.cache
def load(path: pathlib.Path = PATH) -> HeadTable:
    """Reads the table; raises ValueError if it is missing or not a table of this version."""
    if not pathlib.Path(path).is_file():
        raise ValueError(
            f"the heads world needs its table at {path}, which is not there. Reinstall, or make it: {EXPORT}"
        )
    try:
        found = arrays.load_arrays(path, _SHAPES)
        arrays.require(found, _SHAPES, {"faces": "V", "hair_face": "V", "group": None})
        if set(np.unique(found["group"])) != {BODY, EYE, MOUTH}:
            raise ValueError(f"the groups are {np.unique(found['group'])[:9]}, expected {[BODY, EYE, MOUTH]}")
    except ValueError as error:
        raise ValueError(f"{path} is not a heads table of this version ({error}). Make it anew: {EXPORT}") from error
    shapes = np.concatenate([found["corners"], found["sides"]]).astype(np.float32)
    faces = found["faces"].astype(np.int32)
    fields = zip(("lip", "ear", "mouth", "lid", "jaw", "occlusion", "tongue"), found["fields"].T, strict=True)
    return HeadTable(
        mean=found["mean"],
        shapes=shapes.reshape(len(shapes), -1),
        faces=faces,
        group=found["group"],
        face_group=found["group"][faces[:, 0]],
        canonical=found["canonical"],
        eye_direction=found["eye_direction"],
        **dict(fields),
        hair_face=found["hair_face"].astype(np.int64),
        hair_weights=found["hair_weights"],
        hair_azimuth=found["hair_azimuth"],
        hair_elevation=found["hair_elevation"],
    )


def _eye_midpoint(vertices, group, canonical):
    sides = [vertices[(group == EYE) & (side * canonical[:, 0] > 0)] for side in (1, -1)]
    return np.mean([(side.min(0) + side.max(0)) / 2 for side in sides], axis=0, dtype=vertices.dtype)
