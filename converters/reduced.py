"""GNARF's reduced mesh on a body model of the user's: out of a pickled renderer into the form of our templates.

GNARF lives in a mesh of about a tenth of SMPL's triangles, whose V' vertices ride on the full mesh of V: each is a
point in the plane of a face, by barycentrics, and a height above it. From the pickle come these numbers, the reduced
faces and the canonical pose; vertices, joints, weights and directions come from the body model:

    vertices        of the reduced mesh, such that they are GNARF's in the canonical pose
    weights         of the corners, by the barycentrics
    shapes          10 of the body's shape, counted from the canonical one, and 207 that the bones' rotations, less
                    those of the canonical pose, are multiplied by: SMPL's pose offsets
    canonical       the rotations of the canonical pose

All are multiplied by GNARF's scale, after its translation. What is left is that GNARF poses the full mesh and rebuilds
the reduced one upon it, while ours is posed itself: in the canonical pose both are the same, and in others `deviation`
says by how much they differ.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.models.articulated import ArticulationConfig, Pose
from dnerf_jax.ops import articulation

from . import smpl
from .attributes import Problems
from .records import Record
from .refusals import shown
from .smpl import JOINTS, Smpl

_CLASSES = {"surface_field": "SurfaceField", "smpl_clip": "SMPLSimplified", "smpl_reduced": "SMPLSimplified"}
_PARAMETERS = {"body_pose": (1, 69), "orient": (1, 3), "betas": (1, 10), "transl": (1, 3), "scale": (1,)}
_SMALLEST = 0.1  # determinant of blended rotations below which they are not inverted
_STEP = 1e-3  # of a direction, for what it does to a vertex above a face
_BEND = np.pi / 3  # of one joint, in the poses of `deviation`


@dataclasses.dataclass(frozen=True)
class Reduced:
    """What a pickle says of its reduced mesh, of V' vertices and F' faces; lengths are metres.

    faces (F', 3), neighbours (V', K): see `articulation.incident`. face (V',), shares (V', 3), height (V',): where
    each vertex is on the full mesh of `full_faces` (F, 3) and `full_count` vertices. rest (V', 3): where they were when
    that was at rest. hull: by how much its copy for the rays is grown. pose (24, 3), betas (10,), translation (3,),
    scale: of the canonical body; the scale is world units per metre.
    """

    faces: np.ndarray
    neighbours: np.ndarray
    face: np.ndarray
    shares: np.ndarray
    height: np.ndarray
    full_faces: np.ndarray
    full_count: int
    rest: np.ndarray
    hull: float
    pose: np.ndarray
    betas: np.ndarray
    translation: np.ndarray
    scale: float

    @property
    def canonical(self) -> dict[str, Any]:
        """What `pose` has to know of the canonical body, in numbers that JSON has."""
        return {"betas": self.betas.tolist(), "translation": self.translation.tolist(), "scale": self.scale}


def read(renderer: Record) -> Reduced:
    """The reduced mesh of a pickled renderer; raises ValueError that lists what is missing or of another form."""
    problems = Problems()
    parts = {name: renderer.child(name) or Record() for name in _CLASSES}
    for name, expected in _CLASSES.items():
        problems.expect(f"the class of renderer.{name}", parts[name].class_name, expected)
    problems.stop("this network is not one of GNARF's that can be converted")
    state = renderer.state_dict()
    mesh = parts["smpl_reduced"]

    def array(name: str, kinds: str, *shape: int | None) -> np.ndarray:
        """The tensor of these kinds and this shape, of which None are free; of zeros where a problem is noted."""
        value = state.get(name)
        fits = isinstance(value, np.ndarray) and value.ndim == len(shape) and value.dtype.kind in kinds
        if fits and all(n in (None, m) for n, m in zip(shape, value.shape, strict=True)) and np.isfinite(value).all():
            return value.astype(np.float64 if "f" in kinds else np.int64)
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        problems.append(f"renderer.{name} is {shown(value)}, expected finite numbers of the shape ({wanted})")
        return np.zeros([n or 1 for n in shape], np.int64)

    canonical = {name: array(f"smpl_avg_{name}", "f", *shape) for name, shape in _PARAMETERS.items()}
    face = array("smpl_reduced.nearest_face_id", "i", None)
    count = len(face)
    shares = array("smpl_reduced.weights_2d", "f", count, 3)
    height = array("smpl_reduced.proj_dist", "f", count)
    faces = array("smpl_reduced.faces_t", "i", None, 3)
    full, at = array("smpl_reduced.sf.faces", "i", None, 3), array("smpl_reduced.sf.v_faces", "i", None, None)
    neighbours = array("surface_field.v_faces", "i", count, None)
    rest, grown = (_rest(name, parts[name], count, problems) for name in ("smpl_reduced", "smpl_clip"))
    problems.stop("the body of this network is incomplete")
    scale = float(canonical["scale"][0])
    for name, index, limit in (
        ("smpl_reduced.nearest_face_id", face, len(full)),
        ("smpl_reduced.faces_t", faces, count),
        ("smpl_reduced.sf.faces", full, len(at)),
    ):
        if not index.size or index.min() < 0 or index.max() >= limit:
            problems.append(f"renderer.{name} has numbers that are not from 0 to {limit - 1}")
    if np.abs(shares.sum(axis=-1) - 1).max(initial=0) > 1e-2:
        problems.append("renderer.smpl_reduced.weights_2d are not of sum 1")
    if not 1e-3 < scale < 1e3:
        problems.append(f"renderer.smpl_avg_scale is {scale}, expected 0.001 to 1000")
    problems.stop("the body of this network is damaged")
    own = articulation.incident(faces, count)
    same = neighbours.shape == own.shape and all(map(lambda a, b: set(a) == set(b), neighbours.tolist(), own.tolist()))
    problems.expect("whether renderer.surface_field.v_faces are the faces at each vertex", same, True)
    hull = float(np.median(np.linalg.norm(grown - rest, axis=-1)))
    if not 0 < hull < 1 or not np.array_equal(mesh.get("faces"), parts["smpl_clip"].get("faces")):
        problems.append(
            f"renderer.smpl_clip is not renderer.smpl_reduced, grown by a few centimetres, but by {hull:.3g} m"
        )
    problems.stop("the body of this network is damaged")
    return Reduced(
        faces=faces,
        neighbours=neighbours,
        face=face,
        shares=shares,
        height=height,
        full_faces=full,
        full_count=len(at),
        rest=rest,
        hull=hull,
        pose=np.concatenate([canonical["orient"], canonical["body_pose"]], axis=-1).reshape(-1, 3),
        betas=canonical["betas"][0],
        translation=canonical["transl"][0],
        scale=scale,
    )


def _rest(name: str, mesh: Record, count: int, problems: Problems) -> np.ndarray:
    """The vertices (V', 3) that a reduced mesh was made with, a plain array."""
    value = mesh.get("v_template")
    if isinstance(value, np.ndarray) and value.shape == (count, 3) and np.isfinite(value).all():
        return value.astype(np.float64)
    problems.append(f"v_template of renderer.{name} is {shown(value)}, expected numbers of the shape ({count}, 3)")
    return np.zeros((count, 3))


def require_same(reduced: Reduced, body: Smpl) -> None:
    """Raises ValueError unless the body model has the mesh that the reduced one was made for."""
    count, faces = reduced.full_count, reduced.full_faces
    if len(body.vertices) != count or body.faces.shape != faces.shape:
        raise ValueError(
            f"the template has {len(body.vertices)} vertices and {len(body.faces)} faces; the body of the network was "
            f"made for {count} and {len(faces)}: give the SMPL file that it was trained with (6890 and 13776)"
        )
    if not np.array_equal(body.faces, faces):
        raise ValueError(
            "the template has as many faces as the body of the network was made for, but others: give the SMPL file "
            "that it was trained with"
        )


def rebuilt(reduced: Reduced, vertices: np.ndarray) -> np.ndarray:
    """The reduced mesh (..., V', 3) upon full ones (..., V, 3)."""
    corners = vertices[..., reduced.full_faces[reduced.face], :]
    first, second = (corners[..., i, :] - corners[..., 0, :] for i in (1, 2))
    normal = np.cross(first, second)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    return np.einsum("vk,...vki->...vi", reduced.shares, corners) + reduced.height[:, None] * normal


def of_another(reduced: Reduced, body: Smpl) -> float:
    """How far, in metres, half of the reduced vertices lie at least from where they were made: of another body."""
    off = np.linalg.norm(rebuilt(reduced, body.vertices) - reduced.rest, axis=-1)
    return float(np.median(off))


def posed(reduced: Reduced, body: Smpl, vectors: np.ndarray, betas: np.ndarray) -> np.ndarray:
    """The reduced mesh (..., V', 3) as GNARF has it in poses: upon the full one, in metres, before it is moved.

    vectors: (..., 24, 3), axis times angle of every joint. betas: (10,).
    """
    turned = smpl.rotations(vectors)
    shaped = body.vertices + np.tensordot(betas, body.shapes, 1)
    resting = shaped + np.tensordot(smpl.pose_feature(turned), body.offsets, 1)
    return rebuilt(
        reduced, _skinned(resting, body.weights, _transforms(body.parents, body.regressor @ shaped, turned))[0]
    )


def template(reduced: Reduced, body: Smpl) -> tuple[ArticulationConfig, dict[str, np.ndarray]]:
    """Our configuration and template, in world units, of a reduced mesh on a body model of the same full mesh."""
    turned = smpl.rotations(reduced.pose)
    shaped = body.vertices + np.tensordot(reduced.betas, body.shapes, 1)
    resting = shaped + np.tensordot(smpl.pose_feature(turned), body.offsets, 1)
    directions = np.concatenate([body.shapes, body.offsets])
    ahead, behind = (rebuilt(reduced, resting + step * directions) for step in (_STEP, -_STEP))
    weights = np.einsum("vk,vkb->vb", reduced.shares, body.weights[reduced.full_faces[reduced.face]])
    weights /= weights.sum(axis=-1, keepdims=True)
    vertices, joints = rebuilt(reduced, resting), body.regressor @ shaped
    # Such that they are GNARF's once they are posed: what is looked up is always beside the canonical mesh.
    placed, blended = _skinned(vertices, weights, _transforms(body.parents, joints, turned))
    missing = posed(reduced, body, reduced.pose, reduced.betas) - placed
    plain = np.linalg.det(blended) > _SMALLEST
    blended[~plain] = np.eye(3)
    vertices = vertices + np.where(plain[:, None], np.linalg.solve(blended, missing[..., None])[..., 0], 0)
    joint_shapes = np.concatenate([body.regressor @ body.shapes, np.zeros((len(body.offsets), len(JOINTS), 3))])
    made = {
        "vertices": reduced.scale * (vertices + reduced.translation),
        "joints": reduced.scale * (joints + reduced.translation),
        "weights": weights,
        "canonical": turned,
        "vertex_shapes": reduced.scale * (ahead - behind) / (2 * _STEP),
        "joint_shapes": reduced.scale * joint_shapes,
    }
    config = ArticulationConfig(
        bones=JOINTS,
        parents=body.parents,
        num_vertices=len(vertices),
        num_faces=len(reduced.faces),
        num_shapes=len(directions),
        num_neighbours=reduced.neighbours.shape[1],
        rule="vertex",
        hull=reduced.scale * reduced.hull,
        shell=0.0,  # points are mapped however far they are
    )
    arrays = {name: np.asarray(array, np.float32) for name, array in made.items()}
    return config, arrays | {name: np.int32(getattr(reduced, name)) for name in ("faces", "neighbours")}


def pose(template: Mapping[str, Any], canonical: Mapping[str, Any], parameters: jax.Array) -> Pose:
    """The pose (...) of a template in which GNARF's body has these parameters (..., 82) or (..., 85).

    canonical: betas, translation and scale of the canonical body, see `Reduced`.
    parameters: as in GNARF's labels behind the 25 numbers of the camera: 3 of the orientation and 69 of the body's
      pose, axis times angle of 24 joints, 10 of its shape; and where there are any, 3 of its translation in metres.
      Without these it stays where the canonical body is.

    Raises ValueError: they are not as many.
    """
    parameters = jnp.asarray(parameters, jnp.float32)
    if parameters.shape[-1:] not in ((82,), (85,)):
        raise ValueError(f"the body has parameters of shape {parameters.shape}, expected (..., 82) or (..., 85)")
    vectors, betas, moved = jnp.split(parameters, [72, 82], axis=-1)
    rotations = smpl.rotations(vectors.reshape((*vectors.shape[:-1], len(JOINTS), 3)))
    turned = smpl.pose_feature(rotations) - smpl.pose_feature(template["canonical"])
    shape = jnp.concatenate([betas - jnp.asarray(canonical["betas"], jnp.float32), turned], axis=-1)
    home = jnp.asarray(canonical["translation"], jnp.float32)
    translation = canonical["scale"] * (moved - home if moved.shape[-1] else jnp.zeros((*moved.shape[:-1], 3)))
    return Pose(rotations, translation, jnp.ones(parameters.shape[:-1]), shape)


def deviation(reduced: Reduced, body: Smpl, template: Mapping[str, np.ndarray]) -> tuple[float, float, float]:
    """By how much our posed vertices differ from GNARF's, in metres: (half, 99 %, all) of them differ at most so.

    Of every vertex the most that it does where one joint after the other, and about each axis, is turned by 60 degrees
    from the canonical pose.
    """
    vertices, weights, joints = (np.asarray(template[name], np.float64) for name in ("vertices", "weights", "joints"))
    offsets = np.asarray(template["vertex_shapes"][len(body.shapes) :], np.float64)
    home = smpl.pose_feature(smpl.rotations(reduced.pose))
    worst = np.zeros(len(vertices))
    for joint in range(len(JOINTS)):
        vectors = np.repeat(reduced.pose[None], 3, axis=0)
        vectors[:, joint] += _BEND * np.eye(3)
        turned = smpl.rotations(vectors)
        resting = vertices + np.tensordot(smpl.pose_feature(turned) - home, offsets, 1)
        ours = _skinned(resting, weights, _transforms(body.parents, joints, turned))[0]
        theirs = reduced.scale * (posed(reduced, body, vectors, reduced.betas) + reduced.translation)
        worst = np.maximum(worst, np.linalg.norm(ours - theirs, axis=-1).max(axis=0) / reduced.scale)
    half, most, every = np.quantile(worst, [0.5, 0.99, 1])
    return float(half), float(most), float(every)


def _transforms(parents: tuple[int, ...], joints: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """`skinning.transforms` of joints (..., B, 3) and rotations (..., B, 3, 3), float64 and without compiling it."""
    made: list[np.ndarray] = []
    own = np.zeros((*turned.shape[:-2], 4, 4))
    own[..., :3, :3], own[..., 3, 3] = turned, 1
    own[..., :3, 3] = joints - np.einsum("...ij,...j->...i", turned, joints)
    for bone, parent in enumerate(parents):
        made.append(own[..., bone, :, :] if parent < 0 else made[parent] @ own[..., bone, :, :])
    return np.stack(made, axis=-3)


def _skinned(vertices: np.ndarray, weights: np.ndarray, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (..., V, 3) moved by bones (..., B, 4, 4), and by which matrices (..., V, 3, 3); float64."""
    blended = np.einsum("vb,...bij->...vij", weights, moved)
    rotated = blended[..., :3, :3]
    return np.einsum("...vij,...vj->...vi", rotated, vertices) + blended[..., :3, 3], rotated.copy()
