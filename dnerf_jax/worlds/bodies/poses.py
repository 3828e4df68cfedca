"""Poses drawn within joint limits, and how far a body then is inside of itself.

A pose is a few angles in degrees, each drawn from a triangle (lowest, likeliest, highest); see `LIMITS`. Axes are the
world's in the rest pose: x the subject's left, y up, z forward.
"""

import numpy as np
from scipy.interpolate import PchipInterpolator

from dnerf_jax.worlds import meshes
from dnerf_jax.worlds.bodies import posing, table
from dnerf_jax.worlds.bodies.posing import rotation
from dnerf_jax.worlds.bodies.table import BONES

# Bends are forwards, side bends and turns to the subject's left; those of limbs are outwards and alike on both sides.
LIMITS: dict[str, tuple[float, float, float]] = {
    "spine_bend": (-15, 3, 45),
    "spine_side": (-20, 0, 20),
    "chest_bend": (-20, 5, 40),
    "chest_side": (-25, 0, 25),
    "chest_turn": (-35, 0, 35),
    "neck_nod": (-30, 0, 30),
    "neck_turn": (-50, 0, 50),
    "hip_bend": (-25, 10, 60),
    "hip_spread": (-8, 10, 50),
    "hip_turn": (-30, 5, 35),
    "knee": (0, 20, 130),
    "ankle": (-25, 0, 30),
    "shoulder_bend": (-45, 20, 165),
    "shoulder_spread": (-20, 25, 125),
    "shoulder_turn": (-50, 0, 50),
    "elbow": (0, 25, 140),
}
_WHOLE = ("spine_bend", "spine_side", "chest_bend", "chest_side", "chest_turn", "neck_nod", "neck_turn")
_DEEP = (60.0, 85.0, 110.0)  # of one hip in three
_ARMS_HANG = 50.0  # degrees below the horizontal at which the rest pose's arms are, which "spread" starts from
ALLOWED = 0.02  # share of vertices inside another part
_TRIES = 200
Angles = dict[str, float]


def angles(rng: np.random.Generator) -> Angles:
    """Draws the angles of a pose in degrees: the trunk's by name, those of limbs as "left_..." and "right_..."."""
    drawn = {name: float(rng.triangular(*LIMITS[name])) for name in _WHOLE}
    for side in ("left", "right"):
        for name in LIMITS:
            if name not in _WHOLE:
                drawn[f"{side}_{name}"] = float(rng.triangular(*LIMITS[name]))
        if rng.random() < 1 / 3:
            drawn[f"{side}_hip_bend"] = float(rng.triangular(*_DEEP))
        # A leg that is lifted is bent.
        low, _, high = LIMITS["knee"]
        likely = float(np.clip(0.9 * drawn[f"{side}_hip_bend"], low, high))
        drawn[f"{side}_knee"] = float(rng.triangular(low, likely, high))
    return drawn


def rotations(of: Angles) -> np.ndarray:
    """Rotations (38, 3, 3) of the bones at these angles; what is not named is at rest."""
    turned = np.tile(np.eye(3), (len(BONES), 1, 1))
    joints = table.load().joints

    def angle(name: str) -> float:
        return of.get(name, 0.0)

    for bones, part in ((("spine05", "spine04", "spine03"), "spine"), (("spine02", "spine01"), "chest")):
        share = 1 / len(bones)
        for bone in bones:
            turned[BONES.index(bone)] = (
                rotation((0, 1, 0), share * angle(f"{part}_turn"))
                @ rotation((0, 0, 1), -share * angle(f"{part}_side"))
                @ rotation((1, 0, 0), share * angle(f"{part}_bend"))
            )
    for bone in ("neck01", "neck02", "neck03", "head"):
        turned[BONES.index(bone)] = rotation((0, 1, 0), angle("neck_turn") / 4) @ rotation(
            (1, 0, 0), angle("neck_nod") / 4
        )
    for side, letter, sign in (("left", "L", 1.0), ("right", "R", -1.0)):

        def put(bone: str, matrix: np.ndarray, letter: str = letter) -> None:
            turned[BONES.index(f"{bone}.{letter}")] = matrix

        put(
            "upperleg01",
            rotation((1, 0, 0), -angle(f"{side}_hip_bend"))
            @ rotation((0, 0, 1), sign * angle(f"{side}_hip_spread"))
            @ rotation((0, 1, 0), sign * angle(f"{side}_hip_turn")),
        )
        put("lowerleg01", rotation((1, 0, 0), angle(f"{side}_knee")))
        put("foot", rotation((1, 0, 0), angle(f"{side}_ankle")))
        shoulder, elbow, wrist = (joints[BONES.index(f"{b}.{letter}")] for b in ("upperarm01", "lowerarm01", "wrist"))
        arm, forearm = elbow - shoulder, wrist - elbow
        # Down from where it rests to hanging, then forwards, outwards, and about itself.
        hanging = rotation((0, 0, 1), -sign * (90.0 - _ARMS_HANG) * 0.9)
        put(
            "upperarm01",
            rotation((1, 0, 0), -angle(f"{side}_shoulder_bend"))
            @ rotation((0, 0, 1), sign * angle(f"{side}_shoulder_spread"))
            @ hanging
            @ rotation(arm, sign * angle(f"{side}_shoulder_turn")),
        )
        put("lowerarm01", rotation(np.cross(forearm, (0, 0, 1)), angle(f"{side}_elbow")))
    return turned.astype(np.float32)


def inside(rotations: np.ndarray) -> float:
    """Share of the mean template's vertices that are inside of it, in a pose (38, 3, 3): of parts within others."""
    stored = table.load()
    posed = stored.posed_template(np.asarray(rotations, np.float64))
    normals = meshes.vertex_normals(posed, stored.template_faces)
    return float(np.mean(meshes.winding_numbers(posed + 0.004 * normals, posed, stored.template_faces) > 0))


def sample(rng: np.random.Generator) -> np.ndarray:
    """Draws rotations (38, 3, 3) of which less than ALLOWED of the body is inside of itself."""
    for _ in range(_TRIES):
        drawn = rotations(angles(rng))
        if inside(drawn) < ALLOWED:
            return drawn
    raise RuntimeError(f"none of {_TRIES} poses had less than {ALLOWED:.0%} of a body inside of itself")


def far_apart(rotations: np.ndarray, count: int) -> np.ndarray:
    """Numbers (count,) of those of poses (N, 38, 3, 3) that are far from each other, by where joints are."""
    stored = table.load()
    moved = np.stack([posing.transforms(stored.joints, table.PARENTS, pose) for pose in rotations])
    places = np.einsum("nbij,bj->nbi", moved[..., :3], stored.joints) + moved[..., 3]
    places = places.reshape(len(rotations), -1)
    chosen = [0]
    nearest = np.linalg.norm(places - places[0], axis=1)
    for _ in range(count - 1):
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return np.array(chosen)


def motion(rng: np.random.Generator, frames: int, keys: int = 5) -> np.ndarray:
    """A smooth path (frames, 38, 3, 3) through `keys` drawn poses: cubics of their angles that do not overshoot.

    All frames keep ALLOWED; paths that do not are drawn anew.
    """
    for _ in range(_TRIES):
        drawn = [angles(rng) for _ in range(keys)]
        names = list(drawn[0])
        path = PchipInterpolator(np.linspace(0, 1, keys), [[pose[name] for name in names] for pose in drawn])
        made = np.stack([rotations(dict(zip(names, row, strict=True))) for row in path(np.linspace(0, 1, frames))])
        if all(inside(pose) < ALLOWED for pose in made):
            return made
    raise RuntimeError(f"none of {_TRIES} motions had less than {ALLOWED:.0%} of a body inside of itself throughout")
