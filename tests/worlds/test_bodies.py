"""The bodies world: what its renders promise about frame, parts, canonical points, depth, determinism and poses."""

import re
from pathlib import Path

import numpy as np
import pytest

from dnerf_jax.ops import skinning
from dnerf_jax.worlds import bodies, meshes
from dnerf_jax.worlds.bodies import attributes, poses, posing, surface, table
from dnerf_jax.worlds.latents import Attribute

RESOLUTION = 96
NAMES = [attribute.name for attribute in attributes.ATTRIBUTES]
CLASS = {name: k for k, name in enumerate(bodies.LABELS.names)}


def latent(seed):
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(bodies.Z_DIM)


def with_attribute(z, name, value):
    z = z.copy()
    z[NAMES.index(name)] = value
    return z


def drawn_pose(seed):
    return bodies.sample_pose(np.random.default_rng(seed))


def world_points(view, cam2world, intrinsics):
    """World points (H, W, 3) of a view's depth_z, from the definition of the camera."""
    centre = (np.arange(RESOLUTION) + 0.5) / RESOLUTION
    x = (centre[None, :] - intrinsics[0, 2]) / intrinsics[0, 0] * view.depth_z
    y = (centre[:, None] - intrinsics[1, 2]) / intrinsics[1, 1] * view.depth_z
    return np.stack([x, y, view.depth_z], -1) @ cam2world[:3, :3].T + cam2world[:3, 3]


def test_the_same_latent_and_pose_give_the_same_bytes():
    z, pose, camera = latent(0), drawn_pose(0), bodies.orbit(40, 10)
    first, again = (bodies.render(bodies.build(z, pose), *camera, RESOLUTION) for _ in range(2))
    for name in ("image", "mask", "depth_z", "distance", "alpha", "canonical"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    other = bodies.render(bodies.build(latent(1), pose), *camera, RESOLUTION)
    assert (other.image != first.image).mean() > 0.02


def test_all_parts_are_there_and_left_is_the_subjects_left():
    view = bodies.render(bodies.unposed(latent(3)), *bodies.orbit(0, 0), RESOLUTION)
    assert set(np.unique(view.mask)) == set(range(15))
    column = np.arange(RESOLUTION)[None, :]
    for part in ("hand", "lower_arm", "foot"):
        left, right = ((view.mask == CLASS[f"{side}_{part}"]) for side in ("left", "right"))
        # Seen from in front, the subject's left is on the right of the picture.
        assert (left * column).sum() / left.sum() > RESOLUTION / 2 > (right * column).sum() / right.sum()
        assert view.canonical[left][:, 0].min() > 0 > view.canonical[right][:, 0].max()
    rows = [np.nonzero(view.mask == CLASS[name])[0].mean() for name in ("head", "torso", "left_lower_leg", "left_foot")]
    assert rows == sorted(rows)


def test_mask_depth_alpha_and_canonical_points_belong_together():
    camera = bodies.orbit(-70, 15)
    view = bodies.render(bodies.build(latent(2), drawn_pose(2)), *camera, RESOLUTION)
    np.testing.assert_array_equal(view.mask > 0, view.depth_z > 0)
    np.testing.assert_array_equal(view.mask > 0, np.abs(view.canonical).sum(-1) > 0)
    assert ((view.mask > 0) <= (view.alpha > 0)).all()
    assert view.distance[view.mask > 0].min() > 2 and view.distance.max() < 3.5
    assert (view.image[view.alpha == 0] == 255).all()


def test_a_point_of_the_surface_has_one_label_in_every_pose_shape_and_view():
    """Two bodies in two poses from two sides: what lies at one canonical point has one label."""
    seen = {}
    for seed, yaw in ((0, 0), (1, 35), (2, -30)):
        view = bodies.render(bodies.build(latent(seed), drawn_pose(seed)), *bodies.orbit(yaw, 0), 192)
        at = view.mask > 0
        for cell, label in zip(map(tuple, np.round(view.canonical[at] / 0.01).astype(int)), view.mask[at], strict=True):
            seen.setdefault(cell, []).append(label)
    several = [labels for labels in seen.values() if len(labels) > 1]
    agree = [np.bincount(labels).max() / len(labels) for labels in several]
    assert len(several) > 500 and np.mean(agree) > 0.97


def test_in_the_canonical_pose_a_mean_body_is_where_its_canonical_points_say():
    z = latent(5)
    for name, value in (("hair_length", -9.0), ("shirt_loose", -9.0), ("trouser_loose", -9.0), ("flare", -9.0)):
        z = with_attribute(z, name, value)
    camera = bodies.orbit(20, 5)
    view = bodies.render(bodies.unposed(z), *camera, RESOLUTION)
    off = np.linalg.norm(world_points(view, *camera) - view.canonical, axis=-1)[view.mask > 0]
    # What is worn stands off by 4 to 9 mm and, under feet, by a sole.
    assert np.median(off) < 0.006 and off.max() < 0.016


def test_shapes_are_told_by_the_latent_and_left_out_where_asked():
    tall, short = (with_attribute(latent(4), "height", value) for value in (3.0, -3.0))
    heights = [np.ptp(bodies.build(z).vertices[:, 1]) for z in (tall, short)]
    assert 0.05 < heights[0] - heights[1] < 0.4
    means = [np.ptp(bodies.unposed(z).vertices[:, 1]) for z in (tall, short)]
    assert abs(means[0] - means[1]) < 0.002
    assert abs(bodies.shape(tall) - bodies.shape(short)).max() > 1


def test_colours_are_those_of_the_canonical_pose_whatever_the_pose():
    z = latent(6)
    still, moved = (bodies.build(z, pose) for pose in (None, drawn_pose(6)))
    np.testing.assert_allclose(still.normals, moved.normals, atol=1e-6)
    np.testing.assert_array_equal(still.canonical, moved.canonical)


def test_attributes_are_monotone_and_within_their_ranges():
    for dimension, attribute in enumerate(attributes.ATTRIBUTES):
        assert isinstance(attribute, Attribute)
        values = []
        for value in (-8.0, -1.0, 0.0, 1.0, 8.0):
            z = np.full(bodies.Z_DIM, 0.3)
            z[dimension] = value
            values.append(attributes.values(z, attributes.ATTRIBUTES)[attribute.name])
        assert values == sorted(values) and values[0] < values[-1]
        assert attribute.low <= values[0] and values[-1] <= attribute.high


def test_weights_of_phenotype_corners_sum_to_one():
    weights = attributes.corners(attributes.attributes(latent(7)))
    assert weights.shape == (len(table.load().corners),)
    np.testing.assert_allclose(weights.sum(), 1)
    assert (weights >= 0).all()


def test_bodies_change_continuously_with_their_latent():
    z, direction = latent(8), latent(9) * 1e-3
    before, after = bodies.build(z), bodies.build(z + direction)
    assert np.abs(before.vertices - after.vertices).max() < 1e-3


def test_skinning_is_the_librarys():
    stored, pose = table.load(), drawn_pose(3)
    moved = posing.transforms(stored.joints, table.PARENTS, pose.rotations)
    theirs = skinning.transforms(skinning.Skeleton(stored.joints, table.PARENTS), pose.rotations)
    np.testing.assert_allclose(moved, theirs[:, :3], atol=2e-6)
    weights = np.zeros((len(stored.mean), len(table.BONES)), np.float32)
    np.add.at(weights, (np.arange(len(weights))[:, None], stored.bone_index), stored.bone_weight)
    posed, turned = posing.skin(stored.mean, stored.bone_index, stored.bone_weight, moved)
    expected, rotated = skinning.skin(stored.mean, weights, theirs)
    np.testing.assert_allclose(posed, expected, atol=5e-6)
    np.testing.assert_allclose(turned, rotated, atol=5e-6)


def test_drawn_poses_are_rotations_centred_and_hardly_inside_of_themselves():
    drawn = [drawn_pose(seed) for seed in range(6)]
    for pose in drawn:
        product = np.swapaxes(pose.rotations, -1, -2) @ pose.rotations
        np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-5)
        posed = table.load().posed_template(pose.rotations) / 2.0 + pose.translation
        np.testing.assert_allclose(posed.min(0) + posed.max(0), 0, atol=1e-5)
        assert poses.inside(pose.rotations) < poses.ALLOWED
    elbows = [pose.rotations[table.BONES.index("lowerarm01.L")] for pose in drawn]
    assert np.ptp([np.trace(x) for x in elbows]) > 0.3


def test_an_arm_through_the_chest_is_noticed():
    through = poses.rotations({"left_shoulder_bend": 30.0, "left_shoulder_spread": -60.0, "left_elbow": 140.0})
    assert poses.inside(through) > poses.ALLOWED
    assert poses.inside(poses.rotations({})) < poses.ALLOWED


def test_winding_numbers_tell_inside_from_outside():
    corners = np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], float)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    points = np.array([[0, 0, 0], [3, 0, 0], [0.2, 0.1, 0.0], [-2, -2, -2]])
    np.testing.assert_array_equal(meshes.winding_numbers(points, corners, faces), [1, 0, 1, 0])
    both = np.concatenate([corners, corners + np.array([0.3, 0, 0])]), np.concatenate([faces, faces + 4])
    np.testing.assert_array_equal(meshes.winding_numbers(points, *both), [2, 0, 2, 0])


@pytest.mark.slow
def test_a_motion_is_smooth_and_spread_poses_are_far_apart():
    made = poses.motion(np.random.default_rng(1), 13, keys=3)
    steps = np.linalg.norm(np.diff(made.reshape(13, -1), axis=0), axis=1)
    assert made.shape == (13, 38, 3, 3) and 0 < steps.max() < 4 * np.median(steps) + 0.2
    drawn = np.stack([poses.sample(np.random.default_rng(seed)) for seed in range(6)])
    again = np.concatenate([drawn, drawn])
    chosen = poses.far_apart(again, 6)
    assert sorted(chosen % 6) == list(range(6)) and chosen[0] == 0


@pytest.mark.parametrize(
    ("rotations", "message"),
    [
        (np.tile(np.eye(3), (37, 1, 1)), r"expected finite numbers of shape \(38, 3, 3\)"),
        (np.full((38, 3, 3), np.nan), "expected finite numbers"),
        (np.tile(2 * np.eye(3), (38, 1, 1)), "that of root is none"),
    ],
)
def test_poses_that_are_none_are_refused(rotations, message):
    with pytest.raises(ValueError, match=message):
        bodies.centred(rotations)


def test_latents_that_are_none_are_refused():
    with pytest.raises(ValueError, match=f"one latent, {bodies.Z_DIM} real numbers"):
        bodies.build(np.zeros(52))


def test_the_table_of_attributes_in_the_docs_is_the_code_s():
    text = (Path(__file__).parents[2] / "docs" / "bodies_world.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (-?[\d.]+) to (-?[\d.]+) \|", text, re.M)
    stated = [(int(i), name, float(low), float(high)) for i, name, low, high in rows]
    assert stated == [(i, x.name, x.low, x.high) for i, x in enumerate(attributes.ATTRIBUTES)]


def test_every_bone_has_a_part():
    assert {surface.PARTS[surface._part(bone)] for bone in table.BONES} == set(surface.PARTS)
