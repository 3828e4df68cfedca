"""Agreement of views and of neighbouring frames under warping by exact distance, on a ball, and line textures."""

import jax
import numpy as np
import pytest
from ball import ball

from dnerf_jax.ops import consistency
from dnerf_jax.ops.labels import LabelMap


@pytest.mark.slow
def test_exact_labels_agree_but_for_the_pixels_of_a_border():
    views = ball(np.linspace(-20, 20, 9))
    share, compared = consistency.warped_agreement(views.mask, views.distance, views.camera)
    solid = np.isfinite(views.distance)
    assert 0.97 < share < 1
    assert 0.9 * solid[:-1].sum() < compared < solid[:-1].sum()


@pytest.mark.slow
def test_a_frame_that_disagrees_counts_with_both_neighbours():
    views = ball(np.linspace(-20, 20, 9))
    masks = views.mask.copy()
    masks[4] = np.where(masks[4] == 0, 0, 3 - masks[4])
    before, _ = consistency.warped_agreement(views.mask, views.distance, views.camera)
    after, _ = consistency.warped_agreement(masks, views.distance, views.camera)
    assert abs(before - after - 0.25) < 0.02  # two of eight pairs


@pytest.mark.slow
def test_what_is_hidden_in_the_next_frame_is_not_compared():
    # From behind, the ball shows none of the points that it shows from the front.
    views = ball([0.0, 180.0])
    share, compared = consistency.warped_agreement(views.mask, views.distance, views.camera)
    assert compared == 0 and np.isnan(share)
    # A camera that looks away sees nothing.
    away = views.camera.replace(cam2world=views.camera.cam2world @ np.diag([-1.0, 1, -1, 1]).astype(np.float32))
    front = jax.tree.map(lambda here, there: np.stack([here[0], there[1]]), views.camera, away)
    assert consistency.warped_agreement(views.mask, views.distance, front)[1] == 0


@pytest.mark.slow
def test_colours_that_stay_on_the_surface_agree_and_noise_does_not():
    views = ball(np.linspace(-20, 20, 9))
    fixed = np.stack([views.mask] * 3, axis=-1).astype(np.float32) - 1  # in [-1, 1]
    noise = fixed + np.random.default_rng(0).normal(0, 0.1, fixed.shape)
    exact = consistency.warped_psnr(fixed, views.distance, views.camera)
    assert exact > 15
    # The differences of independent noise in two frames have twice its variance.
    error = 4 / 10 ** (consistency.warped_psnr(noise, views.distance, views.camera) / 10) - 4 / 10 ** (exact / 10)
    np.testing.assert_allclose(error, 2 * 0.1**2, rtol=0.1)
    assert np.isnan(consistency.warped_psnr(fixed[[0, 0]], *behind()))


def behind():
    """Distance and cameras of two views that show none of each other's points."""
    views = ball([0.0, 180.0])
    return views.distance, views.camera


LABELS = ("background", "left", "right")


def count(views, masks=None, **options):
    return consistency.confusion(views.mask if masks is None else masks, views.distance, views.camera, 3, **options)


@pytest.mark.slow
def test_pairs_of_views_are_counted_by_the_angle_between_them():
    views = ball([-20.0, -15.0, 10.0])  # 5, 25 and 30 degrees apart
    counts = count(views)
    assert counts.dtype == np.int64 and counts.shape == (5, 3, 3)
    near, far = counts[0].sum(), counts[2].sum()
    assert counts.sum() == near + far and 0 < near < far < 2 * near  # one pair in the one, two in the other
    only = [count(views[np.array(pair)]) for pair in ([0, 1], [0, 2], [1, 2])]
    np.testing.assert_array_equal(counts, sum(only))
    # A bound belongs to what is above it, however cameras are rounded.
    apart = count(ball([-10.0, 0.0, 10.0]), angles=[10, 20, 30])
    assert [of.sum() > 0 for of in apart] == [False, True, True, False]


@pytest.mark.slow
def test_neighbouring_frames_are_compared_where_only_these_are_asked_for():
    views = ball(np.linspace(-20, 20, 4))
    found = consistency.shares(count(views, angles=(), pairs=[(0, 1), (1, 2), (2, 3)]), LABELS, angles=())
    expected = consistency.warped_agreement(views.mask, views.distance, views.camera)
    assert (found["agreement"], found["pixels"]) == expected


def test_labels_that_disagree_are_counted_where_they_do():
    views = ball([-8.0, 8.0])
    exact = consistency.shares(count(views), LABELS)
    assert exact["agreement"] > 0.97 and exact["per_class"]["background"] is None
    assert [of["agreement"] is not None for of in exact["by_angle"]] == [False, True, False, False, False]
    assert exact["by_angle"][1] == {"from": 10, "to": 20, "agreement": exact["agreement"], "pixels": exact["pixels"]}
    # The second view calls all that is left right.
    masks = views.mask.copy()
    masks[1] = np.where(masks[1] == 1, 2, masks[1])
    wrong = count(views, masks)[1]
    right, left = (count(views)[1][:, c].sum() for c in (2, 1))
    assert wrong.sum() == right + left == exact["pixels"]
    assert wrong[1, 1] == 0 and wrong[0].sum() == wrong[:, 0].sum() == 0
    shares = consistency.shares(count(views, masks), LABELS)
    assert shares["per_class"]["left"] == 0 and shares["per_class"]["right"] == wrong[2, 2] / wrong[2].sum()
    assert shares["agreement"] == wrong[2, 2] / wrong.sum()


def test_ignored_and_empty_pixels_do_not_count():
    views = ball([-8.0, 8.0])
    whole, masks = count(views).sum(), views.mask.copy()
    masks[0, :32] = LabelMap.IGNORE  # the upper half, of one view
    assert 0.45 < count(views, masks).sum() / whole < 0.55
    distance = np.where(np.isfinite(views.distance), views.distance, 0)  # as files have it
    np.testing.assert_array_equal(consistency.confusion(views.mask, distance, views.camera, 3), count(views))
    assert count(ball([0.0, 180.0])).sum() == 0 == count(views[:1]).sum()


def test_shares_of_a_sum_are_those_of_all_scenes_together():
    scenes = [count(ball(yaws)) for yaws in ([-8.0, 8.0], [-30.0, 0.0, 20.0])]
    total = consistency.shares(sum(scenes), LABELS)
    of_each = [consistency.shares(counts, LABELS) for counts in scenes]
    assert total["pixels"] == sum(one["pixels"] for one in of_each)
    same = sum(one["agreement"] * one["pixels"] for one in of_each)
    assert total["agreement"] == pytest.approx(same / total["pixels"])


def test_a_line_says_what_was_found():
    counts = np.zeros((5, 3, 3), np.int64)
    counts[0] = [[1, 3, 0], [0, 900, 100], [0, 0, 996]]
    counts[3, 1, 1] = 1000
    assert consistency.describe(consistency.shares(counts, LABELS)) == (
        "two views agree on the labels of 0.9657 of 3,000 common points; least on left 0.950, right 1.000; "
        "at 0-10 degrees 0.9485, 40-60 degrees 1.0000"
    )
    assert consistency.describe(consistency.shares(counts * 0, LABELS)) == "no point is seen by two views"


def test_what_does_not_fit_is_refused():
    views = ball([-8.0, 8.0])
    with pytest.raises(ValueError, match=r"masks have the ids \[2\], expected 0 to 1 or 255"):
        consistency.confusion(views.mask, views.distance, views.camera, 2)
    with pytest.raises(ValueError, match=r"distance \(1, 64, 64\), cameras \(2,\): expected"):
        consistency.confusion(views.mask, views.distance[:1], views.camera, 3)
    with pytest.raises(ValueError, match=r"counts have shape \(5, 3, 3\), expected \(5, 2, 2\)"):
        consistency.shares(np.zeros((5, 3, 3)), ("a", "b"))


def test_a_line_texture_is_one_row_of_every_frame():
    frames = np.random.default_rng(0).integers(0, 255, (5, 8, 9, 3), np.uint8)
    texture = consistency.line_texture(frames, 3)
    assert texture.shape == (5, 9, 3)
    for t in range(5):
        np.testing.assert_array_equal(texture[t], frames[t, 3])


def follow(views, known, **changed):
    """Sightings of points `known` (N, 3) of the ball, whose world is the canonical one."""
    shown = np.where(np.isfinite(views.distance)[..., None], views.points, np.nan)
    given = {"points": np.stack([known] * len(views)), "shown": shown, "camera": views.camera} | changed
    return consistency.sightings(canonical=known, masks=views.mask, distance=views.distance, **given)


@pytest.mark.slow
def test_points_are_followed_through_what_moves():
    views = ball([-20.0, 0.0, 20.0])
    points = np.asarray(views.points[1])[np.isfinite(views.distance[1])]
    found = follow(views, points)
    right = 1 + (points[:, :1] > 0)
    assert (found[:, 1] != LabelMap.IGNORE).all() and (found[:, 1:2] == right).all()
    seen = found != LabelMap.IGNORE
    assert 0.8 < seen.mean() < 1 and np.mean(found[seen] == np.broadcast_to(right, found.shape)[seen]) > 0.97
    # The ball goes elsewhere in the first view, and the camera with it: the same is seen.
    moved = np.eye(4, dtype=np.float32)
    moved[:3, 3] = 0.3, -0.2, 0.5
    follows = views.camera.replace(cam2world=np.stack([moved @ views.camera.cam2world[0], *views.camera.cam2world[1:]]))
    there = np.stack([points + moved[:3, 3], points, points])
    assert np.mean(follow(views, points, points=there, camera=follows) == found) > 0.99
    # What is as far away and something else is not the point; what has no place in a view is not seen by it.
    assert (follow(views, points, shown=np.asarray(views.points) + 1) == LabelMap.IGNORE).all()
    assert (follow(views, points, points=np.stack([points * np.nan, points, points]))[:, 0] == LabelMap.IGNORE).all()


def test_sightings_of_a_point_are_compared_with_each_other():
    unseen = LabelMap.IGNORE
    labels = np.uint8([[1, 1, 2, unseen], [2, unseen, unseen, unseen], [unseen, 0, 0, unseen]])
    counts = consistency.recalled(labels, 3)
    np.testing.assert_array_equal(counts, [[[2, 0, 0], [0, 2, 2], [0, 2, 0]]])
    shares = consistency.shares(counts, LABELS, angles=())
    assert shares["agreement"] == 0.5 and shares["pixels"] == 8
    assert consistency.usual(labels, 3) == 4 / 5 and consistency.usual(labels[1:2], 3) is None
    del shares["by_angle"]
    assert consistency.describe(shares).endswith("8 common points; least on right 0.000, left 0.500")
