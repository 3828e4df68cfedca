"""Points from depth and back to pixels, and what is seen through; under JAX: test_points.py."""

import numpy as np
import pytest

from dnerf_jax.ops import warping
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.worlds import orbits

SIZE = (40, 40)


def matrices(*yaws):
    """Cameras on the orbit, by their yaws in degrees."""
    poses, intrinsics = zip(*(orbits.orbit(yaw, 7.0) for yaw in yaws), strict=True)
    return np.stack(poses).astype(np.float64), np.stack(intrinsics).astype(np.float64)


def ball(camera, radius=0.15):
    """depth_z (V, H, W) of a ball around the origin, infinite beside it."""
    ones = np.ones((len(camera[0]), *SIZE))
    origins = camera[0][:, None, None, :3, 3]
    directions = warping.lift(ones, camera) - origins  # as long as one unit of depth
    a, b, c = ((x * y).sum(-1) for x, y in ((directions, directions), (directions, origins), (origins, origins)))
    inside = b**2 - a * (c - radius**2)
    return np.where(inside > 0, (-b - np.sqrt(np.maximum(inside, 0))) / a, np.inf)


def test_points_are_found_in_the_pixels_that_they_come_from():
    pose, k = matrices(20.0)
    k[0] = [[3.0, 0.25, 0.45], [0, 3.5, 0.6], [0, 0, 1]]
    depth = np.random.default_rng(0).uniform(1, 4, (1, 5, 7))
    points = warping.lift(depth, (pose, k))
    index, pixel, z = warping.find(points.reshape(-1, 3), (pose[0], k[0]), (5, 7))
    np.testing.assert_array_equal(index, np.arange(35))
    np.testing.assert_array_equal(pixel, np.arange(35))
    np.testing.assert_allclose(z, depth.ravel(), rtol=1e-7)
    # By hand: the middle of the first pixel.
    y = (0.5 / 5 - 0.6) / 3.5
    x = (0.5 / 7 - 0.45 - 0.25 * y) / 3.0
    np.testing.assert_allclose(points[0, 0, 0], pose[0, :3] @ np.array([*(depth[0, 0, 0] * np.array([x, y, 1])), 1]))


def test_what_is_behind_a_camera_or_beside_its_picture_is_not_found():
    pose, k = (x[0] for x in matrices(0.0))
    centre, forward, right = pose[:3, 3], pose[:3, 2], pose[:3, 0]
    points = np.stack([centre + 2 * forward, centre - 2 * forward, centre, centre + 2 * forward + right])
    index, pixel, z = warping.find(points, (pose, k), SIZE)
    assert index.tolist() == [0] and pixel.tolist() == [20 * 40 + 20] and z.tolist() == pytest.approx([2])


def test_empty_pixels_are_at_the_camera_and_are_no_points():
    camera = matrices(0.0, 30.0)
    depth = np.array([[[2.0, np.inf], [0.0, 1.0]]] * 2)
    np.testing.assert_array_equal(warping.lift(depth, camera)[1, 0, 1], camera[0][1, :3, 3])
    kept = np.isfinite(depth) & (depth > 0)
    some = warping.lift_some(depth, camera, kept)
    for view in range(2):
        np.testing.assert_array_equal(some[view], warping.lift(depth, camera)[view][kept[view]])
    assert warping.same_depth(np.array([2.0, 2.0, np.inf, 0.0]), np.array([2.01, 2.1, 2.0, 2.0])).tolist() == [
        *(True, False, False, False)
    ]


def test_distance_along_rays_becomes_depth_along_the_axis():
    camera = matrices(25.0)
    depth = ball(camera)
    points = warping.lift(depth, camera)
    distance = np.where(np.isfinite(depth), np.linalg.norm(points - camera[0][0, :3, 3], axis=-1), np.inf)
    np.testing.assert_allclose(warping.depth_along_axis(distance, camera), depth, rtol=1e-7)


def test_points_that_float_are_seen_through_and_hidden_ones_are_not():
    camera = matrices(-40.0, 0.0, 40.0)
    depth = ball(camera)
    points = warping.lift_some(depth, camera, np.isfinite(depth))
    assert not np.concatenate(warping.see_through(points, depth, camera)).any()
    # From behind no view would see them either: nothing contradicts what is hidden.
    inside = [0.9 * some for some in points]
    assert not np.concatenate(warping.see_through(inside, depth, camera)).any()
    # Before the surface of the first view, and so before or beside what the others see.
    floating, row = depth.copy(), 20
    floating[0, row, 12:28] -= 0.1
    points = warping.lift_some(floating, camera, np.isfinite(floating))
    found = np.zeros(floating.shape, bool)
    found[np.isfinite(floating)] = np.concatenate(warping.see_through(points, floating, camera))
    assert found[0, row, 12:28].all() and not found[0, :row].any() and not found[0, row + 1 :].any()
    # The view itself is no witness, and the others' own points behind them are hidden in it.
    assert not found[1:].any()
    alone = warping.see_through(points[:1], floating[:1], (camera[0][:1], camera[1][:1]))
    assert not alone[0].any()
    # Out of sight of the others nothing contradicts.
    away = camera[0].copy()
    away[1:, :3, 3] += 50
    assert not warping.see_through(points, floating, (away, camera[1]))[0].any()


def test_the_tolerance_is_relative_to_depth():
    camera = matrices(-20.0, 20.0)
    origins = camera[0][:, None, None, :3, 3]
    forward = warping.lift(np.ones((2, *SIZE)), camera) - origins
    wall = -origins[..., 2] / forward[..., 2]  # the plane z = 0
    every = np.ones(wall.shape, bool)

    def dropped(step, tolerance):
        """The share of points, this much nearer than the wall, that are dropped of those that both views see."""
        points = warping.lift_some(wall * (1 - step), camera, every)
        found = [warping.find(points[view], (camera[0][1 - view], camera[1][1 - view]), SIZE)[0] for view in (0, 1)]
        drops = warping.see_through(points, wall, camera, tolerance=tolerance)
        return np.mean([drops[view][found[view]].mean() for view in (0, 1)])

    # Turned by 40 degrees, a point is before the wall by about as much there too; a pixel around is allowed for.
    assert dropped(0.0, 0.001) == dropped(0.02, 0.03) == 0
    assert dropped(0.04, 0.01) == dropped(0.04, 0.02) == 1


def test_extremes_of_the_pixels_around():
    values = np.random.default_rng(0).standard_normal((2, 5, 6))
    padded = np.pad(values, [(0, 0), (1, 1), (1, 1)], mode="edge")
    for extreme in (np.minimum, np.maximum):
        expected = extreme.reduce([padded[:, i : i + 5, j : j + 6] for i in range(3) for j in range(3)])
        np.testing.assert_array_equal(warping.around(values, extreme), expected)


def test_cameras_that_are_none_are_refused():
    pose, k = matrices(0.0)
    with pytest.raises(ValueError, match="intrinsics"):
        warping.matrices(Camera(pose, k * np.array([256.0, 256, 1])[:, None]))
    lone = warping.matrices(Camera(pose.astype(np.float32), k[0].astype(np.float32)))
    assert lone[1].shape == (1, 3, 3) and lone[0].dtype == np.float64
