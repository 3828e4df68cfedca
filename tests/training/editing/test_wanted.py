"""What an edit wants: the region, what stays outside of it, and where rays are chosen."""

import numpy as np
import pytest

from dnerf_jax.training.editing import wanted


def test_the_first_view_is_the_one_asked_for(tiny_before):
    yaw = np.degrees(np.asarray(tiny_before.subject.orbit.yaw))
    assert yaw == pytest.approx([0, -25], abs=1e-4)
    assert tiny_before.image.shape == (2, 16, 16, 3) and tiny_before.raw.shape == (2, 8, 8, 3)


def test_inside_the_region_labels_are_the_masks_and_elsewhere_the_branchs_own(tiny_wanted, tiny_before, painted):
    changed = painted != tiny_before.mask[0]
    labels, outside = np.asarray(tiny_wanted.labels), np.asarray(tiny_wanted.outside[0])
    assert not outside[changed].any() and set(np.unique(outside)) <= {0.0, 1.0}
    assert (labels[changed].argmax(axis=-1) == painted[changed]).all()
    assert (np.count_nonzero(labels[changed], axis=-1) == 1).all()
    weights = labels.sum(axis=-1)
    assert weights.mean() == pytest.approx(1, rel=1e-4)
    if outside.any():
        assert weights[outside == 1].sum() == pytest.approx(weights[outside == 0].sum(), rel=1e-3)
        shares = labels[outside == 1] / weights[outside == 1][:, None]
        assert np.allclose(shares.argmax(axis=-1), tiny_before.mask[0][outside == 1])


def test_half_of_the_rays_go_through_the_region(tiny_wanted):
    chance = np.asarray(tiny_wanted.chance)
    assert chance.sum() == pytest.approx(1, rel=1e-5) and (chance > 0).all()
    inside = 1 - np.asarray(tiny_wanted.raw_outside)
    inside[64:] = 0
    assert (chance * (inside > 0)).sum() >= wanted.INSIDE


@pytest.mark.parametrize(
    ("before", "after", "least", "expected"),
    [
        ([0, 0, 1, 1], [0, 1, 1, 1], 0.4, (0,)),  # half of 0, a third of 1
        ([0, 0, 1, 1], [0, 1, 1, 1], 0.1, (0, 1)),
        ([0, 0, 1, 1], [0, 1, 1, 1], 0.9, (0,)),  # none changed that much: what changed most
    ],
)
def test_edited_classes_are_those_that_changed_much(before, after, least, expected):
    assert wanted.edited_labels(np.array([before]), np.array([after]), least=least) == expected


def test_what_does_not_fit_is_refused(edit_settings, tiny_semantic_model, tiny_model, tiny_before, painted):
    def prepare(mask, **more):
        return wanted.prepare(edit_settings, tiny_semantic_model, tiny_before, mask, **more)

    with pytest.raises(ValueError, match="8 x 8 pixels, expected the view's own 16 x 16"):
        prepare(painted[::2, ::2])
    with pytest.raises(ValueError, match="there is no edit"):
        prepare(tiny_before.mask[0])
    with pytest.raises(ValueError, match="label map"):
        prepare(np.where(painted == painted[0, 0], 77, painted))
    absent = sorted({0, 1, 2, 3, 4} - set(np.unique(tiny_before.mask[0])) - set(np.unique(painted)))
    if absent:
        with pytest.raises(ValueError, match="cannot be edited in this view"):
            prepare(painted, labels=absent)
    with pytest.raises(ValueError, match="has none: train one"):
        wanted.look(edit_settings, tiny_model, tiny_before.subject, tiny_before.subject.orbit[0])


def test_pixels_to_be_ignored_have_no_weight(edit_settings, tiny_semantic_model, tiny_before, painted):
    mask = painted.copy()
    mask[:3] = 255
    made = wanted.prepare(edit_settings, tiny_semantic_model, tiny_before, mask)
    assert not np.asarray(made.labels)[:3].any()
