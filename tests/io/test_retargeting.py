"""Recordings on a template: joints find their bones, and limbs point where the recording's do."""

import dataclasses
import itertools

import numpy as np
import pytest

from dnerf_jax.io import bvh, retargeting
from dnerf_jax.models import articulated
from dnerf_jax.ops import skinning
from dnerf_jax.worlds import bodies
from dnerf_jax.worlds.bodies import posing

CONFIG, TEMPLATE = bodies.articulation(), bodies.template()
# A skeleton that stands with its arms held out: names of the parent, and where it is against it.
T_POSE = {
    "Hips": (None, (0, 0, 0)),
    "Spine": ("Hips", (0, 10, 0)),
    "Spine1": ("Spine", (0, 10, 0)),
    "Neck": ("Spine1", (0, 30, 0)),
    "Head": ("Neck", (0, 10, 0)),
    "LeftShoulder": ("Spine1", (5, 25, 0)),
    "LeftArm": ("LeftShoulder", (15, 0, 0)),
    "LeftForeArm": ("LeftArm", (30, 0, 0)),
    "LeftHand": ("LeftForeArm", (25, 0, 0)),
    "LeftHandThumb1": ("LeftHand", (5, 0, 5)),
    "LeftUpLeg": ("Hips", (10, 0, 0)),
    "LeftLeg": ("LeftUpLeg", (0, -40, 0)),
    "LeftFoot": ("LeftLeg", (0, -40, 0)),
    "LeftToeBase": ("LeftFoot", (0, -5, 15)),
}
T_POSE |= {
    name.replace("Left", "Right"): (parent.replace("Left", "Right"), (-x, y, z))
    for name, (parent, (x, y, z)) in list(T_POSE.items())
    if name.startswith("Left")
}
ARM = ("upperarm01", "lowerarm01", "wrist")


def recording(skeleton=T_POSE, frames=({},), *, renamed=None):
    """Of frames {joint: angles (z, x, y) in degrees, "at": where the root is}."""
    names = list(skeleton)
    parents = tuple(-1 if parent is None else names.index(parent) for parent, _ in skeleton.values())
    turns = ("zrotation", "xrotation", "yrotation")
    channels = tuple((() if parent >= 0 else ("xposition", "yposition", "zposition")) + turns for parent in parents)
    values = [
        [*frame.get("at", (0, 0, 0)), *(x for name in names for x in frame.get(name, (0, 0, 0)))] for frame in frames
    ]
    offsets = np.array([offset for _, offset in skeleton.values()], float)
    joints = tuple((renamed or {}).get(name, name) for name in names)
    return bvh.Recording(joints, parents, offsets, channels, np.array(values, float), 1 / 30)


def bones_of(found, made):
    return {CONFIG.bones[bone]: made.joints[joint] for bone, joint in found.items()}


def posed(pose, frame=0, transforms=posing.transforms):
    """Joints by name in a frame, and what each bone is turned by in the world."""
    assert articulated.check(CONFIG, pose) is not None
    moved = transforms(TEMPLATE["joints"], CONFIG.parents, pose.rotations[frame])
    at = np.einsum("bij,bj->bi", moved[:, :3, :3], TEMPLATE["joints"]) + moved[:, :3, 3] + pose.translation[frame]
    return dict(zip(CONFIG.bones, at, strict=True)), dict(zip(CONFIG.bones, moved[:, :3, :3], strict=True))


def direction(joints, start, end):
    way = joints[end] - joints[start]
    return way / np.linalg.norm(way)


def retargeted(*arguments, **options):
    return retargeting.retarget(recording(*arguments), CONFIG, TEMPLATE, **options)


def test_joints_find_their_bones():
    made = recording()
    found = bones_of(retargeting.pairs(made, CONFIG), made)
    assert found["root"] == "Hips" and found["clavicle.L"] == "LeftShoulder" and found["upperarm01.R"] == "RightArm"
    assert (found["lowerleg01.L"], found["foot.R"], found["wrist.L"]) == ("LeftLeg", "RightFoot", "LeftHand")
    assert {name for name in found if name.startswith("spine")} == {"spine05", "spine03"}, "evenly"
    assert len(found) == len(T_POSE) - 4, "thumbs and toes are passed over"


@pytest.mark.parametrize(
    "names",
    [
        "hip abdomen chest neck head lCollar lShldr lForeArm lHand lThumb1 lThigh lShin lFoot lToe",
        "Hips Chest Chest2 Neck Head LeftCollar LeftShoulder LeftElbow LeftWrist LThumb LeftHip LeftKnee LeftAnkle"
        " LeftToe",
        "pelvis spine_01 spine_02 neck_01 head clavicle_l upperarm_l lowerarm_l hand_l thumb_01_l thigh_l calf_l foot_l"
        " ball_l",
        "Hips spine spine1 neck Head shoulder.L upper_arm.L forearm.L hand.L thumb.01.L thigh.L shin.L foot.L toe.L",
        "m_avg_Pelvis m_avg_Spine1 m_avg_Spine2 m_avg_Neck m_avg_Head m_avg_L_Collar m_avg_L_Shoulder m_avg_L_Elbow"
        " m_avg_L_Wrist L_thumb m_avg_L_Hip m_avg_L_Knee m_avg_L_Ankle m_avg_L_Foot",
        " ".join(f"mixamorig:{name}" for name in list(T_POSE)[:14]),
    ],
)
def test_other_names_are_known(names):
    """Every name of the left finds the bone that ours finds."""
    renamed = dict(zip(list(T_POSE)[:14], names.split(), strict=True))
    ours, theirs = recording(), recording(renamed=renamed)
    found = bones_of(retargeting.pairs(theirs, CONFIG), theirs)
    expected = {bone: renamed.get(name, name) for bone, name in bones_of(retargeting.pairs(ours, CONFIG), ours).items()}
    assert found == expected


def test_more_joints_than_bones_of_the_spine():
    spine = {f"Spine{k}": (f"Spine{k - 1}" if k else "Hips", (0, 5, 0)) for k in range(8)}
    made = recording({"Hips": T_POSE["Hips"], **spine})
    found = bones_of(retargeting.pairs(made, CONFIG), made)
    assert found == {"root": "Hips"} | {f"spine0{5 - k}": f"Spine{(8 * (k + 1)) // 5 - 1}" for k in range(5)}


def test_a_root_above_the_hips_is_not_the_templates():
    made = recording({"root": (None, (0, 0, 0)), "Hips": ("root", (0, 90, 0)), "Spine": ("Hips", (0, 10, 0))})
    assert bones_of(retargeting.pairs(made, CONFIG), made) == {"root": "Hips", "spine05": "Spine"}
    alone = recording({"root": (None, (0, 0, 0)), "Spine": ("root", (0, 10, 0))})
    assert bones_of(retargeting.pairs(alone, CONFIG), alone)["root"] == "root"


def test_unknown_joints_are_listed():
    made = recording(renamed={"Spine": "Belly", "Spine1": "Tail"})
    with pytest.raises(
        ValueError, match=r'joints \[Belly, Tail\].*as in joints=\{"Belly": "root"\}; the bones are root'
    ):
        retargeting.pairs(made, CONFIG)
    found = bones_of(retargeting.pairs(made, CONFIG, {"Belly": "spine04", "Tail": None}), made)
    assert found["spine04"] == "Belly" and "Tail" not in found.values()


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        ({"Hip": "root"}, "unknown names.*'Hip'; did you mean 'Hips'"),
        ({"Hips": "rot"}, "unknown names.*'rot'; did you mean 'root'"),
        ({"Spine": "spine01", "Spine1": "spine01"}, r"several joints for \[spine01\]"),
        ({"Hips": None}, "none of its joints moves the root 'root': say which"),
    ],
)
def test_mappings_that_cannot_be(joints, message):
    with pytest.raises(ValueError, match=message):
        retargeting.pairs(recording(), CONFIG, joints)


def test_a_t_pose_holds_the_arms_out():
    """The template rests with its arms down and elbows bent; the body stays as it is."""
    joints, turned = posed(retargeted())
    for side, x in (("L", 1.0), ("R", -1.0)):
        for start, end in itertools.pairwise(ARM):
            np.testing.assert_allclose(direction(joints, f"{start}.{side}", f"{end}.{side}"), [x, 0, 0], atol=1e-5)
        np.testing.assert_allclose(direction(joints, f"upperleg01.{side}", f"foot.{side}"), [0, -1, 0], atol=1e-5)
    for bone in ("root", "spine01", "head", "clavicle.L"):
        np.testing.assert_allclose(turned[bone], np.eye(3), atol=1e-6)


def test_palms_look_down_in_a_t_pose():
    """No twist: what bends the template's elbow, its own axis, is the vertical then."""
    _, turned = posed(retargeted())
    rest = dict(zip(CONFIG.bones, TEMPLATE["joints"], strict=True))
    axis = np.cross(*(rest[f"{b}.L"] - rest[f"{a}.L"] for a, b in itertools.pairwise(ARM)))
    for bone in ARM:
        assert (turned[f"{bone}.L"] @ axis)[1] / np.linalg.norm(axis) < -0.99


def test_a_raised_arm_points_there():
    def transforms(joints, parents, rotations):
        return np.asarray(skinning.transforms(skinning.Skeleton(joints, parents), rotations))

    joints, _ = posed(retargeted(T_POSE, [{"LeftArm": (90, 0, 0)}]), transforms=transforms)
    for start, end in itertools.pairwise(ARM):
        np.testing.assert_allclose(direction(joints, f"{start}.L", f"{end}.L"), [0, 1, 0], atol=1e-5)
        np.testing.assert_allclose(direction(joints, f"{start}.R", f"{end}.R"), [-1, 0, 0], atol=1e-5)


def test_every_limb_points_where_the_recordings_does():
    draws = np.random.default_rng(0)
    frames = [{name: draws.uniform(-60, 60, 3) for name in T_POSE} for _ in range(3)]
    made = recording(T_POSE, frames)
    pose, found = retargeting.retarget(made, CONFIG, TEMPLATE), retargeting.pairs(made, CONFIG)
    joint_of = {CONFIG.bones[bone]: joint for bone, joint in found.items()}
    world = made.world(list(found.values()))
    for frame in range(3):
        joints, _ = posed(pose, frame)
        for side in "LR":
            for start, end in (("upperarm01", "lowerarm01"), ("lowerarm01", "wrist"), ("upperleg01", "lowerleg01")):
                a, b = (world[joint_of[f"{bone}.{side}"]][1][frame] for bone in (start, end))
                np.testing.assert_allclose(
                    direction(joints, f"{start}.{side}", f"{end}.{side}"), (b - a) / np.linalg.norm(b - a), atol=1e-5
                )


def turned_skeleton(matrix):
    return {name: (parent, tuple(np.asarray(matrix) @ offset)) for name, (parent, offset) in T_POSE.items()}


@pytest.mark.parametrize("up", ["y", "z"])
def test_skeletons_that_rest_otherwise(up):
    """Facing another way, or upright along z: the same rest of the template, turned as the recording is."""
    backward = np.diag([-1.0, 1, -1])
    matrix = backward if up == "y" else np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    _, turned = posed(retargeting.retarget(recording(turned_skeleton(matrix)), CONFIG, TEMPLATE, up=up))
    np.testing.assert_allclose(turned["root"], backward if up == "y" else np.eye(3), atol=1e-6)
    _, straight = posed(retargeted())
    for bone in ("upperarm01.L", "foot.R", "head"):
        np.testing.assert_allclose(turned["root"].T @ turned[bone], straight[bone], atol=1e-5)
    with pytest.raises(ValueError, match="up is 'x', expected 'y' or 'z'"):
        retargeted(up="x")


def test_a_skeleton_that_rests_folded_along_one_axis():
    """As in some public sets: legs, collars and feet rest along the spine, and each frame unfolds them."""
    along = {"LeftArm", "LeftForeArm", "LeftHand", "LeftLeg", "LeftFoot", "LeftToeBase"}
    along |= {name.replace("Left", "Right") for name in along}
    folded = {
        name: (parent, (0, np.linalg.norm(offset), 0) if name in along else offset)
        for name, (parent, offset) in T_POSE.items()
    }
    unfold = {
        "LeftShoulder": (-90, 0, 0),
        "RightShoulder": (90, 0, 0),
        "LeftUpLeg": (180, 0, 0),
        "RightUpLeg": (180, 0, 0),
        "LeftFoot": (0, 60, 0),
        "RightFoot": (0, 60, 0),
    }
    joints, turned = posed(retargeted(folded, [unfold]))
    _, straight = posed(retargeted())
    for bone in ("upperarm01.L", "upperarm01.R", "upperleg01.L", "upperleg01.R", "lowerleg01.L"):
        off = (np.trace(straight[bone].T @ turned[bone]) - 1) / 2
        assert off > np.cos(np.radians(5)), "but for a little twist, that of collars which are not quite level"
    for side in "LR":
        front = turned[f"foot.{side}"] @ [0, 0, 1]
        assert front[2] > 0.8, "feet point forwards"
    np.testing.assert_allclose(direction(joints, "upperleg01.L", "lowerleg01.L"), [0, -1, 0], atol=1e-5)


def test_the_way_is_scaled_by_the_legs_and_begins_at_the_origin():
    pose = retargeted(T_POSE, [{"at": (100, 90, 50)}, {"at": (100, 80, 210)}])
    joints = dict(zip(CONFIG.bones, TEMPLATE["joints"], strict=True))
    bones = ("upperleg01.L", "lowerleg01.L", "foot.L")
    leg = sum(np.linalg.norm(joints[b] - joints[a]) for a, b in itertools.pairwise(bones))
    np.testing.assert_allclose(pose.translation[1] - pose.translation[0], np.array([0, -10, 160]) * leg / 80, rtol=1e-4)
    np.testing.assert_allclose(bodies.centred(pose.rotations[0]).translation, pose.translation[0], atol=1e-5)
    assert pose.rotations.dtype == pose.translation.dtype == np.float32 and pose.shape.shape == (2, CONFIG.num_shapes)


def test_a_unit_of_length_changes_nothing():
    large = {name: (parent, tuple(254 * x for x in offset)) for name, (parent, offset) in T_POSE.items()}
    one, other = (
        retargeted(skeleton, [{"at": (0, 0, 0)}, {"at": (0, 0, 10 * unit), "LeftArm": (30, 0, 0)}])
        for skeleton, unit in ((T_POSE, 1), (large, 254))
    )
    np.testing.assert_allclose(other.rotations, one.rotations, atol=1e-6)
    np.testing.assert_allclose(other.translation, one.translation, atol=1e-6)


def test_templates_of_other_names():
    """Equal names, whatever they are, and those that are said; without legs all lengths count."""
    config = articulated.ArticulationConfig(("base", "blorp", "zap"), (-1, 0, 1), num_vertices=3, num_faces=1)
    joints = np.array([[0, 0, 0], [0, 0.5, 0], [0.5, 0.5, 0]], np.float32)
    template = {"joints": joints, "vertices": joints, "weights": np.eye(3, dtype=np.float32)}
    made = recording(
        {"Hips": (None, (0, 0, 0)), "blorp": ("Hips", (0, 1, 0)), "zip": ("blorp", (0, 0, 1))},
        [{"at": (0, 0, 0)}, {"at": (2, 0, 0)}],
    )
    mapping = {"Hips": "base", "zip": "zap"}
    pose = retargeting.retarget(made, config, template, mapping)
    np.testing.assert_allclose(pose.translation[1] - pose.translation[0], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(pose.rotations[0, 1] @ [1, 0, 0], [0, 0, 1], atol=1e-6)
    flat = dataclasses.replace(made, offsets=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="all at one place"):
        retargeting.retarget(flat, config, template, mapping)
