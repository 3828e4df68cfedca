"""Clouds of an analytic scene: a ball of radius 0.4, its upper half labelled 1, its lower half 2."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from dnerf_jax.ops import cameras, images, points, thinning, warping
from dnerf_jax.ops.batched import Batched
from dnerf_jax.ops.labels import LabelMap

LABELS = LabelMap(("background", "upper half", "lower"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))
RADIUS = 0.4


@struct.dataclass(repr=False)
class Surface(Batched):
    """What clouds need of a view."""

    image: jax.Array
    mask: jax.Array | None
    depth_z: jax.Array
    opacity: jax.Array
    camera: cameras.Camera
    normal: jax.Array | None = None
    confidence: jax.Array | None = None

    @property
    def batch_shape(self):
        return self.opacity.shape[:-2]


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


def stacked(*yaws, **changes):
    views = [view_of_ball(yaw) for yaw in yaws]
    made = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *views)
    return made.replace(**changes)


@pytest.fixture(scope="module")
def three():
    """Three views of the ball, with its normals, and confidence that grows to the top."""
    views = stacked(-0.4, 0.0, 0.4)
    surface = warping.lift(views.depth_z, warping.matrices(views.camera))
    solid = np.isfinite(views.depth_z)
    return views.replace(
        normal=np.where(solid[..., None], surface / RADIUS, 0).astype(np.float32),
        confidence=np.where(solid, 0.5 + surface[..., 1], 1).astype(np.float32).clip(0, 1),
    )


def test_the_clouds_of_views_have_their_normals_and_confidence(three):
    cloud = points.from_views(three, label_map=LABELS, voxel_size=0.02)
    assert cloud.label_map == LABELS and len(cloud) > 500
    np.testing.assert_allclose(np.linalg.norm(cloud.points, axis=-1), RADIUS, atol=2e-3)
    np.testing.assert_allclose(cloud.normals, cloud.points / RADIUS, atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(cloud.normals, axis=-1), 1, atol=1e-6)
    decided = np.abs(cloud.points[:, 1]) > 0.02
    np.testing.assert_array_equal(cloud.labels[decided], np.where(cloud.points[:, 1] > 0, 1, 2)[decided])
    np.testing.assert_allclose(cloud.confidence[decided], 0.5 + cloud.points[decided, 1], atol=1e-3)
    # Each place once.
    np.testing.assert_allclose(points.fuse([cloud], voxel_size=0.02).points, cloud.points)
    alone = points.from_view(three[1])
    np.testing.assert_allclose(alone.normals, alone.points / RADIUS, atol=1e-5)


def test_where_a_view_has_no_normal_points_face_the_camera(three):
    cloud = points.from_view(three[0].replace(normal=np.zeros_like(three.normal[0])))
    towards = np.asarray(three.camera.cam2world)[0, :3, 3] - cloud.points
    np.testing.assert_allclose(cloud.normals, towards / np.linalg.norm(towards, axis=-1, keepdims=True), atol=1e-5)


def test_the_same_views_give_the_same_bytes(three):
    options = {"voxel_size": 0.02, "num_points": 256}
    first = points.from_views(three, **options)
    for views in (jax.tree.map(jnp.asarray, three), jax.tree.map(np.asfortranarray, three)):
        again = points.from_views(views, **options)
        for name in ("points", "colors", "labels", "normals", "confidence"):
            assert getattr(again, name).tobytes() == getattr(first, name).tobytes()


def test_exactly_so_many_points_are_spread_evenly(three):
    every = points.from_views(three, voxel_size=0.02)
    cloud = points.from_views(three, voxel_size=0.02, num_points=200)
    assert len(cloud) == 200
    gaps = np.linalg.norm(every.points[:, None] - cloud.points, axis=-1).min(axis=1)
    random = every.points[np.random.default_rng(0).choice(len(every), 200, replace=False)]
    assert gaps.max() < 0.6 * np.linalg.norm(every.points[:, None] - random, axis=-1).min(axis=1).max()
    np.testing.assert_array_equal(points.from_views(three, voxel_size=0.02, num_points=50).points, cloud.points[:50])
    # What is looked up for the chosen voxels alone is what all voxels have.
    every = points.from_views(three, voxel_size=0.02)
    chosen = every[thinning.farthest(every.points, 200)]
    for name in ("points", "colors", "labels"):
        np.testing.assert_array_equal(getattr(cloud, name), getattr(chosen, name))


def test_of_too_few_points_exactly_so_many_are_repeated(three):
    few = points.from_views(three, voxel_size=0.3)
    with pytest.warns(UserWarning, match="fewer than 100 voxels of 0.3: its points are repeated; make them smaller"):
        cloud = points.from_views(three, voxel_size=0.3, num_points=100)
    assert len(few) < 40 and len(cloud) == 100
    np.testing.assert_array_equal(cloud.points[len(few) : 2 * len(few)], cloud.points[: len(few)])
    np.testing.assert_array_equal(np.unique(cloud.points, axis=0), np.unique(few.points, axis=0))
    empty = three.replace(mask=np.zeros_like(three.mask))
    assert len(points.from_views(empty, voxel_size=0.3)) == 0
    with pytest.raises(ValueError, match="3 views show no surface, so there are no 100 points"):
        points.from_views(empty, voxel_size=0.3, num_points=100)


def test_what_floats_before_the_surface_of_other_views_is_dropped(three):
    depth = np.array(three.depth_z)
    depth[0, 28:36, 28:36] -= 0.1
    floating = three.replace(depth_z=depth)

    def far_out(**options):
        cloud = points.from_views(floating, voxel_size=0.01, **options)
        return np.sum(np.abs(np.linalg.norm(cloud.points, axis=-1) - RADIUS) > 0.02), len(cloud)

    kept, _ = far_out(tolerance=None)
    assert kept > 20 and far_out()[0] == 0
    # Nothing else is.
    whole, all_views = (points.from_views(three, voxel_size=0.01, tolerance=given) for given in (0.01, None))
    assert len(whole) == len(all_views)


def test_views_may_be_those_of_files(three):
    empty_is_zero = np.where(np.isfinite(three.depth_z), three.depth_z, 0)
    files = three.replace(depth_z=empty_is_zero, image=np.asarray(images.to_uint8(three.image, span=(-1, 1))))
    stored, cloud = (points.from_views(views, voxel_size=0.02) for views in (files, three))
    np.testing.assert_array_equal(stored.points, cloud.points)
    np.testing.assert_array_equal(stored.colors, cloud.colors)


def test_views_that_make_no_cloud_are_refused(three):
    with pytest.raises(ValueError, match=r"depth_z has shape \(64, 64\), expected \(V, H, W\)"):
        points.from_views(three[0], voxel_size=0.02)
    with pytest.raises(ValueError, match="num_points"):
        points.from_views(three, voxel_size=0.02, num_points=0)
    with pytest.raises(ValueError, match="voxel_size is 0"):
        points.from_views(three, voxel_size=0)
