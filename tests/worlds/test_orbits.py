"""Cameras of the worlds: a rigid orbit about the origin, and the same as the library's."""

import numpy as np

from dnerf_jax.ops import cameras
from dnerf_jax.worlds import orbits


def test_camera_is_a_rigid_orbit_about_the_origin():
    rng = np.random.Generator(np.random.PCG64(0))
    for _ in range(20):
        cam2world, intrinsics = orbits.sample_camera(rng)
        rotation, position = cam2world[:3, :3].astype(float), cam2world[:3, 3].astype(float)
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-6)
        assert np.linalg.det(rotation) > 0 and rotation[1, 1] < 0  # OpenCV: the image's y is down
        np.testing.assert_allclose(rotation[:, 2], -position / 2.7, atol=1e-6)
        assert abs(np.degrees(np.arctan2(position[0], position[2]))) <= 30.001
        assert -8.001 <= np.degrees(np.arcsin(position[1] / 2.7)) <= 12.001
        np.testing.assert_allclose(intrinsics, [[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]], atol=1e-6)


def test_camera_agrees_with_the_librarys():
    cam2world, intrinsics = orbits.orbit(21, -7)
    theirs = cameras.orbit(np.radians(21), np.radians(-7))
    np.testing.assert_allclose(cam2world, np.asarray(theirs.cam2world), atol=1e-5)
    np.testing.assert_allclose(intrinsics, np.asarray(theirs.intrinsics), atol=1e-6)


def test_rays_are_the_librarys():
    cam2world, intrinsics = orbits.orbit(-12, 4)
    theirs = cameras.rays(cameras.orbit(np.radians(-12), np.radians(4)), 5).directions.reshape(-1, 3)
    ours = orbits.ray_directions(cam2world, intrinsics, 5)
    np.testing.assert_allclose(ours @ cam2world[:3, 2], 1, atol=1e-6)  # of length 1 along the optical axis
    np.testing.assert_allclose(ours / np.linalg.norm(ours, axis=1, keepdims=True), np.asarray(theirs), atol=1e-5)
