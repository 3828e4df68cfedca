"""A recording's motion on a template's bones: which joint moves which bone, and what a rotation means for the other.

Joints are named in many ways, and skeletons rest in many poses. `pairs` finds the bone of a joint by its name, and
`retarget` turns every bone b as its joint j is turned in the world,

    W_b = G_j A_b,    local: W_parent^T W_b,

where A_b takes the template's rest pose to the recording's: what the bone above it has, then the smallest rotation
between the directions to the next bone that is moved. So a recording that rests with its arms held out moves a template
that rests with them down. Of the trunk, head, collars and feet directions count only where they are far apart: joints
there are elsewhere in every skeleton. Bones that no joint moves keep to the bone above them.

The world of a recording has y up, or z if it is said so; its skeleton rests upright along any of the axes, since some
do along x. Nothing else is assumed: it may face any way (most face z), and have any unit of length.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from dnerf_jax.io.bvh import Recording
from dnerf_jax.models.articulated import ArticulationConfig, Pose
from dnerf_jax.ops.messages import did_you_mean, some

# Parts of a body, by what is left of a name in lower case without side, digits and prefix. Limbs have a side.
_BODY = {
    "hips": r"hips?|pelvis",
    "spine": r"(lower|upper|mid)?(spine|back|abdomen|chest|torso|thorax|waist)(lower|upper|mid)?",
    "neck": r"neck(lower|upper)?",
    "head": r"head",
}
_LIMBS = {
    "thigh": r"(thigh|up(per)?leg|hip)(bend)?",
    "shin": r"shin|calf|knee|(low(er)?)?leg",
    "foot": r"foot|ankle",
    "clavicle": r"clavicle|collar",
    "upperarm": r"(shldr|(up(per)?)?arm)(bend)?",
    "forearm": r"(forearm|low(er)?arm|elbow)(bend)?",
    "hand": r"hand|wrist",
}
_TRUNK = (*_BODY, "clavicle")
# What hangs on these, between or above them, and turns nothing that a template has.
_FINGERS = r"(in)?(hand|foot)?(thumb|index|mid|middle|ring|pinky|pinkie|little|finger|toe|toes|ball|forefoot)"
_PASSED = re.compile(
    rf"{_FINGERS}(base|tip)?|.*(nub|end|site|effector|twist|roll|metacarpal|carpal)|buttock|hipjoint|heel|eye|eyelid|"
    r"jaw|tongue|(joint)?root|reference|armature"
)
_PREFIX = re.compile(r".*:|(mixamorig\d*|bip\d*|[mf]_avg)[_ .-]+", re.IGNORECASE)
_SIDES = (
    re.compile(r"(?i:(?P<side>left|right)[_ .-]*)(?P<rest>.+)"),
    re.compile(r"(?P<side>[lrLR])([_ .-]+|(?=[A-Z]))(?P<rest>.+)"),
    re.compile(r"(?P<rest>.+?)(?i:[_ .-]+(?P<side>left|right|l|r)|(?P<end>left|right))"),
)
_FAR = np.cos(np.radians(45.0))  # of the trunk: joints are elsewhere in every skeleton, so less says nothing
_OPPOSITE = -0.5  # cosine: limbs that rest so far from the template's are turned sideways, as arms and legs are lifted
Role = tuple[str, str]  # side "l", "r" or "", and part


def pairs(
    recording: Recording, config: ArticulationConfig, joints: Mapping[str, str | None] | None = None
) -> dict[int, int]:
    """The number of the joint that moves a bone, by the bone's number.

    A joint moves the bone that `joints` says, else that of its own name, else that of the same part of the body. Of
    several in a part the first joint has the first bone; in spine and neck they are spread evenly, and the last has its
    say. Fingers, toes, eyes, twists and what lies between are passed over.

    Raises ValueError: a joint is of no part that is known (all are listed), `joints` has unknown names, two joints move
    one bone, or none moves the root.
    """
    known, given = list(recording.joints), dict(joints or {})
    wrong = [f"{name!r:.80}{did_you_mean(name, known)}" for name in map(str, given) if name not in known]
    wrong += [
        f"{bone!r:.80}{did_you_mean(str(bone), config.bones)}"
        for bone in given.values()
        if bone is not None and bone not in config.bones
    ]
    if wrong:
        raise ValueError(f"`joints` has unknown names, expected joints of the file and bones: {some(wrong)}")
    joint_roles, bone_roles = roles(known), roles(config.bones)
    of_bones = dict(zip(config.bones, bone_roles, strict=True))
    for name, role in zip(known, joint_roles, strict=True):
        # A "root" above the hips is not the template's, which is its hips.
        if name not in given and name not in given.values() and of_bones.get(name, ()) == role:
            given[name] = name
    bones = [bone for bone in given.values() if bone is not None]
    twice = sorted({bone for bone in bones if bones.count(bone) > 1})
    if twice:
        raise ValueError(f"`joints` has several joints for [{some(twice)}], expected at most one for each bone")
    found = {config.bones.index(bone): known.index(joint) for joint, bone in given.items() if bone is not None}
    unknown = [
        name
        for name, role in zip(known, joint_roles, strict=True)
        if name not in given and role is None and not _PASSED.fullmatch(_parts(name)[1])
    ]
    if unknown:
        raise ValueError(
            f"it has the joints [{some(unknown, 40)}], of which no part of a body is known: say which bones they move,"
            f' or None, as in joints={{"{unknown[0]:.80}": "{config.bones[0]}"}}; the bones are'
            f" {some(config.bones, 40)}"
        )
    for role in dict.fromkeys(role for role in joint_roles if role):
        have = [i for i, other in enumerate(joint_roles) if other == role and known[i] not in given]
        want = [i for i, other in enumerate(bone_roles) if other == role and i not in found]
        found |= _spread(have, want) if role[1] in ("spine", "neck") else dict(zip(want, have, strict=False))
    if 0 not in found:
        raise ValueError(
            f"none of its joints moves the root {config.bones[0]!r}: say which, as in"
            f' joints={{"{known[0]:.80}": "{config.bones[0]}"}}'
        )
    return dict(sorted(found.items()))


def _spread(joints: Sequence[int], bones: Sequence[int]) -> dict[int, int]:
    have, want = len(joints), len(bones)
    if have <= want:
        return {bones[k * want // have]: joint for k, joint in enumerate(joints)}
    return {bone: joints[(k + 1) * have // want - 1] for k, bone in enumerate(bones)}


def roles(names: Sequence[str]) -> list[Role | None]:
    """What part of a body each name is of, or None. A "shoulder" is what its skeleton lacks: the arm or the collar."""
    split = [_parts(name) for name in names]
    made: list[Role | None] = []
    for side, part in split:
        table = _LIMBS if side else _BODY
        made.append(next(((side, role) for role, pattern in table.items() if re.fullmatch(pattern, part)), None))
    for number, (side, part) in enumerate(split):
        if side and part == "shoulder":
            lacks = [limb for limb in ("upperarm", "clavicle") if (side, limb) not in made]
            made[number] = (side, lacks[0]) if lacks else None
    if ("", "hips") not in made:
        first = next((number for number, (_, part) in enumerate(split) if part in ("root", "jointroot")), None)
        if first is not None:
            made[first] = ("", "hips")
    return made


def _parts(name: str) -> tuple[str, str]:
    """The side, "l", "r" or "", and the rest of a name."""
    name, side = _PREFIX.sub("", name, count=1), ""
    for pattern in _SIDES:
        match = pattern.fullmatch(name)
        if match:
            found = match.groupdict()
            name, side = found["rest"], (found["side"] or found.get("end") or "")[0].lower()
            break
    return side, re.sub(r"[^a-z]", "", name.lower())


def retarget(
    recording: Recording,
    config: ArticulationConfig,
    template: Mapping[str, Any],
    joints: Mapping[str, str | None] | None = None,
    *,
    up: str = "y",
) -> Pose:
    """Poses (F,) of the template, NumPy float32, of scale 1 and no shape.

    The root moves as its joint does, times the template's length of legs over the recording's (of all bones that are
    moved, where it has no legs). In the first frame the middle of the template's box is at the origin, where cameras
    look.

    Args:
      up: "y" or "z", the axis of the recording's world.

    Raises ValueError as `pairs`, and if the joints that move bones are all at one place.
    """
    if up not in ("y", "z"):
        raise ValueError(f"up is {up!r}, expected 'y' or 'z'")
    upright = np.eye(3) if up == "y" else np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    found = pairs(recording, config, joints)
    above, parts = _above(config, found), _parts_of(recording, config, found)
    rest, places = np.asarray(template["joints"], np.float64), recording.rest()
    aligned = _aligned(recording, template, found, above, parts)
    turned = recording.world(list(found.values()))
    frames = len(recording.values)
    rotations = np.tile(np.eye(3), (frames, len(config.bones), 1, 1))
    whole = {bone: upright @ turned[joint][0] @ aligned[bone] for bone, joint in found.items()}
    for bone, world in whole.items():
        rotations[:, bone] = np.swapaxes(whole[above[bone]], -1, -2) @ world if bone else world
    legs = [bone for bone in found if bone and (parts[bone] or "  ")[1] in ("shin", "foot")] or list(found)[1:]
    ours = sum(np.linalg.norm(rest[bone] - rest[above[bone]]) for bone in legs)
    theirs = sum(np.linalg.norm(places[found[bone]] - places[found[above[bone]]]) for bone in legs)
    if not theirs > 0:
        raise ValueError("the joints that move bones are all at one place: there are no lengths to scale its way by")
    way = turned[found[0]][1] @ upright.T
    translation = (way - way[0]) * (ours / theirs) - _middle(config, template, rotations[0])
    made = (rotations, translation, np.ones(frames), np.zeros((frames, config.num_shapes)))
    return Pose(*(x.astype(np.float32) for x in made))


def _middle(config: ArticulationConfig, template: Mapping[str, Any], rotations: np.ndarray) -> np.ndarray:
    """The middle (3,) of the template's box in a pose (B, 3, 3); `ops.skinning` in NumPy, with nothing compiled."""
    joints, weights = (np.asarray(template[name], np.float64) for name in ("joints", "weights"))
    vertices, posed = np.asarray(template["vertices"], np.float64), 0.0
    turned, places = rotations.copy(), joints.copy()
    for bone, parent in enumerate(config.parents):
        if parent >= 0:
            turned[bone] = turned[parent] @ rotations[bone]
            places[bone] = places[parent] + turned[parent] @ (joints[bone] - joints[parent])
        posed = posed + weights[:, bone, None] * ((vertices - joints[bone]) @ turned[bone].T + places[bone])
    return (np.min(posed, axis=0) + np.max(posed, axis=0)) / 2


def _above(config: ArticulationConfig, found: Mapping[int, int]) -> dict[int, int]:
    """Of every bone that is moved the next one above it that is, -1 for the root."""
    made = {}
    for bone in found:
        parent = config.parents[bone]
        while parent >= 0 and parent not in found:
            parent = config.parents[parent]
        made[bone] = parent
    return made


def _parts_of(recording: Recording, config: ArticulationConfig, found: Mapping[int, int]) -> dict[int, Role | None]:
    """What each bone is by its own name, else by its joint's."""
    bones, joints = roles(config.bones), roles(recording.joints)
    return {bone: bones[bone] or joints[joint] for bone, joint in found.items()}


def _aligned(
    recording: Recording,
    template: Mapping[str, Any],
    found: Mapping[int, int],
    above: Mapping[int, int],
    parts: Mapping[int, Role | None],
) -> dict[int, np.ndarray]:
    """A of every bone (3, 3): from the template's rest pose to the recording's."""
    rest, places = np.asarray(template["joints"], np.float64), recording.rest()
    below = {bone: [other for other in found if above[other] == bone] for bone in found}
    trunk = {bone for bone, part in parts.items() if part and part[1] in _TRUNK}
    for bone in sorted(found, reverse=True):  # and whatever branches further out
        if len(below[bone]) > 1 or any(len(below[other]) > 1 for other in below[bone]):
            trunk.add(bone)
    whole = _whole(parts, found, rest, places)
    made = {-1: whole}
    for bone, joint in found.items():
        part, upper = parts[bone], made[above[bone]]
        toes = [other for other, parent in enumerate(recording.parents) if parent == joint]
        if len(below[bone]) == 1:
            ours, theirs = rest[below[bone][0]], places[found[below[bone][0]]]
        elif part and part[1] == "foot" and toes:  # which some skeletons rest on tiptoe
            weights = np.asarray(template["weights"], np.float64)[:, bone]
            ours, theirs = weights @ np.asarray(template["vertices"]) / max(weights.sum(), 1e-9), places[toes[0]]
        else:
            made[bone] = upper
            continue
        near = _FAR if bone in trunk or (part and part[1] == "foot") else 1.0
        made[bone] = _between(upper @ (ours - rest[bone]), theirs - places[joint], near, whole[:, 2]) @ upper
    return made


def _between(ours: np.ndarray, theirs: np.ndarray, near: float, forward: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) from one direction to another; none where they are as `near` as that, or have no length."""
    lengths = np.linalg.norm(ours) * np.linalg.norm(theirs)
    cosine = ours @ theirs / lengths if lengths > 0 else 1.0
    if cosine >= near:
        return np.eye(3)
    half = Rotation.from_rotvec(np.pi * forward * (cosine < _OPPOSITE))
    return (Rotation.align_vectors(theirs[None], half.apply(ours)[None])[0] * half).as_matrix()


def _whole(
    parts: Mapping[int, Role | None], found: Mapping[int, int], rest: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """How the recording's body at rest is turned against the template's, by quarters (3, 3)."""
    bones = {part: bone for bone, part in reversed(list(parts.items()))}
    tops = [bones[part] for part in (("", "neck"), ("", "head")) if part in bones]
    sides = [(bones["l", limb], bones["r", limb]) for limb in _LIMBS if ("l", limb) in bones and ("r", limb) in bones]
    frames = []
    for at in (rest, {bone: places[joint] for bone, joint in found.items()}) if tops and sides else ():
        up, left = at[tops[0]] - at[0], at[sides[0][0]] - at[sides[0][1]]
        forward = np.cross(left, up)
        axes = np.stack([np.cross(up, forward), up, forward], axis=-1)
        frames.append(axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-12))
    if not frames or not all(np.allclose(axes.T @ axes, np.eye(3), atol=1e-6) for axes in frames):
        return np.eye(3)
    quarters = Rotation.create_group("O").as_matrix().round()
    return quarters[np.argmax(np.einsum("nij,ij->n", quarters, frames[1] @ frames[0].T))]
