"""Cameras: where they stand and look, that rays and projection are inverse, and every convention there and back."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.ops import cameras
from dnerf_jax.ops.cameras import Camera

# Compiled, since op by op they take longer.
orbit, eg3d_orbit, project = jax.jit(cameras.orbit), jax.jit(cameras.eg3d_orbit), jax.jit(cameras.project)
rays, z_per_distance = jax.jit(cameras.rays, static_argnums=1), jax.jit(cameras.z_per_distance, static_argnums=1)
to_opencv, from_opencv = jax.jit(cameras.to_opencv, static_argnums=1), jax.jit(cameras.from_opencv, static_argnums=2)

# One camera per branch of the rotation-to-quaternion formula: w, x, y, z is the largest component.
QUATERNIONS = [(0.9, 0.3, -0.2, 0.1), (0.1, 0.9, 0.3, -0.2), (-0.2, 0.1, 0.9, 0.3), (0.3, -0.2, 0.1, 0.9)]


def skewed(yaw=0.3, pitch=0.2):
    """A camera off the axis whose focal lengths differ, with skew and a shifted principal point."""
    k = np.array([[3.1, 0.2, 0.45], [0.0, 2.7, 0.6], [0.0, 0.0, 1.0]], np.float32)
    pose = np.array(orbit(yaw, pitch, radius=3.0).cam2world)
    return Camera(pose, np.broadcast_to(k, (*pose.shape[:-2], 3, 3)))


def assert_cameras_equal(camera, other, atol=1e-6):
    np.testing.assert_allclose(camera.cam2world, other.cam2world, atol=atol)
    np.testing.assert_allclose(camera.intrinsics, other.intrinsics, atol=atol)


def test_frontal_camera_stands_at_z_and_looks_back():
    pose = orbit(0.0, 0.0, radius=2.7).cam2world
    np.testing.assert_allclose(pose[:3, 3], [0, 0, 2.7], atol=1e-6)
    # Columns: image right is world +x, image down is world -y, forward is world -z.
    np.testing.assert_allclose(pose[:3, :3], np.diag([1, -1, -1]), atol=1e-6)


def test_yaw_moves_to_x_and_pitch_moves_up():
    yawed = orbit(0.5, 0.0, radius=2.0).cam2world[:3, 3]
    np.testing.assert_allclose(yawed, [2 * np.sin(0.5), 0, 2 * np.cos(0.5)], atol=1e-6)
    raised = orbit(0.0, 0.4, radius=2.0).cam2world[:3, 3]
    np.testing.assert_allclose(raised, [0, 2 * np.sin(0.4), 2 * np.cos(0.4)], atol=1e-6)


def published_orbit(horizontal, vertical, radius, pivot):
    """EG3D's LookAtPoseSampler as its source has it, in float64: cam2world."""
    theta, v = horizontal, np.clip(vertical, 1e-5, np.pi - 1e-5) / np.pi
    phi = np.arccos(1 - 2 * v)
    origin = radius * np.array([np.sin(phi) * np.cos(np.pi - theta), np.cos(phi), np.sin(phi) * np.sin(np.pi - theta)])
    forward = (pivot - origin) / np.linalg.norm(pivot - origin)
    right = -np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    up = np.cross(forward, right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, up / np.linalg.norm(up), forward, origin], axis=-1)
    return pose


@pytest.mark.parametrize("pivot", [(0.0, 0.0, 0.0), (0.0, 0.0, 0.2), (0.0, 0.0, -0.06), (0.1, -0.2, 0.05)])
def test_cameras_stand_as_in_eg3d(pivot):
    """Around the origin, at any pivot: in our angles and in EG3D's."""
    for yaw, pitch in [(0.0, 0.0), (0.4, -0.2), (-1.3, 0.6), (2.5, 0.0)]:
        vertical = np.pi / 2 * (1 - np.sin(pitch))
        published = published_orbit(np.pi / 2 + yaw, vertical, 2.7, np.array(pivot))
        ours = orbit(yaw, pitch, radius=2.7, pivot=pivot).cam2world
        np.testing.assert_allclose(ours, published, atol=1e-6)
        theirs = eg3d_orbit(np.pi / 2 + yaw, vertical, radius=2.7, pivot=pivot).cam2world
        np.testing.assert_allclose(theirs, published, atol=1e-6)


@pytest.mark.parametrize("pivot", [(0.0, 0.0, 0.0), (0.1, -0.2, 0.05)])
def test_orbit_sees_its_pivot_in_the_centre_without_roll(pivot):
    yaw, pitch = np.linspace(-1.2, 1.2, 5)[:, None], np.linspace(-0.7, 0.7, 3)
    camera = orbit(yaw, pitch, radius=2.7, pivot=pivot, focal=3.0)
    assert camera.cam2world.shape == (5, 3, 4, 4) and camera.intrinsics.shape == (5, 3, 3, 3)
    uv, _ = project(camera, np.broadcast_to(np.float32(pivot), (5, 3, 1, 3)))
    np.testing.assert_allclose(uv, 0.5, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(camera.cam2world[..., :3, 3], axis=-1), 2.7, rtol=1e-6)
    np.testing.assert_allclose(camera.cam2world[..., 1, 0], 0, atol=1e-6)  # image right is horizontal
    assert (camera.cam2world[..., 1, 1] < 0).all()  # image down points down
    cameras.validate(camera)


def test_world_right_and_up_are_image_right_and_up():
    camera = orbit(0.2, 0.1)
    uv, _ = project(camera, np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0]]))
    assert uv[1, 0] > uv[0, 0] + 0.1  # x to the right
    assert uv[2, 1] < uv[0, 1] - 0.1  # y up, rows count down


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_points_along_rays_project_to_pixel_centres(batch):
    camera = skewed(np.linspace(-0.5, 0.5, int(np.prod(batch))).reshape(batch))
    seen = rays(camera, 6)
    assert seen.origins.shape == seen.directions.shape == (*batch, 6, 6, 3)
    np.testing.assert_allclose(np.linalg.norm(seen.directions, axis=-1), 1, atol=1e-6)
    distance = np.linspace(0.5, 4.0, 36, dtype=np.float32).reshape(6, 6, 1)
    points = seen.origins + distance * seen.directions
    uv, z = project(camera, points.reshape((*batch, 36, 3)))
    centres = (np.arange(6) + 0.5) / 6
    u, v = np.meshgrid(centres, centres)  # column, row
    expected = np.broadcast_to(np.stack([u, v], -1), (*batch, 6, 6, 2))
    np.testing.assert_allclose(uv.reshape((*batch, 6, 6, 2)), expected, atol=2e-6)
    z_of_distance = distance[..., 0] * z_per_distance(camera, 6)
    np.testing.assert_allclose(z.reshape((*batch, 6, 6)), z_of_distance, rtol=1e-5)


def test_rays_at_arbitrary_points_agree_with_the_grid():
    camera = skewed(np.array([0.1, -0.4]))
    grid = rays(camera, 4)
    uv = np.array([[0.125, 0.375], [0.875, 0.625]])  # (row 1, column 0) and (row 2, column 3)
    chosen = jax.jit(cameras.rays_at)(camera, np.broadcast_to(uv, (2, 2, 2)))
    np.testing.assert_allclose(chosen.directions, np.array(grid.directions)[:, [1, 2], [0, 3]], atol=1e-6)
    np.testing.assert_array_equal(chosen.origins[:, 0], np.array(camera.cam2world)[:, :3, 3])


def test_gradient_of_rays_in_the_pose_is_that_of_finite_differences():
    @jax.jit
    def corner(angles):
        camera = orbit(angles[0], angles[1])
        return jnp.sum(cameras.rays_at(camera, jnp.array([0.2, 0.9])).directions * jnp.array([1.0, 2.0, 3.0]))

    angles, step = jnp.array([0.3, -0.2]), 1e-2
    gradient = jax.grad(corner)(angles)
    for i in range(2):
        shift = step * jnp.eye(2)[i]
        difference = (corner(angles + shift) - corner(angles - shift)) / (2 * step)
        np.testing.assert_allclose(gradient[i], difference, rtol=1e-3)


def test_eg3d_numbers_there_and_back():
    camera = skewed(np.array([0.1, 0.7]))
    c = cameras.to_eg3d(camera)
    assert c.shape == (2, 25)
    np.testing.assert_array_equal(c[0, [3, 7, 11]], camera.cam2world[0, :3, 3])  # row-major
    np.testing.assert_array_equal(c[0, 16:20], np.array([3.1, 0.2, 0.45, 0], np.float32))
    assert_cameras_equal(cameras.from_eg3d(c), camera, atol=0)
    with pytest.raises(ValueError, match=r"25 numbers.*\(2, 24\)"):
        cameras.from_eg3d(c[:, :24])


def test_opencv_pixels_there_and_back():
    camera = skewed(np.array([0.1, 0.7]))
    world2cam, k = to_opencv(camera, 640)
    assert_cameras_equal(from_opencv(world2cam, k, 640), camera)
    np.testing.assert_allclose(world2cam @ camera.cam2world, np.broadcast_to(np.eye(4), (2, 4, 4)), atol=1e-6)


def test_opencv_pixel_centres_are_integers():
    camera = skewed()
    world2cam, k = (np.asarray(x, np.float64) for x in to_opencv(camera, 8))
    ray = jax.tree.map(lambda x: np.array(x)[5, 2], rays(camera, 8))
    point = np.asarray(ray.origins + 2.0 * ray.directions, np.float64)
    pixel = k @ (world2cam[:3, :3] @ point + world2cam[:3, 3])
    np.testing.assert_allclose(pixel[:2] / pixel[2], [2, 5], atol=1e-4)


def test_opengl_looks_along_minus_z_with_y_up():
    pose = skewed().cam2world
    flipped = cameras.flip_opengl(pose)
    np.testing.assert_array_equal(flipped[:3, 2], -pose[:3, 2])
    np.testing.assert_array_equal(flipped[:3, 1], -pose[:3, 1])
    np.testing.assert_array_equal(flipped[:, [0, 3]], pose[:, [0, 3]])
    np.testing.assert_array_equal(cameras.flip_opengl(flipped), pose)


@pytest.mark.parametrize("quaternion", QUATERNIONS, ids=["w", "x", "y", "z"])
def test_colmap_there_and_back(quaternion):
    quaternion = np.array(quaternion) / np.linalg.norm(quaternion)
    translation, params = np.array([0.2, -0.1, 2.5]), (700.0, 650.0, 250.0, 262.0)
    camera = cameras.from_colmap(quaternion, translation, "PINHOLE", params, 512)
    cameras.validate(camera)
    back, moved, pixels = cameras.to_colmap(camera, 512)
    sign = 1 if quaternion[0] >= 0 else -1  # q and -q are one rotation; COLMAP's w is not negative
    np.testing.assert_allclose(back, sign * quaternion, atol=1e-6)
    np.testing.assert_allclose(moved, translation, atol=1e-6)
    np.testing.assert_allclose(pixels, params, rtol=1e-6)


def test_colmap_projects_as_colmap_says():
    quaternion, translation = np.array(QUATERNIONS[2]), np.array([0.2, -0.1, 2.5])
    camera = cameras.from_colmap(quaternion, translation, "SIMPLE_PINHOLE", (600.0, 250.0, 262.0), 512)
    # Independent of the matrix formula: rotate by the quaternion product q p q*.
    q = quaternion / np.linalg.norm(quaternion)
    point = np.array([0.3, -0.4, 0.2])
    cross = np.cross(q[1:], point)
    local = point + 2 * q[0] * cross + 2 * np.cross(q[1:], cross) + translation
    expected = np.array([600 * local[0] / local[2] + 250, 600 * local[1] / local[2] + 262]) / 512
    uv, z = project(camera, np.float32(point)[None])
    np.testing.assert_allclose(uv[0], expected, atol=1e-5)
    np.testing.assert_allclose(z[0], local[2], rtol=1e-5)


def test_colmap_refuses_what_a_pinhole_cannot_say():
    with pytest.raises(ValueError, match="'OPENCV'.*image_undistorter"):
        cameras.from_colmap(QUATERNIONS[0], np.zeros(3), "OPENCV", (1,) * 8, 512)
    with pytest.raises(ValueError, match="PINHOLE has 4 parameters; got 3"):
        cameras.from_colmap(QUATERNIONS[0], np.zeros(3), "PINHOLE", (1, 1, 1), 512)
    with pytest.raises(ValueError, match="no skew"):
        cameras.to_colmap(skewed(), 512)


def test_eg3d_orbit_is_frontal_at_right_angles():
    assert_cameras_equal(eg3d_orbit(np.pi / 2, np.pi / 2), orbit(0.0, 0.0))


def test_eg3d_orbit_follows_the_arccos_law():
    for vertical in (0.3, 1.2, 2.8):
        position = eg3d_orbit(np.pi / 2, vertical, radius=2.0).cam2world[:3, 3]
        # cos(polar) = 1 - 2 v / pi: height is linear in v, the angle is not.
        np.testing.assert_allclose(position[1] / 2, 1 - 2 * vertical / np.pi, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(position), 2.0, rtol=1e-6)
    # Smaller angles are to the left in EG3D: yaw = horizontal - pi / 2 in ours.
    assert_cameras_equal(eg3d_orbit(np.pi / 2 + 0.3, np.pi / 2), orbit(0.3, 0.0))


def test_focal_lengths_are_those_of_eg3d():
    assert round(cameras.focal_from_fov(18.837), 3) == 4.263
    assert round(cameras.focal_from_fov(18), 3) == 4.465
    with pytest.raises(ValueError, match="the focal length of 200 degrees is -0.1247, expected"):
        cameras.focal_from_fov(200)


def with_numbers(**changes):
    """A good camera with some of its numbers changed: pose and k are functions from matrix to matrix."""
    camera = orbit(0.1, 0.1)
    pose, k = np.array(camera.cam2world), np.array(camera.intrinsics)
    return Camera(changes.get("pose", lambda x: x)(pose), changes.get("k", lambda x: x)(k))


def replaced(row, column, value):
    """A function that sets one entry of a matrix."""

    def change(matrix):
        matrix[row, column] = value
        return matrix

    return change


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (lambda: with_numbers(pose=lambda x: x[:3]), r"\(3, 4\) and \(3, 3\), expected \(\.\.\., 4, 4\)"),
        (lambda: with_numbers(pose=lambda x: np.stack([x] * 3), k=lambda x: np.stack([x] * 2)), "that broadcast"),
        (lambda: with_numbers(pose=replaced(0, 3, np.nan)), "not finite"),
        (lambda: with_numbers(k=replaced(0, 0, np.inf)), "not finite"),
        (lambda: with_numbers(pose=lambda x: x * np.array([2, 2, 2, 1])), "not orthonormal.*scale"),
        (lambda: with_numbers(pose=lambda x: x * np.array([1, -1, 1, 1])), "mirrors"),
        (lambda: with_numbers(pose=lambda x: x.T), "last row"),
        (lambda: with_numbers(k=lambda x: x.T), r"must be \[\[fx, skew, cx\]"),
        (lambda: with_numbers(k=replaced(1, 1, -4.0)), "positive; got 4.2647 and -4.*the signs and its axes together"),
        (lambda: with_numbers(k=replaced(0, 0, -4.0)), "positive.*which is flip_opengl"),
        (lambda: with_numbers(k=replaced(0, 0, 0.0)), "positive; got 0 and 4.2647.$"),
        (lambda: with_numbers(k=lambda x: x * np.array([[512], [512], [1]])), r"(?s)divided by.*from_opencv"),
    ],
)  # fmt: skip
def test_validate_names_what_is_wrong(camera, message):
    with pytest.raises(ValueError, match=message):
        cameras.validate(camera())


def test_validate_accepts_good_cameras():
    cameras.validate(with_numbers())
    cameras.validate(skewed(np.zeros((2, 3))))
    cameras.validate(with_numbers(pose=lambda x: np.stack([x, x])))  # which share their intrinsics


@pytest.mark.parametrize("signs", [(-1, 1), (1, -1), (-1, -1)])
def test_what_is_advised_for_negative_focal_lengths_helps(signs):
    """A camera of other axes sees points where the advised one does, and before it."""
    good = skewed()
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (5, 3))
    x, y = signs
    axes = np.diag([y, x, x * y, 1])
    pose, k = good.cam2world @ axes, np.asarray(good.intrinsics) @ np.diag([x, y, 1])
    local = (points - pose[:3, 3]) @ np.asarray(pose)[:3, :3]
    seen = local @ np.transpose(k)
    with pytest.raises(ValueError, match=r"Camera\((.*?), (intrinsics.*?\])\)\)") as refused:
        cameras.validate(Camera(pose, k))
    advice = re.search(r"Camera\(.*?\]\), .*?\]\)\)", str(refused.value))[0]
    advised = eval(advice, {"np": np, "Camera": Camera, "cam2world": pose, "intrinsics": k})
    cameras.validate(advised)
    uv, z = cameras.project(advised, jnp.asarray(points, jnp.float32))
    np.testing.assert_allclose(uv, seen[:, :2] / seen[:, 2:], atol=1e-5)
    assert (z > 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cameras.pinhole(1000.0), "focal is 1000, expected a focal length in image sizes.*pixels is divided"),
        (lambda: cameras.pinhole(-4.0), "focal is -4, expected"),
        (lambda: cameras.orbit(0.0, 0.0, focal=0.0), "focal is 0, expected"),
        (lambda: cameras.orbit(20, 0.0), r"yaw is 20, expected radians.*jnp.radians\(20\)"),
        (lambda: cameras.orbit(np.array([0.0, -30.0]), 0.0), "yaw is -30, expected radians"),
        (lambda: cameras.orbit(0.0, 5), "pitch is 5, expected radians from -1.571"),
        (lambda: cameras.orbit(np.nan, 0.0), "yaw is nan, expected radians"),
        (lambda: cameras.eg3d_orbit(90, 1.5), "horizontal is 90, expected radians"),
        (lambda: cameras.eg3d_orbit(1.5, 90), "vertical is 90, expected radians"),
        (lambda: cameras.orbit(0.0, 0.0, radius=-2.7), "radius is -2.7, expected a positive number"),
        (lambda: cameras.orbit(0.0, 0.0, pivot=(0.0, 0.0)), r"target has shape \(2,\), expected \(\.\.\., 3\)"),
        (lambda: cameras.from_eg3d(np.zeros(25)), "not orthonormal"),
        (lambda: cameras.from_opencv(np.eye(4), np.diag([600.0, -600.0, 1.0]), 512), "positive"),
        (lambda: cameras.from_opencv(np.eye(4), np.diag([4.2, 4.2, 1.0]), 512), "once: cx near 0.5"),
        (lambda: cameras.from_opencv(np.eye(4), np.diag([600.0, 600.0, 1.0]), 0), "image_size is 0, expected"),
        (lambda: cameras.from_opencv(np.eye(3), np.eye(3), 512), r"world2cam has shape \(3, 3\), expected"),
        (lambda: cameras.from_opencv(np.eye(4), np.eye(4), 512), r"intrinsics has shape \(4, 4\), expected"),
        (lambda: cameras.from_colmap(np.zeros(4), np.zeros(3), "PINHOLE", (600,) * 4, 512), "quaternion.*not all zero"),
        (lambda: cameras.from_colmap(np.ones(3), np.zeros(3), "PINHOLE", (600,) * 4, 512), r"quaternion has shape"),
        (lambda: cameras.from_colmap(np.ones(4), np.zeros(4), "PINHOLE", (600,) * 4, 512), r"translation has shape"),
        (lambda: cameras.to_colmap(skewed(np.zeros(2)), 512), r"cameras \(2,\), expected one"),
        (lambda: cameras.rays(skewed(), 0), "resolution is 0, expected a positive integer"),
        (lambda: cameras.rays(skewed(), 8.0), "resolution is 8.0, expected a positive integer"),
        (lambda: cameras.rays(with_numbers(k=lambda k: 512 * k), 8), "must be"),
        (lambda: cameras.project(with_numbers(), jnp.zeros(2)), r"points has shape \(2,\), expected"),
    ],
)  # fmt: skip
def test_wrong_cameras_are_refused_where_they_are_made_and_used(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_pose_of_three_rows_is_completed():
    world2cam, k = cameras.to_opencv(skewed(np.array([0.1, 0.7])), 640)
    assert_cameras_equal(cameras.from_opencv(world2cam[:, :3], k[0], 640), skewed(np.array([0.1, 0.7])))


def test_what_is_traced_is_not_checked():
    np.testing.assert_allclose(orbit(20.0, 0.0).cam2world, orbit(20.0 % (2 * np.pi), 0.0).cam2world, atol=1e-5)
    jax.eval_shape(cameras.validate, with_numbers(k=replaced(0, 0, -4.0)))
