"""Edits of masks: each operation on a drawn face, what it uncovers and may cover, and the region of interest."""

import numpy as np
import pytest

from dnerf_jax.ops import mask_edits
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.mask_edits import Ellipse, Grow, Move, Polygon, Scale, Shrink, Swap

LABELS = LabelMap(("ground", "skin", "eye", "lip", "mouth"), ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)))
GROUND, SKIN, EYE, LIP, MOUTH = range(5)


def face(resolution=64):
    """A face with two eyes and a lip; 255 in a corner."""
    drawn = [
        Ellipse("skin", (0.5, 0.5), 0.3, 0.4),
        Ellipse("eye", (0.38, 0.4), 0.06, 0.03),
        Ellipse("eye", (0.62, 0.4), 0.06, 0.03),
        Ellipse("lip", (0.5, 0.7), 0.12, 0.03),
    ]
    mask = mask_edits.apply(np.zeros((resolution, resolution), np.uint8), drawn, LABELS)
    mask[:4, :4] = 255
    return mask


def edited(*operations, mask=None):
    before = face() if mask is None else mask
    kept = before.copy()
    after = mask_edits.apply(before, operations, LABELS)
    np.testing.assert_array_equal(before, kept)
    assert after.dtype == np.uint8
    np.testing.assert_array_equal(after[kept == 255], 255)
    return before, after


def test_growing_takes_what_is_near_and_allowed():
    before, after = edited(Grow("eye", 0.05))
    assert ((after == EYE) >= (before == EYE)).all() and (after == EYE).sum() > 2 * (before == EYE).sum()
    _, over = edited(Grow("skin", 0.1, only_over=("eye",)))
    assert not (over == EYE).any() and (over == GROUND).sum() == (before == GROUND).sum()
    before, down = edited(Grow("lip", 0.1, only_over=("skin",), towards="down"))
    columns = (before == LIP).any(axis=0)
    np.testing.assert_array_equal((down == LIP).any(axis=0), columns)
    np.testing.assert_array_equal((down == LIP).sum(axis=0)[columns], (before == LIP).sum(axis=0)[columns] + 6)


def test_growing_does_not_leap():
    mask = np.full((32, 32), GROUND, np.uint8)
    mask[10, :] = LIP
    mask[11:13] = SKIN
    _, after = edited(Grow("lip", 0.3, only_over=("ground",)), mask=mask)
    assert (after[:10][2:] == LIP).all() and (after[13:] == GROUND).all()


def test_shrinking_leaves_the_nearest_class():
    before, after = edited(Shrink("eye", 0.02))
    assert 0 < (after == EYE).sum() < (before == EYE).sum() and (after[(before == EYE) & (after != EYE)] == SKIN).all()
    _, gone = edited(Shrink("skin", 0.02))
    assert (gone[(face() == SKIN) & (gone != SKIN)] != 255).all()


def test_moving_leaves_the_nearest_class_or_a_trail():
    before, after = edited(Move("eye", 0.0, 0.1, only_over=("skin",)))
    np.testing.assert_array_equal(after == EYE, np.roll(before == EYE, 6, axis=0))
    assert (after[(before == EYE) & (after != EYE)] == SKIN).all()
    before, after = edited(Move("lip", 0.0, 0.1, trail="mouth"))
    assert (after == MOUTH).sum() > (before == LIP).sum() and (after == LIP).sum() == (before == LIP).sum()
    column = after[:, 32].tolist()
    assert column.index(MOUTH) < column.index(LIP) and SKIN not in column[column.index(MOUTH) : column.index(LIP)]


def test_a_lip_that_bends_opens_a_mouth_between_its_corners():
    before, after = edited(Move("lip", 0.0, 0.1, trail="mouth", bend=True))
    left = np.flatnonzero((before == LIP).any(axis=0))[0]
    assert (after[:, left] == MOUTH).sum() == 0 and (after[:, 32] == MOUTH).sum() >= 5


def test_each_part_is_scaled_about_its_own_centre():
    before, after = edited(Scale("eye", 1.0, 2.0, only_over=("skin",)))
    for half in (slice(0, 32), slice(32, 64)):
        centers = [np.argwhere(x[:, half] == EYE).mean(axis=0) for x in (before, after)]
        np.testing.assert_allclose(*centers, atol=0.5)
    assert 1.6 < (after == EYE).sum() / (before == EYE).sum() < 2.4
    _, less = edited(Scale("eye", 0.5, 0.5))
    assert 0 < (less == EYE).sum() < 0.5 * (before == EYE).sum()


def test_swapping_within_a_box():
    before, after = edited(Swap("eye", "skin", box=(0.0, 0.0, 0.5, 1.0)))
    assert not (after[:, :32] == EYE).any() and ((after == EYE)[:, 32:] == (before == EYE)[:, 32:]).all()


def test_painting_only_over():
    before, after = edited(Polygon("lip", ((0.1, 0.1), (0.9, 0.1), (0.5, 0.9)), only_over=("ground",)))
    assert ((after == LIP) & (before != LIP)).any() and (after[before == SKIN] == SKIN).all()


def test_an_edit_is_the_same_at_every_resolution():
    operations = [Grow("eye", 0.04), Move("lip", 0.05, 0.1), Scale("skin", 1.1, 1.1)]
    small, large = (mask_edits.apply(face(r), operations, LABELS) for r in (64, 256))
    assert (small == large[2::4, 2::4]).mean() > 0.97


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (Grow("eyes", 0.1), "operation 1, .*no class 'eyes'; did you mean 'eye'"),
        (Grow("eye", 0.1, only_over=("sin",)), "no class 'sin'; did you mean 'skin'"),
        (Move("eye", 0.1, 0.0, trail="moth"), "no class 'moth'"),
        (Swap("eye", "nose"), "no class 'nose'"),
        (Shrink("mouth", 0.1), "no pixel of 'mouth', so there is nothing to edit"),
        (Grow("eye", 0.001), "changes nothing of this 64 x 64 mask"),
        (Polygon("eye", ((0.1, 0.1), (0.5, 0.5))), "changes nothing"),
    ],
)
def test_what_cannot_be_edited_is_refused(operation, message):
    with pytest.raises(ValueError, match=message):
        mask_edits.apply(face(), [operation], LABELS)


def test_masks_are_squares_of_the_label_map():
    with pytest.raises(ValueError, match=r"shape \(64, 32\), expected a square"):
        mask_edits.apply(face()[:, :32], [Grow("eye", 0.1)], LABELS)
    with pytest.raises(ValueError, match="unknown ids"):
        mask_edits.apply(face() + np.uint8(9), [Grow("eye", 0.1)], LABELS)


def test_the_region_is_the_union_before_and_after():
    operations = [Move("eye", 0.0, 0.1, only_over=("skin",))]
    before, after = edited(*operations)
    labels = mask_edits.labels_of(operations, LABELS)
    assert labels == (EYE,)
    eyes = (before == EYE) | (after == EYE)
    np.testing.assert_array_equal(mask_edits.region(before, after, labels=labels), eyes)
    np.testing.assert_array_equal(mask_edits.region(before, after), eyes | (before == SKIN) | (after == SKIN))
    np.testing.assert_array_equal(mask_edits.region(before, after, least=0.3), eyes)
    wide = mask_edits.region(before, after, labels=labels, dilate=0.05)
    assert (wide >= eyes).all() and wide.sum() > eyes.sum()
    assert mask_edits.labels_of([Move("lip", 0, 0.1, trail="mouth"), Swap("eye", "skin")], LABELS) == (1, 2, 3, 4)
    with pytest.raises(ValueError, match="are equal: there is no edit"):
        mask_edits.region(before, before)
    with pytest.raises(ValueError, match="expected equal ones"):
        mask_edits.region(before, after[:32])
