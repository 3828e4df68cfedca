"""Where an inversion starts: an encoder's guess, or the best of random candidates, as in EG3D's projectors.

Every candidate is scored by the loss of the same rays, without gradients.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.models import encoders, scenes
from dnerf_jax.models.encoders import TrainedEncoder
from dnerf_jax.models.model import Model
from dnerf_jax.ops import orbiting
from dnerf_jax.ops.orbiting import Orbit
from dnerf_jax.training.encoders import disturbances
from dnerf_jax.training.inversion import objectives
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.objectives import Seen, Target
from dnerf_jax.training.inversion.plan import Settings
from dnerf_jax.training.inversion.subject import Subject

RAYS = 2048  # that a candidate is scored on
NUDGE = 0.03  # by which guessed-at images are zoomed and shifted, in image sizes


def propose(
    settings: Settings, model: Model, target: Target, *, encoder: TrainedEncoder | None, known: Orbit | None
) -> list[Subject]:
    """The candidates, the likeliest first: guesses where there is an encoder, else drawn at random.

    A mask is guessed at as a picture: its classes in the mean colours that they have in a random scene, another for
    each candidate, since a mask says nothing of colours.

    known: orbits (V,) of the target's cameras, where they are known; the numbers that are not free are never guessed.
    """
    views = len(target.weights)
    config = model.generator.config
    made = []
    for i in range(settings.candidates):
        of_z, of_pose = jax.random.split(jax.random.fold_in(jax.random.key(settings.seed), i))
        if encoder is not None:
            image = target.image
            if image is None:
                z = jax.random.normal(of_z, (config.z_dim,), jnp.float32)
                image = _colors(model, z)[jnp.asarray(target.mask).astype(jnp.int32)]
            made.append(_guessed(settings, model, encoder, image, i, known))
            continue
        z = jax.random.normal(of_z, (config.z_dim,), jnp.float32)
        limits = jnp.radians(jnp.array([settings.yaw, settings.pitch], jnp.float32))
        pose = jax.random.uniform(of_pose, (views, 2), jnp.float32, minval=-1.0, maxval=1.0) * limits
        orbit = subjects.default_orbit(model, pose[:, 0], pose[:, 1])
        made.append(Subject(z, None, _with_known(settings, model, orbit, known)))
    return made


def choose(model: Model, seen: Seen, candidates: list[Subject], *, seed: int) -> list[tuple[float, Subject]]:
    """The candidates with their losses, the best first."""
    score = _scorer(RAYS)
    key = jax.random.key(seed)
    scored = [(float(score(model, seen.replace(subject=one), key)), one) for one in candidates]
    return sorted(scored, key=lambda entry: entry[0] if math.isfinite(entry[0]) else math.inf)


@functools.cache
def _scorer(rays: int) -> Any:
    """The loss of a subject as it is, on so many rays; compiled once."""

    def score(model: Model, seen: Seen, key: jax.Array) -> jax.Array:
        return objectives.ray_loss(rays, model, seen, {"camera": {}}, key)

    return jax.jit(score)


@jax.jit
def _colors(model: Model, z: jax.Array) -> jax.Array:
    """Mean colours (256, 3) of the classes in the frontal view of a latent; what it does not show is background."""
    view = scenes.render(model, scenes.synthesize(model, z), scenes.default_camera(model), skip_empty=True)
    shown = jax.nn.one_hot(view.mask, 256, dtype=jnp.float32)
    counts = jnp.sum(shown, axis=(0, 1))[:, None]
    sums = jnp.einsum("hwc,hwk->ck", shown, view.image, precision="highest")
    background = 1.0 if model.generator.config.rendering.white_back else -1.0
    return jnp.where(counts > 0, sums / jnp.maximum(counts, 1), background)


def _guessed(
    settings: Settings, model: Model, encoder: TrainedEncoder, image: jax.Array, number: int, known: Orbit | None
) -> Subject:
    """What the encoder makes of the images (V, R, R, 3); from the second guess on of slightly changed ones."""
    rng = np.random.default_rng([settings.seed, number])
    zoom, right, down = (rng.uniform(-NUDGE, NUDGE, 3) if number else np.zeros(3)).astype(np.float32)
    if number:
        moved, size = jnp.array([0.0, right, down, zoom]), image.shape[-2]
        background = 1.0 if model.generator.config.rendering.white_back else -1.0
        image = _moved(image, moved, size, background)
    guess = encoders.guess(encoder, image)
    back = {name: (getattr(guess, name) - by) / math.exp(zoom) for name, by in (("right", right), ("down", down))}
    guess = guess.replace(zoom=guess.zoom - zoom, **back)
    orbit = _with_known(settings, model, orbit_of(model, guess), known)
    return Subject(jnp.mean(guess.z, axis=0), None, orbit)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _moved(image: jax.Array, moved: jax.Array, size: int, background: float) -> jax.Array:
    return jnp.stack([disturbances.move(x, moved, size, background=background) for x in image])


@jax.jit
def orbit_of(model: Model, guess: encoders.Guess) -> Orbit:
    """The orbits (V,) of guessed poses: what is off the middle is another point that the camera looks at."""
    level = subjects.default_orbit(model, guess.yaw, guess.pitch)
    camera = orbiting.camera(level)
    focal = level.focal * jnp.exp(guess.zoom)
    cos, sin = jnp.cos(guess.roll), jnp.sin(guess.roll)
    # The middle of the picture in the camera that is not rolled: R(-roll) (0 - offset).
    x, y = -(cos * guess.right + sin * guess.down), -(cos * guess.down - sin * guess.right)
    axes, position = camera.cam2world[..., :3, :3], camera.cam2world[..., :3, 3]
    forward = axes[..., 2] + axes[..., 0] * (x / focal)[..., None] + axes[..., 1] * (y / focal)[..., None]
    away = jnp.linalg.norm(level.pivot - position, axis=-1, keepdims=True)
    turned = level.replace(pivot=position + away * forward, focal=focal)
    # Level there is not quite level here: what was to the right is a little above or below.
    right, down = (orbiting.camera(turned).cam2world[..., :3, axis] for axis in (0, 1))
    tilt = jnp.arctan2(jnp.sum(axes[..., 0] * down, axis=-1), jnp.sum(axes[..., 0] * right, axis=-1))
    return turned.replace(roll=tilt - guess.roll)


def _with_known(settings: Settings, model: Model, orbit: Orbit, known: Orbit | None) -> Orbit:
    """The orbit with what is known; without cameras, what is not free is as the generator's own cameras have it."""
    limits = np.radians([settings.yaw, settings.pitch]).astype(np.float32)
    return _limited(tuple(settings.free), model, orbit, limits) if known is None else known


@functools.partial(jax.jit, static_argnums=0)
def _limited(free: tuple[str, ...], model: Model, orbit: Orbit, limits: jax.Array) -> Orbit:
    """The orbit with yaw and pitch within limits (2,) in radians, and what is not free as the model's cameras have."""
    standard = subjects.default_orbit(model, orbit.yaw, orbit.pitch)
    fixed = {name: getattr(standard, name) for name in ("roll", "pivot", "focal") if name not in free}
    yaw, pitch = (jnp.clip(getattr(orbit, n), -m, m) for n, m in zip(("yaw", "pitch"), limits, strict=True))
    return orbit.replace(yaw=yaw, pitch=pitch, **fixed)
