"""Clouds of an analytic scene: a ball of radius 0.4, its upper half labelled 1, its lower half 2."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from dnerf_jax.ops import cameras, points
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.points import PointCloud

LABELS = LabelMap(("background", "upper half", "lower"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))
RADIUS = 0.4


@struct.dataclass
class Surface:
    """What clouds need of a view."""

    image: jax.Array
    mask: jax.Array | None
    depth_z: jax.Array
    opacity: jax.Array
    camera: cameras.Camera


def make_view(image, mask, depth_z, opacity, camera):
    """A view as the renderer gives it, without what clouds do not need."""
    return Surface(image, mask, depth_z, opacity, camera)


def view_of_ball(yaw, pitch=0.0, resolution=64):
    camera = cameras.orbit(yaw, pitch)
    rays = cameras.rays(camera, resolution)
    along = -(rays.origins * rays.directions).sum(-1)
    discriminant = along**2 - (rays.origins**2).sum(-1) + RADIUS**2
    hit = discriminant > 0
    distance = along - jnp.sqrt(jnp.where(hit, discriminant, 0.0))
    points = rays.origins + distance[..., None] * rays.directions
    depth_z = jnp.where(hit, distance * cameras.z_per_distance(camera, resolution), jnp.inf)
    mask = np.where(hit, np.where(points[..., 1] > 0, 1, 2), 0).astype(np.uint8)
    image = jnp.where(hit[..., None], points / RADIUS, 1.0)
    opacity = hit.astype(jnp.float32)
    return make_view(image=image, mask=mask, depth_z=depth_z, opacity=opacity, camera=camera)


def random_cloud(count, seed=0, **options):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.5, 0.5, (count, 3))
    return PointCloud(points, rng.integers(0, 256, (count, 3)), rng.integers(0, 3, count), **options)


@pytest.mark.slow
def test_backproject_inverts_projection_with_skew():
    camera = cameras.orbit(jnp.array([0.4, -0.3]), jnp.array([0.2, -0.1]), radius=3.0)
    intrinsics = camera.intrinsics.at[1].set(jnp.array([[3.0, 0.25, 0.45], [0, 3.5, 0.6], [0, 0, 1]]))
    camera = cameras.Camera(camera.cam2world, intrinsics)
    depth_z = jnp.asarray(np.random.default_rng(0).uniform(1, 4, (2, 5, 7)), jnp.float32)
    surface = points.backproject(depth_z, camera)
    uv, z = cameras.project(camera, surface.reshape(2, -1, 3))
    np.testing.assert_allclose(z.reshape(2, 5, 7), depth_z, rtol=1e-5)
    np.testing.assert_allclose(
        uv.reshape(2, 5, 7, 2)[..., 0], np.broadcast_to((np.arange(7) + 0.5) / 7, (2, 5, 7)), atol=1e-5
    )
    np.testing.assert_allclose(
        uv.reshape(2, 5, 7, 2)[..., 1],
        np.broadcast_to((np.arange(5)[:, None] + 0.5) / 5, (2, 5, 7)),
        atol=1e-5,
    )


@pytest.mark.slow
def test_backproject_lies_on_the_rays_of_the_renderer():
    view = view_of_ball(0.5, 0.2)
    surface = np.asarray(points.backproject(view.depth_z, view.camera))
    seen = np.isfinite(np.asarray(view.depth_z))
    assert seen.sum() > 1000
    np.testing.assert_allclose(np.linalg.norm(surface[seen], axis=-1), RADIUS, atol=1e-5)
    centre = np.asarray(view.camera.cam2world)[:3, 3]
    np.testing.assert_array_equal(surface[~seen], np.broadcast_to(centre, surface[~seen].shape))


@pytest.mark.slow
def test_backproject_of_empty_pixels_is_the_camera_with_finite_gradients():
    camera = cameras.orbit(0.1, 0.0)
    depth_z = jnp.array([[2.0, jnp.inf], [0.0, -1.0]])
    surface = jax.jit(points.backproject)(depth_z, camera)
    at_the_camera = np.all(surface == camera.cam2world[:3, 3], axis=-1)
    np.testing.assert_array_equal(at_the_camera, [[False, True], [True, True]])
    gradient = jax.grad(lambda depth: jnp.sum(points.backproject(depth, camera)))(depth_z)
    np.testing.assert_array_equal(gradient != 0, ~at_the_camera)
    assert np.isfinite(gradient).all()
    with pytest.raises(ValueError, match="batch dimensions"):
        points.backproject(depth_z[None], camera)


@pytest.mark.slow
def test_views_of_one_scene_agree():
    front, side = (points.from_view(view_of_ball(yaw), label_map=LABELS) for yaw in (-0.4, 0.4))
    result = points.agreement(front, side, radius=0.03)
    assert result["median_distance"] < 0.005
    assert result["label_agreement"] > 0.97
    assert 0.4 < result["overlap"] < 0.95


def test_from_view_takes_colours_and_labels_of_the_pixels():
    view = view_of_ball(0.3)
    cloud = points.from_view(view, label_map=LABELS)
    assert cloud.label_map == LABELS and set(cloud.labels) == {1, 2}
    np.testing.assert_allclose(cloud.colors, (cloud.points / RADIUS + 1) * 127.5, atol=0.51)
    np.testing.assert_array_equal(cloud.labels, np.where(cloud.points[:, 1] > 0, 1, 2))
    thinned = points.from_view(view, stride=2)
    assert 0.2 < len(thinned) / len(cloud) < 0.3
    assert set(points.from_view(view.replace(mask=None)).labels) == {255}


@pytest.mark.slow
def test_from_view_joins_the_views_of_a_batch():
    views = [view_of_ball(yaw) for yaw in (-0.3, 0.3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *views)
    batch = points.from_view(stacked)
    joined = points.fuse([points.from_view(view) for view in views])
    np.testing.assert_allclose(batch.points, joined.points, atol=1e-6)
    np.testing.assert_array_equal(batch.labels, joined.labels)


def test_from_view_leaves_out_what_is_no_surface():
    camera = cameras.orbit(0.0, 0.0)
    depth, opacity, mask = np.full((8, 8), 2.7), np.ones((8, 8)), np.ones((8, 8), np.uint8)
    depth[:, 5:] = 2.5  # A step: columns 4 and 5 are at a discontinuity.
    opacity[0, 0], mask[0, 1], mask[0, 2], depth[7, 0] = 0.4, 0, 255, np.inf
    view = make_view(image=np.zeros((8, 8, 3)), mask=mask, depth_z=depth, opacity=opacity, camera=camera)
    expected = np.ones((8, 8), bool)
    expected[:, 4:6] = expected[0, :3] = expected[6:, :2] = False
    surface = np.asarray(points.backproject(depth, camera))
    np.testing.assert_allclose(points.from_view(view).points, surface[expected], atol=1e-6)
    flat = view.replace(depth_z=np.where(np.isfinite(depth), 2.7, np.inf), opacity=np.where(opacity < 1, 0.6, 0.4))
    assert len(points.from_view(flat)) == 1
    with pytest.raises(ValueError, match=r"opacity has the pixels \(4, 4\)"):
        points.from_view(view.replace(opacity=np.ones((4, 4))))


def test_default_jump_keeps_tilted_surfaces():
    camera = cameras.orbit(0.0, 0.0)
    rays = cameras.rays(camera, 128)
    for degrees, kept in ((70, True), (84, False)):
        # The plane through the origin that is turned by this angle from facing the camera.
        normal = jnp.array([jnp.sin(jnp.radians(degrees)), 0.0, jnp.cos(jnp.radians(degrees))])
        distance = -(rays.origins @ normal) / (rays.directions @ normal)
        depth = (distance * cameras.z_per_distance(camera, 128))[60:68, 60:68]
        # The central patch of the depths; where its points lie does not matter here.
        ones = np.ones((8, 8))
        view = make_view(image=np.zeros((8, 8, 3)), mask=None, depth_z=depth, opacity=ones, camera=camera)
        assert (len(points.from_view(view)) == 64) == kept


def test_fuse_without_voxels_keeps_all_points():
    a, b = random_cloud(5, 0, label_map=LABELS), random_cloud(7, 1)
    fused = points.fuse([a, b])
    assert len(fused) == 12 and fused.label_map == LABELS
    np.testing.assert_array_equal(fused.points, np.concatenate([a.points, b.points]))


def test_fuse_in_voxels_equals_a_literal_loop():
    clouds = [random_cloud(400, seed) for seed in range(3)]
    size = 0.2
    fused = points.fuse(clouds, voxel_size=size)
    joined, voxels = points.fuse(clouds), {}
    for index, point in enumerate(joined.points.astype(np.float64)):
        voxels.setdefault(tuple(np.floor(point / size).astype(int)), []).append(index)
    assert len(fused) == len(voxels) < 300
    for row, voxel in enumerate(sorted(voxels)):
        members = voxels[voxel]
        np.testing.assert_allclose(fused.points[row], joined.points[members].mean(0), atol=1e-6)
        np.testing.assert_allclose(fused.colors[row], joined.colors[members].mean(0), atol=0.51)
        labels = joined.labels[members].tolist()
        assert fused.labels[row] == min(set(labels), key=lambda label: (-labels.count(label), label))


def test_unknown_labels_do_not_outvote_known_ones():
    cloud = PointCloud(np.zeros((4, 3)), np.zeros((4, 3), np.uint8), np.array([255, 255, 255, 2]))
    assert points.fuse([cloud], voxel_size=1.0).labels.tolist() == [2]
    assert points.fuse([cloud[:3]], voxel_size=1.0).labels.tolist() == [255]


def test_fuse_refuses_what_makes_no_sense():
    other = LabelMap(("background", "other"), ((0, 0, 0),) * 2)
    with pytest.raises(ValueError, match="different label maps"):
        points.fuse([random_cloud(2, label_map=LABELS), random_cloud(2, label_map=other)])
    for size in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="expected a positive length"):
            points.fuse([random_cloud(2)], voxel_size=size)
    with pytest.raises(ValueError, match="too small"):
        points.fuse([random_cloud(9)], voxel_size=1e-9)
    with pytest.raises(ValueError, match="no clouds"):
        points.fuse([])
    assert len(points.fuse([random_cloud(0)], voxel_size=0.1)) == 0


def test_agreement_by_hand():
    grid = np.stack(np.meshgrid(np.arange(3.0), np.arange(3.0), [0.0]), -1).reshape(-1, 3)
    a = PointCloud(grid, np.zeros((9, 3), np.uint8), np.array([1] * 6 + [2] * 3))
    moved = np.concatenate([grid[:8] + np.array([0, 0, 0.1]), [[50, 0, 0]]])
    b = PointCloud(moved, np.zeros((9, 3), np.uint8), np.array([1] * 5 + [2, 255, 2, 2]))
    result = points.agreement(a, b, radius=0.5)
    assert result["median_distance"] == pytest.approx(0.1)
    assert result["overlap"] == pytest.approx(16 / 18)
    assert result["label_agreement"] == pytest.approx(6 / 7)  # Of 8 partners one is unknown, one differs.
    assert points.agreement(b, a, radius=0.5) == pytest.approx(result)


def test_agreement_of_clouds_apart_is_none_not_a_number():
    cloud = random_cloud(20)
    far = PointCloud(cloud.points + 9, cloud.colors, cloud.labels)
    nothing = {"median_distance": None, "label_agreement": None, "overlap": 0.0}
    assert points.agreement(cloud, far) == nothing
    assert points.agreement(cloud, cloud[:0]) == nothing
    assert points.agreement(cloud[:0], cloud[:0]) == nothing
    with pytest.raises(ValueError, match="radius is 0"):
        points.agreement(cloud, cloud, radius=0)


@pytest.mark.parametrize(
    ("points", "colors", "labels", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 3), int), np.zeros(2, int), r"expected \(N, 3\)"),
        (np.zeros((2, 2)), np.zeros((2, 3), int), np.zeros(2, int), r"expected \(N, 3\)"),
        (np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(2, int), "colors have type float64"),
        (np.zeros((2, 3)), np.zeros((2, 3), int), np.full(2, 256), "labels have type int64"),
        (np.full((2, 3), np.inf), np.zeros((2, 3), int), np.zeros(2, int), "2 of 2 points are not finite"),
    ],
)
def test_clouds_that_are_none_are_refused(points, colors, labels, message):
    with pytest.raises(ValueError, match=message):
        PointCloud(points, colors, labels)
