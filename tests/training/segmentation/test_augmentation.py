"""Augmentation: what is not drawn changes nothing, image and mask move alike, sides change places in a mirror."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.training.segmentation import augmentation
from dnerf_jax.training.segmentation.plan import Augmentation

NOTHING = Augmentation(0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
LABELS = LabelMap(("background", "left_eye", "right_eye", "nose"), ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)))


@pytest.fixture(scope="module")
def view():
    """Noise, and a mask of all classes and of pixels to ignore."""
    draws = np.random.default_rng(0)
    mask = draws.choice(np.array([0, 1, 2, 3, 255], np.uint8), (16, 16))
    return jnp.asarray(draws.uniform(-0.9, 0.9, (16, 16, 3)), jnp.float32), jnp.asarray(mask)


@pytest.fixture(scope="module")
def augmented(view):
    """The view as 100 keys change it: augmented(settings)."""

    def of(settings):
        def one(key):
            return augmentation.augment(key, settings, *view, mirrored=jnp.asarray(LABELS.mirrored))

        return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), 100)))

    return of


def test_sides_change_places_in_a_mirror_and_all_else_stays(view, augmented):
    image, mask = augmented(dataclasses.replace(NOTHING, flip=0.5))
    flipped = np.abs(image[:, :, ::-1] - view[0]).max((1, 2, 3)) < 1e-5
    assert 0.3 < flipped.mean() < 0.7
    np.testing.assert_allclose(image[~flipped], np.broadcast_to(view[0], image[~flipped].shape), atol=1e-5)
    np.testing.assert_array_equal(mask[~flipped], np.broadcast_to(view[1], mask[~flipped].shape))
    there, here = mask[flipped][0][:, ::-1], np.asarray(view[1])
    for before, after in ((0, 0), (1, 2), (2, 1), (3, 3), (255, 255)):
        assert (there[here == before] == after).all()


def test_shifts_and_scales_are_as_they_are_said(view):
    image, mask = view
    moved, labels = augmentation.move(image, mask, jnp.float32(1.0), jnp.float32(2 / 16), jnp.float32(0.0))
    np.testing.assert_allclose(moved[:, 2:], image[:, :-2], atol=1e-5)
    np.testing.assert_array_equal(labels[:, 2:], mask[:, :-2])
    assert (moved[:, :2] == 0).all() and (labels[:, :2] == 255).all()  # what comes into view
    smaller, labels = augmentation.move(image, mask, jnp.float32(0.5), jnp.float32(0.0), jnp.float32(0.0))
    assert (labels[:4] == 255).all() and (labels[:, 12:] == 255).all() and (smaller[:4] == 0).all()
    assert set(np.unique(labels[4:12, 4:12])) == {0, 1, 2, 3, 255}
    # The triangle's weights at the middle of two pixels of four: 1, 3, 3, 1 eighths along each axis.
    taps = np.array([1, 3, 3, 1]) / 8
    expected = np.einsum("y,x,yxc->c", taps, taps, np.asarray(image)[5:9, 7:11])
    np.testing.assert_allclose(smaller[7, 8], expected, atol=1e-5)


def test_image_and_mask_move_alike(augmented, view):
    """An image that is painted by its mask is so after any move, but between pixels."""
    settings = dataclasses.replace(NOTHING, flip=0.5, smallest=0.7, largest=1.5, shift=1.0)
    mask = jnp.asarray(np.kron(np.arange(4).reshape(2, 2), np.ones((16, 16))), jnp.uint8)
    values = jnp.array([-0.9, -0.3, 0.3, 0.9])
    image = jnp.repeat(values[mask][..., None], 3, axis=-1)
    same = jnp.arange(256, dtype=jnp.uint8)
    one = jax.jit(jax.vmap(lambda key: augmentation.augment(key, settings, image, mask, mirrored=same)))
    images, masks = jax.tree.map(np.asarray, one(jax.random.split(jax.random.key(0), 50)))
    painted = np.asarray(values)[np.minimum(masks, 3)]
    known = masks != 255
    wrong = np.abs(images[..., 0] - painted) > 0.25
    assert (wrong & known).sum() < 0.06 * known.sum() and 0.5 < known.mean() < 1
    # Each is scaled by itself, by up to as much as is said.
    assert len({int(count) for count in known.sum((1, 2))}) > 10


def test_colours_change_alone_and_stay_in_range(view, augmented):
    image, mask = augmented(dataclasses.replace(NOTHING, brightness=0.4, contrast=0.4, saturation=0.4))
    np.testing.assert_array_equal(mask, np.broadcast_to(view[1], mask.shape))
    assert np.abs(image).max() <= 1 and np.abs(image - view[0]).max() > 0.2
    grey = augmentation.recolor(jax.random.key(0), dataclasses.replace(NOTHING, saturation=0.5), view[0] * 0 + 0.5)
    np.testing.assert_allclose(grey, 0.5, atol=1e-5)  # what has no colour keeps none


def test_scales_that_are_out_of_order_are_refused():
    with pytest.raises(ValueError, match=r"smallest is 1.5 and largest 1.0: expected the smaller first"):
        dataclasses.replace(NOTHING, smallest=1.5)
