"""Recordings as BVH: what the text says, where joints are in the world, and every mistake is named."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dnerf_jax.io import bvh

HIERARCHY = """HIERARCHY
ROOT Hips
{
  OFFSET 1 2 3
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Bip L Arm {
    OFFSET 0 10 0
    CHANNELS 2 Yrotation xrotation
    JOINT Hand
    {
      OFFSET 5 0 0
      End Site
      {
        OFFSET 1 0 0
      }
    }
  }
}
"""
MOTION = "MOTION\nFrames: 2\nFrame Time: 0.5\n0 0 0 0 0 0 0 0\n7 8 9 10 20 30 40 50\n"
TEXT = HIERARCHY + MOTION


def degrees(order, *angles):
    return Rotation.from_euler(order, angles, degrees=True).as_matrix()


def test_what_the_text_says():
    found = bvh.parse(TEXT)
    assert found.joints == ("Hips", "Bip L Arm", "Hand") and found.parents == (-1, 0, 1)
    assert found.channels[1:] == (("yrotation", "xrotation"), ())
    assert found.frame_time == 0.5 and found.values.shape == (2, 8)
    np.testing.assert_array_equal(found.offsets, [[1, 2, 3], [0, 10, 0], [5, 0, 0]])
    np.testing.assert_array_equal(found.rest(), [[0, 0, 0], [0, 10, 0], [5, 10, 0]])


def test_where_joints_are():
    """By hand: rotations in the order of the channels, on columns; positions in the place of the offset."""
    world = bvh.parse(TEXT).world([2])
    assert sorted(world) == [0, 1, 2], "with those above"
    hips = degrees("Z", 10) @ degrees("X", 20) @ degrees("Y", 30)
    arm = hips @ degrees("Y", 40) @ degrees("X", 50)
    np.testing.assert_allclose(world[0][0][1], hips, atol=1e-12)
    np.testing.assert_allclose(world[2][0][1], arm, atol=1e-12)
    place = np.array([7, 8, 9]) + hips @ [0, 10, 0] + arm @ [5, 0, 0]
    np.testing.assert_allclose(world[2][1], [[5, 10, 0], place], atol=1e-12)
    assert sorted(bvh.parse(TEXT).world([0])) == [0]


def test_other_orders_and_single_positions():
    text = TEXT.replace("2 Yrotation xrotation", "2 Yposition Zrotation")
    _, place = bvh.parse(text).world([1])[1]
    np.testing.assert_allclose(place[0], [0, 0, 0], atol=1e-12)  # the y of the channel, x and z of the offset
    turned, _ = bvh.parse(TEXT.replace("Zrotation Xrotation Yrotation", "Xrotation Yrotation Zrotation")).world([0])[0]
    np.testing.assert_allclose(turned[1], degrees("X", 10) @ degrees("Y", 20) @ degrees("Z", 30), atol=1e-12)


def test_windows_lines_and_tabs_are_read():
    np.testing.assert_array_equal(bvh.parse(TEXT.replace("\n", "\r\n").replace("  ", "\t")).values[1, 0], 7)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HIERARCHY", "HIERARCHIE", "has no HIERARCHY at its beginning and MOTION after it"),
        ("MOTION", "MOVES", "has no HIERARCHY at its beginning and MOTION"),
        ("ROOT", "JOINT", "JOINT Hips is not where one can be: there is one ROOT"),
        ("JOINT Bip", "ROOT Bip", "ROOT Bip L Arm is not where one can be"),
        ("MOTION", "ROOT Other { OFFSET 0 0 0 }\nMOTION", "ROOT Other is not where one can be"),
        ("JOINT Hand", "JOINT Hips", "the joint Hips twice"),
        ("JOINT Hand", "JOINT", "a joint without a name"),
        ("}\n}\nMOTION", "}\nMOTION", "its tree of joints ends in the middle"),
        ("MOTION", "}\nMOTION", "it has '}' where ROOT, JOINT or MOTION was expected"),
        ("    OFFSET 0 10 0\n", "", "the joint Bip L Arm has no OFFSET"),
        ("OFFSET 0 10 0", "OFFSET 0 10 0 OFFSET 1 1 1", "the joint Bip L Arm has 'OFFSET', which was not expected"),
        ("OFFSET 0 10 0", "OFFSET 0 ten 0", "an offset of Bip L Arm is 'ten', expected a number"),
        ("OFFSET 0 10 0", "OFFSET 0 nan 0", "an offset of Bip L Arm is nan, expected a number of at most"),
        ("OFFSET 0 10 0", "SCALE 1", "the joint Bip L Arm has 'SCALE', which was not expected there"),
        ("End Site", "End", "an End Site of the joint Hand is not"),
        ("CHANNELS 2", "CHANNELS two", "the joint Bip L Arm has 'two' channels, expected 0 to 6"),
        ("CHANNELS 2", "CHANNELS 7", "has '7' channels"),
        ("Yrotation xrotation", "Yrotation Wrotation", "has the channels yrotation, wrotation, expected some of xpos"),
        ("Yrotation xrotation", "Yrotation Yrotation", "each once"),
        ("Frames: 2", "Frames: two", "has no 'Frames: NUMBER' and 'Frame Time: SECONDS'"),
        ("Frames: 2", "Frames: 0", "has 0 frames, expected 1 to 36000"),
        ("Frames: 2", "Frames: 999999999", "has 999999999 frames, expected 1 to 36000"),
        ("Frames: 2", "Frames: 3", "has 2 frames of 8 numbers, expected 3, as it says, of 8.*was it cut"),
        ("Frame Time: 0.5", "Frame Time: 0", "its frame time is 0, expected seconds"),
        ("Frame Time: 0.5", "Frame Time: soon", "the frame time is 'soon', expected a number"),
        ("7 8 9 10", "7 8 9", "its frames are not lines of 8 numbers each"),
        ("7 8 9 10", "7 8 x 10", "its frames are not lines of 8 numbers each"),
        ("7 8 9 10", "7 8 nan 10", "frame 2 has the number nan, expected finite ones"),
        ("7 8 9 10", "7 8 1e300 10", r"frame 2 has the number 1e\+300"),
        ("0 0 0 0 0 0 0 0\n7 8 9 10 20 30 40 50\n", "", "says that it has 2 frames, and has none"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, message):
    assert TEXT.count(old)
    (tmp_path / "walk.bvh").write_text(TEXT.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as caught:
        bvh.read(tmp_path / "walk.bvh")
    assert "walk.bvh cannot be read as a BVH motion" in str(caught.value)


def test_nothing_that_moves_and_too_many_joints():
    still = "HIERARCHY ROOT Hips { OFFSET 0 0 0 }\nMOTION\nFrames: 1\nFrame Time: 1\n"
    with pytest.raises(ValueError, match="none of its joints has channels"):
        bvh.parse(still)
    joints = "".join(f"JOINT a{number} {{ OFFSET 0 0 0 }}" for number in range(bvh.JOINTS))
    with pytest.raises(ValueError, match="more than 1000 joints"):
        bvh.parse(still.replace("0 }\n", f"0 {joints} }}\n"))
