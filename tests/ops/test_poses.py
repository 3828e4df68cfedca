"""Rigid transforms: where cameras look, also straight down, inverses, and quaternions there and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.ops import cameras, poses

look_at = jax.jit(poses.look_at)


def test_a_camera_looks_at_its_target_without_roll():
    pose = np.asarray(look_at([1.0, 0.5, 2.0], [0.2, -0.1, 0.3]))
    forward = np.array([-0.8, -0.6, -1.7])
    np.testing.assert_allclose(pose[:3, 2], forward / np.linalg.norm(forward), atol=1e-6)
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-6)
    assert abs(pose[1, 0]) < 1e-7 and pose[1, 1] < 0  # right is level, down is down
    np.testing.assert_array_equal(pose[3], [0, 0, 0, 1])


@pytest.mark.parametrize("height", [2.0, -2.0])
def test_straight_down_and_up_have_a_right(height):
    pose = np.asarray(look_at([0.0, height, 0.0], [0.0, 0.0, 0.0]))
    sign = np.sign(height)
    np.testing.assert_allclose(pose[:3, :3], np.transpose([[1, 0, 0], [0, 0, sign], [0, -sign, 0]]), atol=1e-6)


@pytest.mark.parametrize("up", [(1.0, 0.0, 0.0), (0.0, 0.0, 3.0), (1.0, 1.0, 1.0)])
def test_along_any_up_there_is_a_rotation(up):
    rotation = np.asarray(look_at(np.zeros(3), np.array(up), up))[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) > 0.99


@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
def test_an_orbit_reaches_the_pole_without_turning(pitch):
    """At the pole right is what it is just before it, at any yaw, and gradients are finite."""
    for yaw in (0.0, 0.7, -2.0):
        at, before = (np.asarray(cameras.orbit(yaw, x).cam2world) for x in (pitch, pitch * 0.999))
        np.testing.assert_allclose(at[:3, 0], [np.cos(yaw), 0, -np.sin(yaw)], atol=1e-6)
        np.testing.assert_allclose(at, before, atol=1e-2)

    def total(angles):
        return jnp.sum(cameras.orbit(angles[0], angles[1]).cam2world * jnp.arange(16.0).reshape(4, 4))

    gradient = jax.jit(jax.grad(total))
    at, before = (np.asarray(gradient(jnp.array([0.7, x]))) for x in (pitch, pitch * 0.999))
    np.testing.assert_allclose(at, before, rtol=0.02, atol=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0, 1.0, 0.0], [0.0, 1.0, 0.0]), "look at itself"),
        ((np.ones((2, 3)), np.float32([[0, 0, 0], [1, 1, 1]])), "look at itself"),
        (([0.0, 1.0], [0.0, 0.0, 0.0]), r"origin has shape \(2,\), expected \(\.\.\., 3\)"),
        (([0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]), "up has no length"),
    ],
)
def test_what_has_no_direction_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        poses.look_at(*arguments)


def test_inverses_undo():
    pose = cameras.orbit(jnp.array([0.3, -0.9]), 0.2, pivot=(0.1, 0.2, 0.3)).cam2world
    np.testing.assert_allclose(poses.inverse(pose) @ pose, np.broadcast_to(np.eye(4), (2, 4, 4)), atol=1e-6)


def test_quaternions_there_and_back():
    for quaternion in np.random.default_rng(0).standard_normal((8, 4)):
        back = poses.to_quaternion(poses.from_quaternion(quaternion))
        np.testing.assert_allclose(back, quaternion / np.linalg.norm(quaternion) * np.sign(quaternion[0]), atol=1e-12)
    for quaternion in (np.zeros(4), [np.nan, 0, 0, 1]):
        with pytest.raises(ValueError, match="expected w, x, y, z of a rotation"):
            poses.from_quaternion(quaternion)
