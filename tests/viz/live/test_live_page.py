"""A page's camera is ours, and ours a page's; what it says of where it stands."""

import dataclasses
import socket
import sys

import numpy as np
import pytest

from dnerf_jax.models import scenes
from dnerf_jax.ops import cameras
from dnerf_jax.viz.live import page


def orbit_controls(position, look_at, fov):
    """A camera as viser's own page has it: y up, looking at a point; its quaternion by viser's own code."""
    from viser import transforms

    forward = np.subtract(look_at, position) / np.linalg.norm(np.subtract(look_at, position))
    right = np.cross(forward, (0.0, 1.0, 0.0))
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)  # OpenCV: x right, y down, z forward
    return page.camera_of(transforms.SO3.from_matrix(rotation).wxyz, position, fov)


@pytest.mark.parametrize("angles", [(0.0, 0.0), (0.4, -0.2), (3.0, 0.5)])
@pytest.mark.parametrize("pivot", [(0.0, 0.0, 0.0), (0.0, 0.05, 0.2)])
def test_a_page_that_stands_at_the_default_camera_has_the_same_matrices(tiny_config, angles, pivot):
    options = dataclasses.replace(tiny_config.rendering, avg_camera_pivot=pivot)
    camera = scenes.default_camera(dataclasses.replace(tiny_config, rendering=options), *angles)
    _, position, fov = page.aim_of(camera)
    found = orbit_controls(position, pivot, fov)
    np.testing.assert_allclose(found.cam2world, camera.cam2world, atol=2e-6)
    np.testing.assert_allclose(found.intrinsics, camera.intrinsics, rtol=1e-6)
    cameras.validate(found)


def test_axes_are_those_of_the_world():
    """From the front x is to the right, y up, and z comes towards the camera."""
    camera = orbit_controls((0.0, 0.0, 2.7), (0.0, 0.0, 0.0), 0.3)
    points = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]], np.float32)
    (middle, right, up, towards), depth = (np.asarray(part) for part in cameras.project(camera, points))
    np.testing.assert_allclose(middle, 0.5, atol=1e-6)
    assert right[0] > 0.5 and abs(right[1] - 0.5) < 1e-6
    assert up[1] < 0.5 and abs(up[0] - 0.5) < 1e-6
    np.testing.assert_allclose(towards, 0.5, atol=1e-6)
    assert depth[3] < depth[0]


def test_there_and_back(generator):
    wxyz = generator.standard_normal(4)
    wxyz *= np.sign(wxyz[0]) / np.linalg.norm(wxyz)
    found = page.aim_of(page.camera_of(wxyz, (1.0, 2.0, 3.0), 0.7))
    for a, b in zip(found, (wxyz, (1.0, 2.0, 3.0), 0.7), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("aspect, width", [(1.0, 8), (1.5, 12), (1.77, 14), (0.5, 4)])
def test_a_picture_is_in_the_middle_of_its_page(aspect, width):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, 3:5] = 255
    whole = page.spread(picture, aspect)
    assert whole.shape == (8, width, 3) and (whole[:, width // 2 - 1 : width // 2 + 1] == 255).all()


def test_what_training_has_not_seen_is_said(tiny_config):
    options = tiny_config.rendering
    told = {
        yaw: page.standpoint(scenes.default_camera(tiny_config, np.radians(yaw)), options, 40.0) for yaw in (0, 39, 60)
    }
    assert told[0] == "Yaw 0°, pitch 0°, 2.70 units from the middle."
    assert "made up" not in told[39] and "60° from frontal: beyond 40°" in told[60] and "made up" in told[60]
    near = page.camera_of((1, 0, 0, 0), (0, 0, 2.0), 0.3)
    assert "Cameras of the training were 2.7 away" in page.standpoint(near, options, 40.0)


def test_a_camera_stays_where_rays_are_sampled(tiny_config):
    options = dataclasses.replace(tiny_config.rendering, avg_camera_pivot=(0.0, 0.0, 0.2))
    assert page.orbit_distances(options) == pytest.approx((2.5, 2.5))
    least, most = page.orbit_distances(dataclasses.replace(options, ray_start="auto", ray_end="auto"))
    assert 0 < least < 2.5 < most


def test_a_port_that_is_taken_is_refused():
    with socket.socket() as taken:
        taken.bind((page.HOST, 0))
        taken.listen()
        with pytest.raises(ValueError, match="cannot be had.*--port 0"), page.opened("it", taken.getsockname()[1]):
            pass


def test_it_is_ended_with_ctrl_c(capsys):
    with page.opened("it", 0):
        raise KeyboardInterrupt
    assert capsys.readouterr().out == "\nended\n"


def test_without_viser_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ImportError, match=r"pip install dnerf_jax\[view\]"), page.opened("it", 0):
        pass
