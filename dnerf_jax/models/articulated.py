"""Bodies that move: what a pose does to a template, and where points of the posed world lie in the canonical one.

An articulated generator's planes are those of one canonical pose (section 3.3 of the paper; GNARF). A `Pose` turns the
bones of its template, a mesh that it has learned to live in; rays are sampled where they pass through the posed mesh,
grown by a hull, and every sample's features are looked up at its canonical point. Nothing else knows that a body moves:

    scene = synthesize(model, z, pose=pose)         # the planes of a latent, and the body of a pose
    view = render(model, scene, camera)             # as of anything else

World units and axes are the generator's; see `ops.articulation` and `ops.skinning` for the geometry.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from dnerf_jax.ops import articulation, checks, skinning
from dnerf_jax.ops.articulation import Rule
from dnerf_jax.ops.batched import Batched
from dnerf_jax.ops.cameras import Rays
from dnerf_jax.ops.messages import did_you_mean, some
from dnerf_jax.ops.precision import einsum
from dnerf_jax.ops.ranges import Count, Natural, NotNegative, Positive
from dnerf_jax.ops.skinning import Skeleton

EMPTY = 1e3  # by which raw density is lowered where there is no body
_SMALLEST = 0.01  # share of its scale to which a body may be shrunk, and its inverse


@dataclasses.dataclass(frozen=True)
class ArticulationConfig:
    """How a generator's body moves.

    Attributes:
      bones: their names, each after its parent; parents: the numbers of these, -1 for the root.
      num_vertices, num_faces: of the template.
      num_shapes: directions in which its shape may vary.
      num_neighbours: the most faces at a vertex, for the rule "vertex", else 0.
      rule: how points find their place in the canonical world (see `ops.articulation`).
      hull: world units by which the posed mesh is grown, within which rays are sampled.
      shell: world units from the posed mesh beyond which there is nothing, 0 for no such limit, as GNARF has it.
      num_poses: that the template has with it: those that the generator was trained in.
      shape_hidden: hidden units by which the generator tells a latent's shape from its w; a pose's own shape is added.
        0 where shapes are those of poses alone.
    """

    bones: tuple[str, ...]
    parents: tuple[int, ...]
    num_vertices: Count
    num_faces: Count
    num_shapes: Natural = 0
    num_neighbours: Natural = 0
    rule: Rule = "blend"
    hull: Positive = 0.05
    shell: NotNegative = 0.05
    shape_hidden: Natural = 0
    num_poses: Natural = 0

    def __post_init__(self) -> None:
        if (self.rule == "vertex") != bool(self.num_neighbours):
            raise ValueError(
                f"num_neighbours is {self.num_neighbours} with the rule {self.rule!r}: the rule 'vertex', and no other,"
                " needs the most faces at a vertex"
            )
        wrong = [bone for number, bone in enumerate(self.bones[: len(self.parents)]) if not self._after(number)]
        if len(self.parents) != len(self.bones) or len(set(self.bones)) != len(self.bones) or wrong or not self.bones:
            raise ValueError(
                f"there are {len(self.bones)} bones and {len(self.parents)} parents, expected as many, each bone with a"
                f" name of its own and after its parent, the first alone without one"
                + (f"; not so are {some(wrong)}" if wrong else "")
            )

    def _after(self, number: int) -> bool:
        return -1 <= self.parents[number] < number and (self.parents[number] == -1) == (number == 0)


@struct.dataclass(repr=False)
class Pose(Batched):
    """Poses (...) of a template of B bones and S directions of its shape.

    rotations: (..., B, 3, 3) of every bone about its joint, against its parent, in the axes of the bind pose's world;
    the first turns the whole body. translation: (..., 3), world units, after all else. scale: (...), of the posed body
    about the world's origin, before it is moved. shape: (..., S) in units of its directions.
    """

    rotations: jax.Array
    translation: jax.Array
    scale: jax.Array
    shape: jax.Array

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading dimensions."""
        return self.rotations.shape[:-3]


@struct.dataclass(repr=False)
class Body(Batched):
    """A template in a pose: what rays meet, and what their samples are carried back by. Leading dimensions (...).

    posed, canonical: (..., V, 3) vertices in both worlds. turned: (..., V, 3, 3) at each, whose transpose takes offsets
    from the posed to the canonical one. hull: (..., V, 3) the posed ones, grown. faces: (..., F, 3) int32, and
    for the rule "vertex" neighbours (..., V, K), the numbers of the faces at each vertex.
    """

    posed: jax.Array
    canonical: jax.Array
    turned: jax.Array
    hull: jax.Array
    faces: jax.Array
    neighbours: jax.Array | None = None

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading dimensions."""
        return self.posed.shape[:-2]


def abstract_template(config: ArticulationConfig) -> dict[str, jax.Array]:
    """A template of zeros: the arrays that generators keep of theirs, by name.

    vertices (V, 3), joints (B, 3), weights (V, B), faces (F, 3) int32; canonical (B, 3, 3), the canonical pose's
    rotations. Where its shape varies, vertex_shapes (S, V, 3) and joint_shapes (S, B, 3): what a unit of each direction
    adds. For the rule "vertex" neighbours (V, K) int32, see `articulation.incident`. Where there are P poses, poses
    (P, B, 3, 3), the rotations of `Pose`, and translations (P, 3).
    """
    v, b, s, p = config.num_vertices, len(config.bones), config.num_shapes, config.num_poses
    shapes = {"vertices": (v, 3), "joints": (b, 3), "weights": (v, b), "canonical": (b, 3, 3)}
    shapes |= {"vertex_shapes": (s, v, 3), "joint_shapes": (s, b, 3)} if s else {}
    shapes |= {"poses": (p, b, 3, 3), "translations": (p, 3)} if p else {}
    indices = {"faces": (config.num_faces, 3)}
    indices |= {"neighbours": (v, config.num_neighbours)} if config.num_neighbours else {}
    made = {name: jnp.zeros(shape, jnp.float32) for name, shape in shapes.items()}
    return made | {name: jnp.zeros(shape, jnp.int32) for name, shape in indices.items()}


def still(config: ArticulationConfig, template: Mapping[str, jax.Array]) -> Pose:
    """The canonical pose itself."""
    return Pose(template["canonical"], jnp.zeros(3), jnp.ones(()), jnp.zeros(config.num_shapes))


def known(config: ArticulationConfig, template: Mapping[str, jax.Array], number: ArrayLike) -> Pose:
    """The poses (...) of these numbers (...) among those that the template has: its generator was trained in them.

    Raises ValueError: the template has none, or none of such a number.
    """
    chosen = jnp.asarray(number)
    given = checks.known(chosen) if jnp.issubdtype(chosen.dtype, jnp.integer) else np.array(-1)
    if not config.num_poses or (given is not None and not ((given >= 0) & (given < config.num_poses)).all()):
        raise ValueError(f"the template has {config.num_poses} poses, counted from 0, and no number {number!r:.100}")
    rotations, translation = template["poses"][chosen], template["translations"][chosen]
    return Pose(rotations, translation, jnp.ones(chosen.shape), jnp.zeros((*chosen.shape, config.num_shapes)))


def turned(config: ArticulationConfig, turns: Mapping[str, ArrayLike]) -> Pose:
    """A pose (...) by hand: bones by name, and for each an axis times an angle in radians, (..., 3).

    Bones turn as those of `Pose` do; others are as in the bind pose. {"upperarm01.L": (0, 0, 1.0)} lifts the left arm.
    Raises ValueError, naming the bone: there is none of its name, or it has not three finite numbers.
    """
    unknown = [f"{bone!r:.80}{did_you_mean(bone, config.bones)}" for bone in turns if bone not in config.bones]
    if unknown:
        raise ValueError(f"the template has no bones {some(unknown)}")
    vectors, batch = dict[str, jax.Array](), jnp.shape(0)
    for bone, given in turns.items():
        try:
            vectors[bone] = vector = jnp.asarray(given, jnp.float32)
            checks.shape("it", vector, 3)
            checks.finite("it", vector)
            batch = jnp.broadcast_shapes(batch, vector.shape[:-1])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{bone} is turned by an axis times an angle, three numbers: {error}") from None
    rotations = jnp.broadcast_to(jnp.eye(3), (*batch, len(config.bones), 3, 3))
    for bone, vector in vectors.items():
        rotations = rotations.at[..., config.bones.index(bone), :, :].set(skinning.rotation(vector))
    return Pose(rotations, jnp.zeros((*batch, 3)), jnp.ones(batch), jnp.zeros((*batch, config.num_shapes)))


def check(config: ArticulationConfig, pose: Any) -> Pose:
    """The pose, float32. Raises ValueError, saying what is wrong with it, unless it is one of this template."""
    if not isinstance(pose, Pose):
        raise ValueError(f"a {type(pose).__name__} was given for the pose: articulated.Pose has bones' rotations")
    bones, shapes = len(config.bones), config.num_shapes
    shape = jnp.shape(pose.rotations)
    if shape[-3:] != (bones, 3, 3):
        raise ValueError(
            f"the pose has rotations of shape {shape}, expected (..., {bones}, 3, 3) of the bones"
            f" {some(config.bones, 40)}"
        )
    for name, ends in (("translation", (3,)), ("scale", ()), ("shape", (shapes,))):
        if jnp.shape(getattr(pose, name)) != (*shape[:-3], *ends):
            raise ValueError(
                f"the pose has {name} of shape {jnp.shape(getattr(pose, name))}, expected {(*shape[:-3], *ends)}"
            )
    for name in ("rotations", "translation", "scale", "shape"):
        checks.finite(f"the pose's {name}", getattr(pose, name))
    rotations, scale = checks.known(pose.rotations), checks.known(pose.scale)
    if rotations is not None and rotations.size:
        off = np.abs(np.swapaxes(rotations, -1, -2) @ rotations - np.eye(3)).max(axis=(-1, -2))
        bad = (off > 1e-3) | (np.linalg.det(rotations) < 0)
        if bad.any():
            names = [config.bones[i] for i in np.flatnonzero(bad.reshape(-1, bones).any(axis=0))]
            raise ValueError(f"the pose's rotations of {some(names)} are none: orthonormal, of determinant 1")
    if scale is not None and not ((scale >= _SMALLEST) & (scale <= 1 / _SMALLEST)).all():
        raise ValueError(f"the pose's scale is {scale}, expected {_SMALLEST:g} to {1 / _SMALLEST:g}")
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), pose)


def body(config: ArticulationConfig, template: Mapping[str, jax.Array], pose: Pose) -> Body:
    """The template in poses (...). Raises ValueError as `check`."""
    pose = check(config, pose)

    def one(pose: Pose) -> Body:
        posed, turned = _skinned(config, template, pose.rotations, pose.shape)
        canonical, back = _skinned(config, template, template["canonical"], jnp.zeros_like(pose.shape))
        posed = posed * pose.scale + pose.translation
        hull = articulation.grown(posed, template["faces"], config.hull)
        # Blended matrices: their transposes turn back, and take back what the scale did.
        turned = einsum("vij,vkj->vik", turned, back) / pose.scale
        return Body(posed, canonical, turned, hull, template["faces"], template.get("neighbours"))

    for _ in pose.batch_shape:
        one = jax.vmap(one)
    return one(pose)


def joints(config: ArticulationConfig, template: Mapping[str, jax.Array], pose: Pose) -> jax.Array:
    """Where the joints (..., B, 3) of the template in poses (...) are: of each bone the point that it turns about.

    A latent's own shape counts where it was added to the pose's. Raises ValueError as `check`.
    """
    pose = check(config, pose)

    def one(pose: Pose) -> jax.Array:
        _, at, moved = _moved(config, template, pose.rotations, pose.shape)
        at = einsum("bij,bj->bi", moved[:, :3, :3], at) + moved[:, :3, 3]
        return at * pose.scale + pose.translation

    for _ in pose.batch_shape:
        one = jax.vmap(one)
    return one(pose)


def _moved(
    config: ArticulationConfig, template: Mapping[str, jax.Array], rotations: jax.Array, shape: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Vertices (V, 3) and joints (B, 3) of a shape in the bind pose, and what each bone does to them (B, 4, 4)."""
    vertices, at = template["vertices"], template["joints"]
    if config.num_shapes:
        vertices = vertices + einsum("s,svi->vi", shape, template["vertex_shapes"])
        at = at + einsum("s,sbi->bi", shape, template["joint_shapes"])
    return vertices, at, skinning.transforms(Skeleton(at, config.parents), rotations)


def _skinned(
    config: ArticulationConfig, template: Mapping[str, jax.Array], rotations: jax.Array, shape: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Vertices (V, 3) in a pose, and their rotations."""
    vertices, _, moved = _moved(config, template, rotations, shape)
    return skinning.skin(vertices, template["weights"], moved)


def to_canonical(config: ArticulationConfig, body: Body, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Canonical points (..., 3) of points (..., 3) of the posed world of one body, and whether there is any body."""
    if config.rule == "vertex" and body.neighbours is not None:
        found = articulation.steepest_face(points, body.posed, body.faces, body.neighbours)
    else:
        found = articulation.nearest_face(points, body.posed, body.faces)
    turned = body.turned if config.rule == "blend" else None
    moved = articulation.to_canonical(config.rule, points, found.face, body.posed, body.canonical, body.faces, turned)
    inside = found.distance <= config.shell if config.shell else jnp.ones_like(found.distance, jnp.bool_)
    return moved, inside


def to_posed(config: ArticulationConfig, body: Body, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The way back: posed points (..., 3) of canonical ones of one body, and whether they are within its shell.

    By the same rule, from the canonical surface to the posed one; near the surface, where neither bends much, the
    inverse of `to_canonical`.
    """
    back = Body(body.canonical, body.posed, jnp.linalg.inv(body.turned), body.hull, body.faces, body.neighbours)
    return to_canonical(config, back, points)


def ray_limits(body: Body, rays: Rays) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Distances (...) at which rays enter and leave the hull of one body, and whether they meet it."""
    return articulation.ray_limits(rays, body.hull, body.faces)


def over_hits(one: Callable[[Any], Any], empty: Any, body: Body, rays: Rays, others: Any, *, rays_at_once: int) -> Any:
    """What `one` makes of rays (h, w) that meet the hull of a body; of the others it is `empty`.

    Rays are sorted by whether they meet it, and taken in parts of so many; parts of which none does are not rendered.
    So nothing is cut, however much of an image a body fills, and gradients pass.

    Args:
      one: of (rays (N,), others (N, ...), limits (N,) twice) a pytree of arrays (N, ...).
      empty: such a pytree of N = 1.
      others: a pytree of arrays (h, w, ...), what goes with rays.
    """
    shape, count = rays.batch_shape, math.prod(rays.batch_shape)
    flat = jax.tree.map(lambda x: x.reshape((count, *x.shape[2:])), (rays, others))
    start, end, hit = ray_limits(body, flat[0])
    order = jnp.argsort(~hit, stable=True)
    every = (*flat, (start, end)), hit
    parts = jax.tree.map(lambda x: x[order].reshape((count // rays_at_once, rays_at_once, *x.shape[1:])), every)

    def nothing(_: Any) -> Any:
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (rays_at_once, *x.shape[1:])), empty)

    found = jax.lax.map(lambda part: jax.lax.cond(jnp.any(part[1]), jax.checkpoint(one), nothing, part[0]), parts)
    back = jnp.argsort(order)
    return jax.tree.map(lambda x: x.reshape((count, *x.shape[2:]))[back].reshape((*shape, *x.shape[2:])), found)
