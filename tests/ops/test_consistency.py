"""Agreement of neighbouring frames under warping by exact distance, on a ball, and line textures."""

import jax
import numpy as np
import pytest
from ball import ball

from dnerf_jax.ops import consistency


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


def test_a_line_texture_is_one_row_of_every_frame():
    frames = np.random.default_rng(0).integers(0, 255, (5, 8, 9, 3), np.uint8)
    texture = consistency.line_texture(frames, 3)
    assert texture.shape == (5, 9, 3)
    for t in range(5):
        np.testing.assert_array_equal(texture[t], frames[t, 3])
