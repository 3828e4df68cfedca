"""Farthest points, voxels and votes: equal to literal loops, ties included."""

import numpy as np
import pytest

from dnerf_jax.ops import thinning


def literal_farthest(points, count):
    points = points.astype(np.float32)
    axis = np.argmax(np.ptp(points, axis=0))
    chosen = [int(np.argsort(points[:, axis], kind="stable")[0])]
    while len(chosen) < count:
        left = np.min([np.square(points - points[index]).sum(-1) for index in chosen], axis=0)
        left[chosen] = -1
        chosen.append(int(np.argmax(left)))
    return np.array(chosen)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_farthest_points_are_those_of_a_literal_loop(seed):
    points = np.random.default_rng(seed).standard_normal((400, 3)).astype(np.float32) * np.array([1, 2, 0.5])
    chosen = thinning.farthest(points, 120)
    np.testing.assert_array_equal(chosen, literal_farthest(points, 120))
    # The first of many are those of few, and nearer ones come later.
    np.testing.assert_array_equal(thinning.farthest(points, 30), chosen[:30])


def test_few_points_are_each_chosen_once():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0], [0.5, 0, 0]])
    assert thinning.farthest(points, 9).tolist() == [0, 1, 4, 2, 3]
    assert thinning.farthest(points, 2).tolist() == [0, 1]
    assert thinning.farthest(points[:0], 3).tolist() == []


def test_chosen_points_cover_evenly():
    rng = np.random.default_rng(0)
    # Nine of ten points crowd in a corner of the square.
    points = np.concatenate([rng.uniform(0, 0.1, (9000, 3)), rng.uniform(0, 1, (1000, 3))]) * np.array([1, 1, 0])
    chosen = points[thinning.farthest(points, 100)]
    assert (chosen < 0.1).all(axis=-1).mean() < 0.1
    gaps = np.linalg.norm(points[:, None] - chosen, axis=-1).min(axis=1)
    apart = np.sort(np.linalg.norm(chosen[:, None] - chosen, axis=-1), axis=1)[:, 1]
    assert gaps.max() <= apart.min() * 1.001


def test_voxels_are_numbered_by_x_then_y_then_z():
    points = np.array([[0.15, 0.05, 0.0], [-0.05, 0.0, 0.0], [0.12, 0.01, 0.09], [0.15, 0.05, 0.11], [0.11, 0.3, -1.0]])
    assert thinning.voxels(points, 0.1).tolist() == [1, 0, 1, 2, 3]
    assert thinning.voxels(points[:0], 0.1).tolist() == []
    for size in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="expected a positive length"):
            thinning.voxels(points, size)
    with pytest.raises(ValueError, match="too small for points that span"):
        thinning.voxels(points, 1e-9)


def test_votes_are_those_of_a_literal_loop():
    rng = np.random.default_rng(0)
    group = np.concatenate([np.arange(300), rng.integers(0, 300, 2000)])
    labels = rng.choice([0, 1, 2, 7, 255, 255], len(group)).astype(np.uint8)
    found = thinning.majority(group, labels)
    for index in range(300):
        given = labels[group == index].tolist()
        known = [label for label in given if label != 255] or [255]
        assert found[index] == min(set(known), key=lambda label: (-known.count(label), label))
    means = thinning.means(group, np.stack([group, labels], axis=-1))
    np.testing.assert_allclose(means[:, 0], np.arange(300))
    np.testing.assert_allclose(means[5, 1], labels[group == 5].mean())
