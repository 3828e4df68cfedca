"""Cameras from files: every form says the same camera, cut as the photos are, and what is wrong is named."""

import json

import numpy as np
import pytest

from dnerf_jax.io import camera_files
from dnerf_jax.ops import cameras, poses
from dnerf_jax.ops.cameras import Camera

CAMERA = cameras.orbit(np.array([0.3, -0.2]), 0.1, pivot=(0.0, 0.0, 0.1))
POSES, K = np.asarray(CAMERA.cam2world), np.asarray(CAMERA.intrinsics)
OURS = [{"cam2world": p.tolist(), "intrinsics": k.tolist()} for p, k in zip(POSES, K, strict=True)]
EG3D = np.asarray(cameras.to_eg3d(CAMERA)).tolist()
FRAMES = [
    {"file_path": f"images/{name}.png", "transform_matrix": np.asarray(cameras.flip_opengl(pose)).tolist()}
    for name, pose in zip("ab", POSES, strict=True)
]
LENS = {"fl_x": 4.2647 * 256, "fl_y": 4.2647 * 256, "cx": 128, "cy": 128, "w": 256, "h": 256}
FORMS = {
    "ours": OURS,
    "named": {"a": OURS[0], "b": OURS[1]},
    "numbers": EG3D,
    "labels": {"labels": [["00000/a.png", EG3D[0]], ["00000/b.png", EG3D[1]]]},
    "transforms": LENS | {"frames": FRAMES},
    "frames": {"frames": [LENS | frame for frame in FRAMES]},
    "angle": {"camera_angle_x": 2 * np.arctan(0.5 / 4.2647), "frames": FRAMES},
}


def written(path, content):
    path.write_text(json.dumps(content))
    return path


def assert_same(found, expected):
    np.testing.assert_allclose(found.cam2world, expected.cam2world, atol=1e-6)
    np.testing.assert_allclose(found.intrinsics, expected.intrinsics, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(tmp_path, form):
    path = written(tmp_path / "cameras.json", FORMS[form])
    assert_same(camera_files.read_cameras(path), CAMERA)
    assert_same(camera_files.read_cameras(path, crop="centre"), CAMERA)
    if form in ("ours", "numbers"):
        assert camera_files.read_cameras(path, names=["x.jpg", "y.jpg"]).batch_shape == (2,)
    else:
        assert_same(camera_files.read_cameras(path, names=["here/b.jpg", "a.jpg"]), CAMERA[[1, 0]])


@pytest.mark.parametrize("one", [OURS[1], EG3D[1], OURS[1] | {"key": "00000001_00", "z": [0.0]}])
def test_one_camera_has_no_batch(tmp_path, one):
    found = camera_files.read_cameras(written(tmp_path / "camera.json", one))
    assert found.batch_shape == ()
    assert_same(found, CAMERA[1])
    assert camera_files.read_cameras(tmp_path / "camera.json", names=["x.png"]).batch_shape == (1,)


@pytest.mark.parametrize(("crop", "left", "top", "side"), [("centre", 32, 0, 192), ((10, -20, 110, 80), 10, -20, 100)])
def test_cameras_are_cut_as_photos_are(tmp_path, crop, left, top, side):
    """A point is seen at the same pixel of the whole picture."""
    content = LENS | {"h": 192, "cy": 90, "frames": FRAMES}
    found = camera_files.read_cameras(written(tmp_path / "transforms.json", content), crop=crop)
    points = np.float32([[[0.05, -0.1, 0.1], [0.1, 0.0, -0.1]]] * 2)
    uv, _ = cameras.project(found, points)
    whole = Camera(POSES, np.float32([[4.2647, 0, 0.5], [0, 4.2647, 90 / 256], [0, 0, 1]]))
    expected, _ = cameras.project(whole.spread(), points)
    np.testing.assert_allclose(uv * side + np.float32([left, top]), expected * 256, atol=1e-3)


def wrong(change):
    return LENS | {"frames": [{**FRAMES[0], **change}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"it holds \[\]; expected"),
        ("text", "it holds 'text'; expected"),
        ({"a": 3}, r"a: it has 3; expected \{"),
        ({"cam2world": POSES[0].tolist()}, r"it has the keys \[cam2world\]; expected"),
        ({"cam2world": "x", "intrinsics": K[0].tolist()}, r"cam2world is 'x', expected \(4, 4\) numbers"),
        (EG3D[0][:24], r"has the shape \(24,\), expected \(25,\)"),
        ([EG3D[0], [1.0] * 25], "entry 1: The rotation of cam2world"),
        ([EG3D[0], [EG3D[0]]], r"entry 1: .*shape \(1, 25\)"),
        ({"labels": None}, "its labels are None"),
        ({"labels": [["a", EG3D[0][:3]]]}, r"a: .*shape \(3,\)"),
        ({"frames": []}, r"its frames are \[\]"),
        ({"frames": FRAMES}, "images/a.png: it says no focal length"),
        ({"fl_x": 100, "frames": FRAMES}, "not both w and h"),
        (wrong({"transform_matrix": None}), "transform_matrix is None|shape"),
        (wrong({"k1": 0.1}), "its lens is no pinhole.*k1"),
        (wrong({"camera_model": "OPENCV_FISHEYE"}), "its lens is no pinhole"),
        (wrong({"fl_x": -3}), "fl_x is -3, expected a positive number"),
        (wrong({"w": 512}), r"is 512 x 256 pixels, expected a square.*--crop centre"),
    ],
)
def test_what_is_no_camera_is_refused(tmp_path, content, message):
    path = written(tmp_path / "cameras.json", content)
    with pytest.raises(ValueError, match=message) as caught:
        camera_files.read_cameras(path)
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_read_and_photos_without_a_camera(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json cannot be read as cameras: it is no JSON"):
        camera_files.read_cameras(tmp_path / "broken.json")
    path = written(tmp_path / "cameras.json", FORMS["named"])
    with pytest.raises(ValueError, match=r"not exactly one camera for \[c\.png\]; it has \[a, b\]"):
        camera_files.read_cameras(path, names=["a.png", "c.png"])
    with pytest.raises(ValueError, match="2 cameras without names, and there are 3 photos"):
        camera_files.read_cameras(written(tmp_path / "list.json", EG3D), names=["a", "b", "c"])
    with pytest.raises(ValueError, match="cut by the box .*does not say their size"):
        camera_files.read_cameras(path, crop=(0, 0, 50, 50))


def test_a_camera_in_the_subject_is_refused():
    camera_files.require_sight(CAMERA, 0.84)
    near = cameras.orbit(np.array([0.3, -0.2]), 0.1, radius=0.3)
    with pytest.raises(
        ValueError, match=r"camera 0 of 2 stands 0\.3 world units .*side 0\.84, expected at least 0\.42"
    ):
        camera_files.require_sight(near, 0.84)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c.replace(cam2world=poses.flip_opengl(c.cam2world)), "camera 0 of 2 looks away .* OpenGL's"),
        (lambda c: c.replace(cam2world=c.cam2world.at[..., :3, 3].multiply(100.0)), "smaller than 5% of the picture"),
        (lambda c: c.replace(cam2world=c.cam2world.at[1, :3, 3].add(3.0)), "camera 1 of 2 has the subject beside"),
        (lambda c: c.replace(intrinsics=c.intrinsics.at[..., 0, 2].add(2.0)), "beside its picture"),
    ],
)
def test_cameras_that_do_not_see_the_subject_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        camera_files.require_sight(change(CAMERA.spread()), 0.84)
    camera_files.require_sight(CAMERA[0], 0.84)
