"""Renderings made to look like photos: moved as is said, by what is said, and otherwise within the settings."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.training.encoders import disturbances
from dnerf_jax.training.encoders.plan import Disturbances

NOTHING = Disturbances(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
PHOTO = Disturbances(20.0, 0.1, 0.2, 0.5, 1.0, 0.06, 0.12, 0.3, 0.1)


@pytest.fixture(scope="module")
def image():
    """Noise in the middle of white."""
    draws = np.random.default_rng(0)
    inner = draws.uniform(-0.9, 0.9, (16, 16, 3))
    return jnp.asarray(np.pad(inner, ((8, 8), (8, 8), (0, 0)), constant_values=1.0), jnp.float32)


move = jax.jit(functools.partial(disturbances.move, background=1.0), static_argnums=2)


def moved(image, **by):
    values = np.array([by.get(name, 0.0) for name in ("roll", "right", "down", "zoom")], np.float32)
    return np.asarray(move(image, values, by.get("resolution", image.shape[0])))


def test_what_is_not_moved_is_only_reduced(image):
    np.testing.assert_allclose(moved(image), image, atol=1e-5)
    np.testing.assert_allclose(
        moved(image, resolution=16), np.asarray(image).reshape(16, 2, 16, 2, 3).mean((1, 3)), atol=1e-5
    )


def test_moves_are_as_they_are_said(image):
    """By whole pixels and quarter turns, which need no interpolation."""
    np.testing.assert_allclose(moved(image, right=3 / 32), np.roll(image, 3, axis=1), atol=1e-4)
    np.testing.assert_allclose(moved(image, down=3 / 32), np.roll(image, 3, axis=0), atol=1e-4)
    np.testing.assert_allclose(moved(image, roll=np.pi / 2), np.rot90(image, -1), atol=1e-4)  # clockwise
    both = np.roll(np.rot90(image, -1), 3, axis=1)  # turned about the middle first, then shifted
    np.testing.assert_allclose(moved(image, roll=np.pi / 2, right=3 / 32), both, atol=1e-4)
    smaller = moved(image, zoom=-np.log(2.0))
    np.testing.assert_allclose(smaller[8:24, 8:24], moved(image, resolution=16), atol=1e-4)
    assert (smaller[:7] == 1).all()  # what comes into view is background


@jax.jit
def one(settings, key, image):
    """An image disturbed, by settings whose numbers are not compiled in: by one program all of them."""
    return disturbances.disturb(key, types.SimpleNamespace(**settings), image, 16, background=1.0)


def test_without_disturbances_an_image_is_itself(image, key):
    made, by = one(dataclasses.asdict(NOTHING), key, image)
    np.testing.assert_array_equal(by, 0)
    np.testing.assert_allclose(made, moved(image, resolution=16), atol=1e-5)


def test_framings_are_drawn_within_the_settings(key):
    draw = jax.jit(jax.vmap(lambda key: disturbances.framing(key, PHOTO)))
    drawn = np.asarray(draw(jax.random.split(key, 2000)))
    still = (drawn == 0).all(axis=1)
    assert still.mean() == pytest.approx(PHOTO.aligned, abs=0.05)
    limits = np.array([np.radians(PHOTO.roll), PHOTO.shift, PHOTO.shift, PHOTO.zoom])
    largest = np.abs(drawn).max(axis=0)
    assert (largest <= limits * (1 + 1e-6)).all() and (largest > 0.95 * limits).all()
    np.testing.assert_allclose(drawn[~still].mean(axis=0) / limits, 0, atol=0.08)


many = jax.jit(jax.vmap(one, in_axes=(None, 0, None)))


@pytest.fixture(scope="module")
def disturb(image):
    """Images disturbed by 200 keys, and how they were moved: disturb(settings)."""

    def of(settings):
        keys = jax.random.split(jax.random.key(1), 200)
        return jax.tree.map(np.asarray, many(dataclasses.asdict(settings), keys, image))

    return of


def test_photos_stay_in_range_and_their_moves_are_told(image, disturb):
    made, by = disturb(PHOTO)
    assert made.shape == (200, 16, 16, 3) and np.isfinite(made).all() and np.abs(made).max() <= 1
    still = dataclasses.replace(NOTHING, roll=PHOTO.roll, shift=PHOTO.shift, zoom=PHOTO.zoom, aligned=PHOTO.aligned)
    alone, same = disturb(still)
    np.testing.assert_array_equal(by, same)
    for i in (0, 1, 2):
        expected = move(image, by[i], 16)
        np.testing.assert_allclose(alone[i], expected, atol=1e-4)


def changed(disturb, image, **settings):
    """Shares of the 200 images, and of their pixels, that a disturbance changes."""
    made, _ = disturb(dataclasses.replace(NOTHING, **settings))
    differs = np.abs(made - moved(image, resolution=16)).max(axis=-1) > 0.02
    return differs.any(axis=(1, 2)).mean(), differs.mean(axis=0)


def test_a_share_of_the_backgrounds_and_nothing_else_becomes_another(image, disturb):
    share, where = changed(disturb, image, background=0.3)
    assert share == pytest.approx(0.3, abs=0.1)
    assert (where[4:12, 4:12] == 0).all() and (where[:4] > 0.1).all()


def test_a_share_of_the_images_is_covered_in_part(image, disturb):
    share, where = changed(disturb, image, occlusion=0.4)
    assert 0.2 < share < 0.5 and 0 < where.max() < 0.3


def test_noise_blur_and_colour_are_as_strong_as_told(image, disturb):
    inner = (slice(None), slice(5, 11), slice(5, 11))
    plain = moved(image, resolution=16)[None][inner]
    noisy = disturb(dataclasses.replace(NOTHING, noise=0.2))[0][inner] - plain
    assert 0.05 < noisy.std() < 0.2
    blurred = disturb(dataclasses.replace(NOTHING, blur=2.0))[0][inner]
    assert blurred.std() < 0.8 * plain.std()
    recolored = disturb(dataclasses.replace(NOTHING, color=0.1))[0]
    # Each channel by itself, the same everywhere: a line from before to after.
    for one in recolored[:5]:
        for channel in range(3):
            before = moved(image, resolution=16)[..., channel].ravel()
            after = one[..., channel].ravel()
            free = np.abs(after) < 0.999  # not at the limits
            line = np.polyfit(before[free], after[free], 1)
            np.testing.assert_allclose(np.polyval(line, before[free]), after[free], atol=1e-3)
            assert 0.75 < line[0] < 1.3
