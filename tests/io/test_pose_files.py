"""Motions in files: there and back, by their suffix, and every mistake is named."""

import json
import warnings

import numpy as np
import pytest

from dnerf_jax.io import files, pose_files
from dnerf_jax.models.articulated import ArticulationConfig, Pose
from dnerf_jax.worlds import bodies
from dnerf_jax.worlds.bodies import poses

CONFIG = ArticulationConfig(("hip", "arm", "hand"), (-1, 0, 1), num_vertices=3, num_faces=1, num_shapes=2)
JOINTS = np.array([[0, 0, 0], [0, 0.5, 0], [0.5, 0.5, 0]], np.float32)
TEMPLATE = {"joints": JOINTS, "vertices": JOINTS, "weights": np.eye(3, dtype=np.float32)}
MOTION = {"bones": ["arm"], "rotations": [[[0, 0, 0]], [[0, 0, np.pi / 2]]]}
BVH = """HIERARCHY
ROOT hip
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT arm
  {
    OFFSET 0 1 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    JOINT NAME
    {
      OFFSET 1 0 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.04
0 0 0 0 0 0 0 0 0
4 6 8 0 0 0 90 0 0
"""


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def load(path, content, **options):
    return pose_files.load(write(path, content), CONFIG, TEMPLATE, **options)


def test_there_and_back(tmp_path):
    config, draws = bodies.articulation(), np.random.default_rng(0)
    rotations = np.stack([poses.rotations(poses.angles(draws)) for _ in range(4)])
    rotations[0, 0] = np.diag([-1, 1, -1])  # half a turn
    numbers = (draws.normal(size=(4, 3)), draws.uniform(0.5, 2, 4), draws.normal(size=(4, config.num_shapes)))
    pose = Pose(rotations, *(x.astype(np.float32) for x in numbers))
    pose_files.save(tmp_path / "motion.json", config, pose, fps=24)
    found = pose_files.load(tmp_path / "motion.json", config, {})  # whose surface is not looked at
    assert found.fps == 24 and found.pose.batch_shape == (4,)
    for name in ("rotations", "translation", "scale", "shape"):
        leaf = getattr(found.pose, name)
        assert isinstance(leaf, np.ndarray) and leaf.dtype == np.float32
        np.testing.assert_allclose(leaf, getattr(pose, name), atol=1e-6)


def test_what_is_not_said(tmp_path):
    found = load(tmp_path / "motion.JSON", MOTION)
    assert found.fps is None and found.pose.batch_shape == (2,)
    np.testing.assert_array_equal(found.pose.rotations[:, [0, 2]], np.tile(np.eye(3), (2, 2, 1, 1)))
    np.testing.assert_allclose(found.pose.rotations[1, 1], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-7)
    np.testing.assert_array_equal(found.pose.translation, np.zeros((2, 3)))
    np.testing.assert_array_equal(found.pose.scale, [1, 1])
    np.testing.assert_array_equal(found.pose.shape, np.zeros((2, 2)))


def test_numbers_of_all_frames_and_of_each(tmp_path):
    every = load(tmp_path / "a.json", MOTION | {"scale": 2, "shape": [1, -1], "fps": None}).pose
    each = load(tmp_path / "b.json", MOTION | {"scale": [2, 2], "shape": [[1, -1], [1, -1]]}).pose
    for name in ("scale", "shape"):
        np.testing.assert_array_equal(getattr(every, name), getattr(each, name))
    assert every.scale[1] == 2 and every.shape[1, 1] == -1


def test_one_pose_is_a_motion_of_one_frame(tmp_path):
    pose = load(tmp_path / "motion.json", MOTION).pose
    pose_files.save(tmp_path / "one.json", CONFIG, pose[1])
    found = pose_files.load(tmp_path / "one.json", CONFIG, TEMPLATE)
    np.testing.assert_allclose(found.pose.rotations, pose.rotations[1:], atol=1e-6)
    assert found.fps is None


def test_recordings_by_their_suffix(tmp_path):
    found = load(tmp_path / "motion.bvh", BVH.replace("NAME", "hand"))
    assert found.fps == pytest.approx(25)
    np.testing.assert_allclose(
        found.pose.rotations[:, 1], load(tmp_path / "m.json", MOTION).pose.rotations[:, 1], atol=1e-6
    )
    np.testing.assert_allclose(found.pose.translation[1] - found.pose.translation[0], [2, 3, 4], atol=1e-6)
    other = load(tmp_path / "motion.bvh", BVH.replace("NAME", "Hook"), joints={"Hook": "hand"})
    np.testing.assert_array_equal(other.pose.rotations, found.pose.rotations)


def test_in_place_there_is_no_way_over_the_ground(tmp_path):
    pose = load(tmp_path / "motion.bvh", BVH.replace("NAME", "hand"), in_place=True).pose
    np.testing.assert_allclose(pose.translation[1] - pose.translation[0], [0, 3, 0], atol=1e-6)
    pose = load(tmp_path / "a.json", MOTION | {"translation": [[1, 2, 3], [4, 5, 6]]}, in_place=True).pose
    np.testing.assert_array_equal(pose.translation, [[1, 2, 3], [1, 5, 3]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bones": ["arm", "leg"]}, r"bones that the template has not: \[leg\]; the template has \[hip, arm, hand\]"),
        ({"bones": ["arm", "arm"]}, r"its bones \[arm\] are named twice"),
        ({"bones": []}, r"its bones are \[\], expected a list of at least one name"),
        ({"bones": ["arm", 3]}, "expected a list of at least one name"),
        ({"rotation": []}, "unknown fields: 'rotation'; did you mean 'rotations'"),
        ({"rotations": []}, "rotations of 0 frames, expected a list of 1 to 36000"),
        ({"rotations": "all"}, "rotations of 0 frames"),
        ({"rotations": [[[0, 0, 0]]] * 36001}, "rotations of 36001 frames"),
        ({"rotations": [[[0, 0, 0]], [[0, 0]]]}, r"rotations is .*expected numbers of shape \(2, 1, 3\)"),
        ({"rotations": [[[0, 0, 0], [0, 0, 0]]]}, r"rotations has the shape \(1, 2, 3\), expected .*\(1, 1, 3\)"),
        ({"rotations": [[[0, 0, "1"]]]}, "rotations is"),
        ({"rotations": [[[False, True, True]]]}, "rotations is"),
        ({"rotations": [[[0, 0, None]]]}, "rotations is"),
        ({"rotations": [[[0, 90, 0]]]}, "turn 'arm' in frame 0 by 90, .*are these degrees"),
        ({"rotations": [[[0, 1e12, 0]]]}, "not finite or beyond"),
        ({"translation": [[0, 0, 0]]}, r"translation has the shape \(1, 3\), expected numbers of shape \(2, 3\)"),
        ({"translation": [0, 0, 0]}, r"translation has the shape \(3,\)"),
        ({"translation": [[0, 0, 1e300]] * 2}, "translation has numbers that are not finite or beyond"),
        ({"scale": [1, 1, 1]}, r"scale has the shape \(3,\), expected numbers of shape \(2,\) or \(\)"),
        ({"scale": 0}, "the pose's scale is"),
        ({"scale": [1, 1000]}, "the pose's scale is"),
        ({"shape": [0, 0, 0]}, r"shape has the shape \(3,\), expected numbers of shape \(2, 2\) or \(2,\)"),
        ({"fps": 0}, "fps is 0, expected frames per second"),
        ({"fps": "fast"}, "fps is 'fast'"),
        ({"fps": [1]}, r"fps has the shape \(1,\)"),
    ],
)
def test_mistakes_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path / "motion.json", MOTION | change)
    assert "motion.json cannot be read as a motion" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("motion.json", {"bones": ["arm"]}, r"lacks rotations; it has \[bones\]"),
        ("motion.json", {}, "lacks bones and rotations"),
        ("motion.json", [], "holds a list, expected an object"),
        ("motion.json", "{", "it is no JSON"),
        ("motion.json", '{"bones": ["arm"], "rotations": [[[0, NaN, 0]]]}', "the number NaN, expected finite ones"),
        ("motion.fbx", {}, "has the suffix '.fbx', expected a motion: .json or .bvh"),
        ("motion", {}, "has the suffix ''"),
        ("motion.bvh", BVH, r"the joints \[NAME\], of which no part of a body is known"),
        ("motion.bvh", BVH[:200], "no HIERARCHY at its beginning and MOTION"),
        ("motion.bvh", BVH.replace("90", "nan"), "frame 2 has the number nan"),
    ],
)
def test_files_that_are_something_else(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path / name, content)
    assert str(tmp_path / name) in str(caught.value)


def test_what_only_recordings_have(tmp_path):
    for options in ({"joints": {"hip": "arm"}}, {"up": "z"}):
        with pytest.raises(ValueError, match="motion.json is no BVH: `joints` and `up` are for those"):
            load(tmp_path / "motion.json", MOTION, **options)


def test_a_body_inside_of_itself_is_read_and_said(tmp_path, monkeypatch):
    """Forearms that are bent back through the upper arms, in two of five frames."""
    config, path = bodies.articulation(), tmp_path / "motion.json"
    turns = np.zeros((5, 2, 3))
    turns[[1, 3], :, 1] = np.radians(170) * np.array([1, -1])
    written = {"bones": ["upperarm01.L", "upperarm01.R"], "rotations": turns.tolist()}
    write(path, written)
    with pytest.warns(UserWarning, match=r"motion.json: over 5% of the body is inside of itself in frames 1, 3, at"):
        found = pose_files.load(path, config, bodies.template())
    assert found.pose.batch_shape == (5,) and not np.allclose(found.pose.rotations[1], found.pose.rotations[0])
    monkeypatch.setattr(pose_files, "_LOOKED_AT", 2)  # the first and the last
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pose_files.load(path, config, bodies.template())
        pose_files.load(path, config, {})


def test_what_is_not_saved(tmp_path, monkeypatch):
    pose = load(tmp_path / "motion.json", MOTION).pose
    nan = Pose(pose.rotations, pose.translation * np.nan, pose.scale, pose.shape)
    flat = Pose(pose.rotations * 0, pose.translation, pose.scale, pose.shape)
    stacked = Pose(*(np.stack([x, x]) for x in (pose.rotations, pose.translation, pose.scale, pose.shape)))
    for name, wrong, fps, message in (
        ("out.bvh", pose, None, "suffix '.bvh', expected .json"),
        ("out.json", nan, None, "translation .*not finite"),
        ("out.json", flat, None, "rotations of hip, arm, hand are none"),
        ("out.json", stacked, None, r"leading dimensions \(2, 2\), expected \(F,\)"),
        ("out.json", pose[:0], None, "rotations of 0 frames"),
        ("out.json", pose, -1, "fps is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            pose_files.save(tmp_path / name, CONFIG, wrong, fps)
    monkeypatch.setattr(files, "TEXT_LIMIT", 10)
    with pytest.raises(ValueError, match="save fewer frames in a file"):
        pose_files.save(tmp_path / "out.json", CONFIG, pose)
    assert [path.name for path in tmp_path.iterdir()] == ["motion.json"], "nothing was left"
