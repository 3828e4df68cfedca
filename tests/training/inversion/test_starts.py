"""Where inversions start: guesses become the cameras that see the picture so, candidates are ranked by their loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax import cli
from dnerf_jax.models import encoders, scenes
from dnerf_jax.models.encoders import Guess
from dnerf_jax.ops import cameras, orbiting
from dnerf_jax.training.encoders import disturbances
from dnerf_jax.training.inversion import objectives, starts
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.objectives import Target
from dnerf_jax.training.inversion.plan import Settings

ONES = jnp.ones((2, 16, 16))
IMAGE = jnp.zeros((2, 16, 16, 3))


@pytest.fixture(scope="module")
def settings():
    return cli.load_settings("invert", Settings)


def guess_of(**numbers):
    """A guess with these numbers (...), the others 0."""
    shape = np.broadcast_shapes(*(np.shape(x) for x in numbers.values()))
    zeros = dict.fromkeys(("yaw", "pitch", "roll", "right", "down", "zoom"), jnp.zeros(shape))
    return Guess(z=jnp.zeros((*shape, 8)), **zeros | {name: jnp.asarray(x, jnp.float32) for name, x in numbers.items()})


def test_a_guessed_orbit_sees_what_the_moved_picture_shows(tiny_model, generator):
    """Points of the subject fall where turning, zooming and shifting the framed picture puts them."""
    draws = generator.uniform(-1, 1, (6, 200)) * np.array([0.75, 0.35, 0.35, 0.1, 0.1, 0.2])[:, None]
    yaw, pitch, roll, right, down, zoom = draws.astype(np.float32)
    guess = guess_of(yaw=yaw, pitch=pitch, roll=roll, right=right, down=down, zoom=zoom)
    points = generator.uniform(-0.3, 0.3, (50, 3)).astype(np.float32)
    framed, _ = cameras.project(scenes.default_camera(tiny_model, yaw, pitch), points)
    seen, _ = cameras.project(orbiting.camera(starts.orbit_of(tiny_model, guess)), points)
    x, y = np.moveaxis(np.asarray(framed) - 0.5, -1, 0)
    cos, sin, scale = (f[:, None] for f in (np.cos(roll), np.sin(roll), np.exp(zoom)))
    expected = np.stack([scale * (cos * x - sin * y) + right[:, None], scale * (sin * x + cos * y) + down[:, None]], -1)
    inside = (np.abs(expected) < 0.5).all(-1)
    assert inside.mean() > 0.8
    assert np.abs(np.asarray(seen) - 0.5 - expected)[inside].max() < 0.005


def test_a_moved_picture_shows_its_points_there_too():
    """The same formula holds for what `disturbances.move` makes of a picture: here of one bright dot."""
    dot = jnp.full((64, 64, 3), -1.0).at[20, 40].set(1.0)
    roll, right, down, zoom = moved = np.array([0.3, 0.05, -0.08, 0.15], np.float32)
    image = np.asarray(disturbances.move(dot, jnp.asarray(moved), 64, background=-1.0))[..., 0] + 1
    weights = image / image.sum()
    grid = (np.arange(64) + 0.5) / 64 - 0.5
    place = [np.sum(weights * grid[None, :]), np.sum(weights * grid[:, None])]
    x, y = 40.5 / 64 - 0.5, 20.5 / 64 - 0.5
    cos, sin, scale = np.cos(roll), np.sin(roll), np.exp(zoom)
    expected = [scale * (cos * x - sin * y) + right, scale * (sin * x + cos * y) + down]
    np.testing.assert_allclose(place, expected, atol=0.005)


def test_a_framed_guess_is_the_generators_own_orbit(tiny_model):
    orbit = starts.orbit_of(tiny_model, guess_of(yaw=[0.2, -0.5], pitch=[0.1, 0.3]))
    expected = subjects.default_orbit(tiny_model, jnp.array([0.2, -0.5]), jnp.array([0.1, 0.3]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), orbit, expected)


def test_candidates_without_an_encoder_are_drawn_within_the_limits(settings, tiny_model):
    made = starts.propose(settings, tiny_model, Target(IMAGE, None, ONES), encoder=None, known=None)
    assert len(made) == settings.candidates and len({float(one.z[0]) for one in made}) == settings.candidates
    for one in made:
        assert one.orbit.yaw.shape == (2,)
        assert np.degrees(np.abs(one.orbit.yaw)).max() <= settings.yaw
        assert np.degrees(np.abs(one.orbit.pitch)).max() <= settings.pitch
    again = starts.propose(settings, tiny_model, Target(IMAGE, None, ONES), encoder=None, known=None)
    jax.tree.map(np.testing.assert_array_equal, again, made)


def bright(image):
    """Stands for an encoder: sees where the bright part of an image is, and how large."""
    weights = (np.asarray(image)[..., 0] + 1) / np.sum(np.asarray(image)[..., 0] + 1, axis=(1, 2), keepdims=True)
    grid = (np.arange(image.shape[1]) + 0.5) / image.shape[1] - 0.5
    right, down = np.sum(weights * grid, axis=(1, 2)), np.sum(weights * grid[:, None], axis=(1, 2))
    spread = np.sqrt(np.sum(weights * (grid - right[:, None, None]) ** 2, axis=(1, 2)))
    return guess_of(right=right, down=down, zoom=np.log(spread / 0.1), roll=np.full(len(image), 0.1), yaw=[0.1, 2.0])


@pytest.fixture
def eyes(monkeypatch):
    """An encoder that is `bright`, and images for it."""
    monkeypatch.setattr(encoders, "guess", lambda encoder, image: bright(image))
    grid = (np.arange(64) + 0.5) / 64 - 0.5
    blob = 2 * np.exp(-((grid - 0.06) ** 2 + (grid[:, None] + 0.04) ** 2) / 2 / 0.1**2) - 1
    return Target(
        jnp.asarray(np.broadcast_to(blob[..., None], (2, 64, 64, 3)), jnp.float32), None, jnp.ones((2, 64, 64))
    )


def test_guesses_at_changed_images_are_guesses_at_the_image(settings, tiny_model, eyes):
    """An encoder that sees exactly says the same of each, since what was changed is undone."""
    free = dataclasses.replace(settings, free=("yaw", "pitch", "roll", "radius", "pivot", "focal"))
    made = starts.propose(free, tiny_model, eyes, encoder="one", known=None)
    assert len(made) == settings.candidates
    for one in made:
        assert one.z.shape == (8,)
        np.testing.assert_allclose(one.orbit.pivot, made[0].orbit.pivot, atol=2e-3)
        np.testing.assert_allclose(one.orbit.focal, made[0].orbit.focal, rtol=5e-3)
    limit = np.radians(settings.yaw)
    np.testing.assert_allclose(made[0].orbit.yaw, [0.1, limit], rtol=1e-5)  # poses stay within the limits
    assert np.abs(made[0].orbit.pivot - np.array(tiny_model.generator.config.rendering.avg_camera_pivot)).max() > 0.01


def test_what_is_not_free_is_never_guessed(settings, tiny_model, eyes):
    (first, *_) = starts.propose(settings, tiny_model, eyes, encoder="one", known=None)
    standard = subjects.default_orbit(tiny_model, first.orbit.yaw, first.orbit.pitch)
    jax.tree.map(np.testing.assert_array_equal, first.orbit, standard)
    known = subjects.default_orbit(tiny_model, jnp.array([0.7, 0.8]), jnp.array([0.0, 0.1])).replace(
        roll=jnp.array([0.1, 0.2])
    )
    for encoder in (None, "one"):
        for one in starts.propose(settings, tiny_model, eyes, encoder=encoder, known=known):
            jax.tree.map(np.testing.assert_array_equal, one.orbit, known)


def test_the_best_candidate_comes_first_and_broken_ones_last(settings, tiny_model, monkeypatch):
    """Every one is scored by the same rays, as it is."""
    monkeypatch.setattr(objectives, "ray_loss", lambda rays, model, seen, params, key: jnp.log(seen.subject.z[0]))
    starts._scorer.cache_clear()
    target = Target(IMAGE, None, ONES)
    made = starts.propose(settings, tiny_model, target, encoder=None, known=None)[:4]
    made = [one.replace(z=one.z.at[0].set(x)) for one, x in zip(made, (3.0, -1.0, 0.5, 2.0), strict=True)]
    seen = objectives.prepare(tiny_model.generator.config, target, made[0], 0)
    ranked = starts.choose(tiny_model, seen, made, seed=0)
    starts._scorer.cache_clear()
    assert [float(one.z[0]) for _, one in ranked] == [0.5, 2.0, 3.0, -1.0]
    np.testing.assert_allclose([loss for loss, _ in ranked[:3]], np.log([0.5, 2.0, 3.0]), rtol=1e-5)
