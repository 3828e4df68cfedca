"""Clouds: what they hold and refuse, fusion in voxels, agreement of two."""

import numpy as np
import pytest

from dnerf_jax.ops import clouds
from dnerf_jax.ops.clouds import PointCloud
from dnerf_jax.ops.labels import LabelMap

LABELS = LabelMap(("background", "upper half", "lower"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))


def random_cloud(count, seed=0, **options):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.5, 0.5, (count, 3))
    return PointCloud(points, rng.integers(0, 256, (count, 3)), rng.integers(0, 3, count), **options)


def test_fuse_without_voxels_keeps_all_points():
    a, b = random_cloud(5, 0, label_map=LABELS), random_cloud(7, 1)
    fused = clouds.fuse([a, b])
    assert len(fused) == 12 and fused.label_map == LABELS
    np.testing.assert_array_equal(fused.points, np.concatenate([a.points, b.points]))


def test_fuse_in_voxels_equals_a_literal_loop():
    parts = [random_cloud(400, seed) for seed in range(3)]
    size = 0.2
    fused = clouds.fuse(parts, voxel_size=size)
    joined, voxels = clouds.fuse(parts), {}
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
    assert clouds.fuse([cloud], voxel_size=1.0).labels.tolist() == [2]
    assert clouds.fuse([cloud[:3]], voxel_size=1.0).labels.tolist() == [255]


def test_fuse_refuses_what_makes_no_sense():
    other = LabelMap(("background", "other"), ((0, 0, 0),) * 2)
    with pytest.raises(ValueError, match="different label maps"):
        clouds.fuse([random_cloud(2, label_map=LABELS), random_cloud(2, label_map=other)])
    for size in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="expected a positive length"):
            clouds.fuse([random_cloud(2)], voxel_size=size)
    with pytest.raises(ValueError, match="too small"):
        clouds.fuse([random_cloud(9)], voxel_size=1e-9)
    with pytest.raises(ValueError, match="no clouds"):
        clouds.fuse([])
    assert len(clouds.fuse([random_cloud(0)], voxel_size=0.1)) == 0


def test_agreement_by_hand():
    grid = np.stack(np.meshgrid(np.arange(3.0), np.arange(3.0), [0.0]), -1).reshape(-1, 3)
    a = PointCloud(grid, np.zeros((9, 3), np.uint8), np.array([1] * 6 + [2] * 3))
    moved = np.concatenate([grid[:8] + np.array([0, 0, 0.1]), [[50, 0, 0]]])
    b = PointCloud(moved, np.zeros((9, 3), np.uint8), np.array([1] * 5 + [2, 255, 2, 2]))
    result = clouds.agreement(a, b, radius=0.5)
    assert result["median_distance"] == pytest.approx(0.1)
    assert result["overlap"] == pytest.approx(16 / 18)
    assert result["label_agreement"] == pytest.approx(6 / 7)  # Of 8 partners one is unknown, one differs.
    assert clouds.agreement(b, a, radius=0.5) == pytest.approx(result)


def test_agreement_of_clouds_apart_is_none_not_a_number():
    cloud = random_cloud(20)
    far = PointCloud(cloud.points + 9, cloud.colors, cloud.labels)
    nothing = {"median_distance": None, "label_agreement": None, "overlap": 0.0}
    assert clouds.agreement(cloud, far) == nothing
    assert clouds.agreement(cloud, cloud[:0]) == nothing
    assert clouds.agreement(cloud[:0], cloud[:0]) == nothing
    with pytest.raises(ValueError, match="radius is 0"):
        clouds.agreement(cloud, cloud, radius=0)


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


def test_normals_and_confidence_are_chosen_with_the_points():
    cloud = random_cloud(5, normals=np.eye(3)[[0, 1, 2, 0, 1]], confidence=np.linspace(0, 1, 5))
    some = cloud[np.array([4, 0])]
    assert some.normals.tolist() == [[0, 1, 0], [1, 0, 0]] and some.confidence.tolist() == [1, 0]
    assert some.normals.dtype == some.confidence.dtype == np.float32
    assert random_cloud(5)[1:].normals is None
    for wrong, message in (
        ({"normals": np.zeros((4, 3))}, r"normals have shape \(4, 3\), expected finite numbers \(5, 3\)"),
        ({"normals": np.full((5, 3), np.nan)}, "expected finite"),
        ({"confidence": np.zeros((5, 1))}, r"confidence have shape \(5, 1\)"),
        ({"confidence": np.full(5, 1.5)}, "confidence is 1.5 to 1.5, expected shares from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            random_cloud(5, **wrong)


def test_normals_of_a_voxel_are_their_mean_at_unit_length():
    normals = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1]], np.float32)
    place = np.array([[0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [1.5, 0.5, 0.5], [1.5, 0.5, 0.5]])
    cloud = PointCloud(place, np.zeros((4, 3), np.uint8), np.ones(4, np.uint8), normals=normals)
    fused = clouds.fuse([cloud[:3], cloud[3:]], voxel_size=1.0)
    # Of opposite ones the first.
    np.testing.assert_allclose(fused.normals, [[0.5**0.5, 0.5**0.5, 0], [0, 0, 1]], atol=1e-6)
    assert fused.confidence is None
    assert clouds.fuse([cloud, random_cloud(3)]).normals is None  # unknown of some


def test_confidence_of_a_voxel_is_the_mean_where_other_votes_count_nothing():
    labels, confidence = np.array([1, 1, 2, 255, 255]), np.array([0.9, 0.6, 0.8, 0.7, 0.7])
    place = np.array([[0.5, 0.5, 0.5]] * 4 + [[1.5, 0, 0]])
    cloud = PointCloud(place, np.zeros((5, 3), np.uint8), labels, confidence=confidence)
    fused = clouds.fuse([cloud], voxel_size=1.0)
    assert fused.labels.tolist() == [1, 255]
    np.testing.assert_allclose(fused.confidence, [1.5 / 3, 0], atol=1e-6)


def test_vectors_without_length_are_replaced():
    vectors = np.array([[0, 3.0, 0], [0, 0, 0], [1e-6, 0, 0], [0, 0, 0]])
    instead = np.array([[9.0, 9, 9], [0, 0, 2], [0, 5, 0], [0, 0, 0]])
    np.testing.assert_allclose(clouds.unit(vectors, instead), [[0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]])
