"""Metrics against slow and literal computations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dnerf_jax.ops import metrics

NAMES = ("background", "skin", "hair", "hat")


@pytest.mark.slow
def test_confusion_counts_pairs_and_leaves_out_ignore():
    rng = np.random.default_rng(0)
    label = rng.choice([0, 1, 2, 255], (2, 8, 8)).astype(np.uint8)
    prediction = rng.integers(0, 4, (2, 8, 8)).astype(np.int32)
    expected = np.zeros((4, 4), int)
    for i, j in zip(label.ravel(), prediction.ravel(), strict=True):
        if i != 255:
            expected[i, j] += 1
    np.testing.assert_array_equal(metrics.confusion(label, prediction, 4), expected)
    jitted = jax.jit(metrics.confusion, static_argnums=2)
    np.testing.assert_array_equal(jitted(label, prediction, 4), expected)


def test_unknown_ids_under_jit_are_not_counted_as_others():
    jitted = jax.jit(metrics.confusion, static_argnums=2)
    counts = jitted(np.array([0, 0, 1, 9]), np.array([0, 7, 3, 0]), 4)
    assert counts[0, 0] == 1 and counts[1, 3] == 1 and counts.sum() == 2


def test_confusion_of_many_classes_does_not_wrap_bytes():
    label = np.array([200], np.uint8)
    assert metrics.confusion(label, label, 201)[200, 200] == 1


def test_confusion_refuses_what_it_cannot_count():
    label = np.array([0, 1, 5])
    with pytest.raises(ValueError, match=r"label has the unknown ids \[5\]"):
        metrics.confusion(label, np.zeros(3, int), 4)
    with pytest.raises(ValueError, match=r"prediction has the unknown ids \[255\]"):
        metrics.confusion(np.zeros(3, int), np.array([0, 1, 255]), 4)
    with pytest.raises(ValueError, match="equal shapes"):
        metrics.confusion(label, np.zeros(2, int), 4)
    with pytest.raises(ValueError, match="float32"):
        metrics.confusion(label, jnp.zeros(3), 4)


def test_scores_by_hand():
    # Two skin pixels become hair, two background pixels become hat, which no label has.
    confusion = np.array([[6, 0, 0, 2], [0, 2, 2, 0], [0, 0, 4, 0], [0, 0, 0, 0]])
    result = metrics.scores(confusion, NAMES)
    assert result["accuracy"] == pytest.approx(12 / 16)
    assert result["classes_seen"] == 4
    assert result["per_class"] == pytest.approx({"background": 6 / 8, "skin": 2 / 4, "hair": 4 / 6, "hat": 0.0})
    assert result["miou"] == pytest.approx((6 / 8 + 2 / 4 + 4 / 6 + 0) / 4)
    assert result["label_pixels"] == {"background": 8, "skin": 4, "hair": 4, "hat": 0}
    assert result["prediction_pixels"] == {"background": 6, "skin": 2, "hair": 6, "hat": 2}


def test_absent_classes_are_none_and_not_in_the_mean():
    result = metrics.scores(jnp.diag(jnp.array([3, 0, 5, 0])), NAMES)
    assert result["miou"] == 1.0 and result["classes_seen"] == 2
    assert result["per_class"] == {"background": 1.0, "skin": None, "hair": 1.0, "hat": None}
    empty = metrics.scores(np.zeros((4, 4)), NAMES)
    assert empty["miou"] is None and empty["accuracy"] is None
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        metrics.scores(np.zeros((3, 3)), NAMES)


def test_psnr_of_a_known_error_per_image():
    a = np.zeros((2, 4, 4, 3), np.float32)
    b = a.copy()
    b[1] += 0.2
    result = metrics.psnr(a, b)
    assert np.isinf(result[0])
    assert result[1] == pytest.approx(20.0, abs=1e-4)
    assert metrics.psnr(a, b, peak=1.0)[1] == pytest.approx(20 - 20 * np.log10(2), abs=1e-4)
    with pytest.raises(ValueError, match="uint8"):
        metrics.psnr(a.astype(np.uint8), b)
    with pytest.raises(ValueError, match="shapes"):
        metrics.psnr(a, b[:, :2])


def test_psnr_within_a_mask_is_that_of_its_pixels():
    rng = np.random.default_rng(3)
    a, b = rng.uniform(-1, 1, (2, 3, 6, 5, 3)).astype(np.float32)
    mask = rng.random((3, 6, 5)) < 0.4
    expected = [10 * np.log10(4 / np.mean((a[i][mask[i]] - b[i][mask[i]]) ** 2)) for i in range(3)]
    np.testing.assert_allclose(metrics.psnr(a, b, mask=mask), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(metrics.psnr)(a, b, mask=np.ones_like(mask)), metrics.psnr(a, b), rtol=1e-5)
    assert np.isnan(metrics.psnr(a, b, mask=np.zeros_like(mask))).all()


def test_ssim_equals_the_definition():
    rng = np.random.default_rng(1)
    a = ndimage.gaussian_filter(rng.uniform(-1, 1, (2, 20, 24, 3)), (0, 2, 2, 0)) * 3
    b = np.clip(a + 0.2 * rng.normal(size=a.shape), -1, 1)

    # The definition in float64, by scipy: statistics in a Gaussian window, where it fits whole.
    def blur(x):
        return ndimage.gaussian_filter(x, (0, 1.5, 1.5, 0), radius=(0, 5, 5, 0))[:, 5:-5, 5:-5]

    x, y = a + 1, b + 1
    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    c1, c2 = 0.02**2, 0.06**2
    expected = ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean((1, 2, 3))
    assert expected.min() > 0.1 and expected.max() < 0.95
    np.testing.assert_allclose(metrics.ssim(a, b), expected, atol=2e-5)


@pytest.mark.slow
def test_ssim_is_one_for_equal_images_and_has_a_gradient():
    image = jnp.asarray(np.random.default_rng(2).uniform(-1, 1, (16, 16, 3)), jnp.float32)
    assert metrics.ssim(image, image) == pytest.approx(1.0, abs=1e-5)
    gradient = jax.grad(lambda x: metrics.ssim(x, image))(0.5 * image)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    with pytest.raises(ValueError, match="smaller than the window"):
        metrics.ssim(image[:8], image[:8])
