"""The inversion of a photo or a mask: the latent and the pose whose rendering it is (paper, section 5.4).

Adam optimises the latent z, the yaw and the pitch together, from the best of some random candidates. A photo is
compared by mean squared error, a mask by cross-entropy; with both, the losses are added. This is the simple form: a
short loop over the pure functions.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from PIL import Image

from dnerf_jax.io import files, png
from dnerf_jax.models import scenes
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.model import Model
from dnerf_jax.ops import images, losses
from dnerf_jax.ops.ranges import Angle, Count, HalfTurn, NotNegative, Positive, Seed
from dnerf_jax.ops.resizing import resize
from dnerf_jax.training import logs, runs
from dnerf_jax.viz import pictures


@dataclasses.dataclass(frozen=True)
class Settings:
    """An inversion.

    Attributes:
      steps: of Adam.
      candidates: random latents and poses to start from; the best one is taken.
      rendering_resolution: of the neural rendering while optimising; the result is rendered at the model's own.
      learning_rate, pose_learning_rate: of z, and of yaw and pitch in radians.
      yaw, pitch: poses are looked for within these degrees of frontal.
    """

    seed: Seed
    steps: Count
    candidates: Count
    rendering_resolution: Count
    learning_rate: Positive
    pose_learning_rate: NotNegative
    yaw: HalfTurn
    pitch: Angle

    @property
    def of_step(self) -> Self:
        """These settings without what a step does not depend on, so that inversions that differ in that share it."""
        return dataclasses.replace(self, seed=0, candidates=0)


@struct.dataclass
class Target:
    """What is inverted: an image (R, R, 3) in [-1, 1], a mask (R, R) of ids, or both."""

    image: jax.Array | None = None
    mask: jax.Array | None = None


@struct.dataclass
class Candidate:
    """A latent z (z_dim,) and a pose on the generator's orbit, yaw and pitch in radians."""

    z: jax.Array
    yaw: jax.Array
    pitch: jax.Array


@struct.dataclass
class State:
    """Where the search is, what the optimiser remembers, and the best so far with its loss."""

    current: Candidate
    optimizer: optax.OptState
    best: Candidate
    best_loss: jax.Array


@dataclasses.dataclass(frozen=True)
class Inversion:
    """What was found: the best candidate and its loss, and the loss of every step."""

    found: Candidate
    loss: float
    losses: list[float]


def read_target(model: Model, image: str, mask: str) -> Target:
    """The target in the files `image` and `mask`, at the model's resolution; "" for none.

    Raises ValueError: there is no target, it is no square, or the mask is not of the model's classes.
    """
    size = model.generator.config.image_resolution
    if not image and not mask:
        raise ValueError("Nothing to invert: pass --image, --mask, or both.")
    target = Target()
    if image:
        with Image.open(image) as file:
            if abs(file.width - file.height) > 0.02 * file.height:
                raise ValueError(f"{image} is {file.width} x {file.height}: crop it to a square first.")
            rgb = file.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
        target = target.replace(image=images.from_uint8(rgb))
    if mask:
        if model.semantic is None or model.label_map is None:
            raise ValueError("A mask needs a checkpoint with a semantic branch: train one with dnerf_jax.train first.")
        ids = png.load_mask(mask, model.label_map)
        if ids.shape[0] != ids.shape[1]:
            raise ValueError(f"{mask} is {ids.shape[1]} x {ids.shape[0]}: crop it to a square first.")
        index = (np.arange(size) + 0.5) * len(ids) // size
        target = target.replace(mask=ids[np.ix_(index.astype(int), index.astype(int))])
    return target


def invert(settings: Settings, model: Model, target: Target) -> Inversion:
    """The best latent and pose that `settings.steps` steps find."""
    if target.image is not None:
        small = resize(jnp.asarray(target.image), settings.rendering_resolution, antialias=True)
        target = target.replace(image=small)
    candidates = [random_candidate(settings, model.generator.config, i) for i in range(settings.candidates)]
    start = min(candidates, key=lambda candidate: float(_loss(settings.of_step, model, target, candidate)))
    state = create_state(settings, start)
    history, progress = [], logs.Progress(settings.steps)
    for i in range(1, settings.steps + 1):
        state, loss = step(settings.of_step, model, target, state)
        logs.require_finite({"loss": loss}, i)
        history.append(float(loss))
        progress.update(i, {"loss": loss})
    return Inversion(state.best, float(state.best_loss), history)


def random_candidate(settings: Settings, config: GeneratorConfig, index: int) -> Candidate:
    """Number `index` of the candidates: z ~ N(0, I) and a pose within the limits."""
    z_key, pose_key = jax.random.split(jax.random.fold_in(jax.random.key(settings.seed), index))
    limits = jnp.radians(jnp.array([settings.yaw, settings.pitch]))
    pose = jax.random.uniform(pose_key, (2,), minval=-1.0, maxval=1.0) * limits
    return Candidate(jax.random.normal(z_key, (config.z_dim,)), pose[0], pose[1])


def create_state(settings: Settings, start: Candidate) -> State:
    """The state before the first step; `start` stays the caller's, for steps are given their state."""
    current, best = (jax.tree.map(lambda x: jnp.array(x, copy=True), start) for _ in range(2))
    return runs.placed(State(current, optimizer(settings).init(current), best, jnp.full((), jnp.inf, jnp.float32)))


def reconstruction_loss(settings: Settings, model: Model, target: Target, candidate: Candidate) -> jax.Array:
    """How far the rendering of a candidate is from the target, whose image has the neural rendering's size."""
    loss = jnp.zeros(())
    camera = scenes.default_camera(model.generator.config, candidate.yaw, candidate.pitch)
    scene = scenes.synthesize(model, candidate.z)
    view = scenes.render(model, scene, camera, resolution=settings.rendering_resolution)
    if target.image is not None:
        loss += losses.mean_squared_error(view.image_raw, target.image)
    if target.mask is not None:
        loss += losses.cross_entropy(view.logits, target.mask)
    return loss


_loss = jax.jit(reconstruction_loss, static_argnums=0)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def step(settings: Settings, model: Model, target: Target, state: State) -> tuple[State, jax.Array]:
    """One step of Adam; returns the state and the loss before the step. Compiled for `Settings.of_step`."""
    loss, grads = jax.value_and_grad(reconstruction_loss, argnums=3)(settings, model, target, state.current)
    better = loss < state.best_loss
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), state.current, state.best)
    updates, memory = optimizer(settings).update(grads, state.optimizer)
    current = optax.apply_updates(state.current, updates)
    yaw, pitch = np.radians(settings.yaw), np.radians(settings.pitch)
    current = current.replace(yaw=jnp.clip(current.yaw, -yaw, yaw), pitch=jnp.clip(current.pitch, -pitch, pitch))
    return State(current, memory, best, jnp.minimum(loss, state.best_loss)), loss


def optimizer(settings: Settings) -> optax.GradientTransformation:
    """Adam on latent and pose, each with its own cosine."""
    decay = functools.partial(optax.cosine_decay_schedule, decay_steps=settings.steps, alpha=0.1)
    latent, pose = optax.adam(decay(settings.learning_rate)), optax.adam(decay(settings.pose_learning_rate))
    return optax.multi_transform({"latent": latent, "pose": pose}, Candidate("latent", "pose", "pose"))


def write(out: Path, model: Model, target: Target, inversion: Inversion) -> None:
    """Writes result.json, latent.npy and comparison.png: input and reconstruction side by side."""
    found = inversion.found
    camera = scenes.default_camera(model.generator.config, found.yaw, found.pitch)
    view = jax.jit(scenes.render)(model, jax.jit(scenes.synthesize)(model, found.z), camera)
    row = [] if target.image is None else [images.to_uint8(target.image)]
    row += [] if target.mask is None else [model.label_map.colorize(target.mask)]
    row += [images.to_uint8(view.image)]
    row += [] if view.mask is None else [model.label_map.colorize(np.asarray(view.mask))]
    degrees = {name: float(np.degrees(getattr(found, name))) for name in ("yaw", "pitch")}
    png.save_image(out / "comparison.png", pictures.sheet([row]))
    with files.atomic_file(out / "latent.npy") as file:
        np.save(file, np.asarray(found.z))
    report = {"loss": inversion.loss, "losses": inversion.losses, "fingerprint": model.fingerprint}
    files.write_json(out / "result.json", degrees | report, indent=2)
    print(f"loss {inversion.loss:.4f}  yaw {degrees['yaw']:.1f}  pitch {degrees['pitch']:.1f} degrees; see {out}")
