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
from dnerf_jax.models.model import Model, fingerprint
from dnerf_jax.ops import images, losses
from dnerf_jax.ops.ranges import Angle, Count, HalfTurn, NotNegative, Positive, Seed
from dnerf_jax.ops.resizing import resize
from dnerf_jax.training import logs, runs
from dnerf_jax.viz import pictures

SAVE_EVERY = 25  # steps


@dataclasses.dataclass(frozen=True)
class Settings:
    """An inversion.

    Attributes:
      seed: of the candidates.
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
    """Where the search is, what the optimiser remembers, the best so far with its loss, and all losses (steps,)."""

    current: Candidate
    optimizer: optax.OptState
    best: Candidate
    best_loss: jax.Array
    step: jax.Array
    losses: jax.Array


@dataclasses.dataclass(frozen=True)
class Inversion:
    """What was found: the best candidate and its loss, and the loss of every step."""

    found: Candidate
    loss: float
    losses: list[float]


def read_target(model: Model, image: str, mask: str) -> Target:
    """The target in the files `image` and `mask`, at the model's resolution; "" for none.

    Raises ValueError: there is no target, it cannot be read, is no square, or the mask is not of the model's classes.
    """
    config = model.generator.config
    size = config.image_resolution
    if not image and not mask:
        raise ValueError("Nothing to invert: pass --image, --mask, or both.")
    target = Target()
    if image:
        picture = Image.fromarray(png.read_picture(image, white=config.rendering.white_back))
        if abs(picture.width - picture.height) > 0.02 * picture.height:
            raise ValueError(f"{image} is {picture.width} x {picture.height}: crop it to a square first.")
        target = target.replace(image=images.from_uint8(picture.resize((size, size), Image.Resampling.LANCZOS)))
    if mask:
        if model.semantic is None or model.label_map is None:
            raise ValueError("A mask needs a checkpoint with a semantic branch: train one with dnerf_jax.train first.")
        ids = png.load_mask(mask, model.label_map)
        if ids.shape[0] != ids.shape[1]:
            raise ValueError(f"{mask} is {ids.shape[1]} x {ids.shape[0]}: crop it to a square first.")
        model.label_map.require_classes(ids, mask)
        index = (np.arange(size) + 0.5) * len(ids) // size
        target = target.replace(mask=ids[np.ix_(index.astype(int), index.astype(int))])
    return target


def run(settings: Settings, model: Model, target: Target, workdir: Path) -> None:
    """Inverts a target and writes what is found; see `write`. An inversion that is there is continued.

    Raises ValueError: workdir holds the inversion of another target, of another model, or with other settings.
    """
    inputs = {"generator": model.fingerprint, "target": fingerprint({"image": target.image, "mask": target.mask})}
    if target.mask is not None and model.semantic is not None:
        inputs["semantic branch"] = fingerprint(model.semantic.params)
    runs.remember(workdir, settings, inputs=inputs)
    with runs.Checkpoints(workdir / runs.CHECKPOINTS, every=SAVE_EVERY) as saved:
        write(workdir, model, target, invert(settings, model, target, saved=saved))


def invert(settings: Settings, model: Model, target: Target, *, saved: runs.Checkpoints | None = None) -> Inversion:
    """The best latent and pose that `settings.steps` steps find.

    saved: where the search is saved as it goes, and continued from.
    """
    if target.image is not None:
        small = resize(jnp.asarray(target.image), settings.rendering_resolution, antialias=True)
        target = target.replace(image=small)
    candidates = [random_candidate(settings, model.generator.config, i) for i in range(settings.candidates)]
    found = saved.restore_latest(create_state(settings, candidates[0])) if saved else None
    if found is None:
        best = min(candidates, key=lambda candidate: float(_loss(settings.of_step, model, target, candidate)))
        found = 0, create_state(settings, best)
    done, state = found
    progress = logs.Progress(settings.steps, start=done)
    for i in range(done + 1, settings.steps + 1):
        state, loss = step(settings.of_step, model, target, state)
        logs.require_finite({"loss": loss}, i)
        progress.update(i, {"loss": loss})
        if saved:
            saved.save(i, state, force=i == settings.steps)
    return Inversion(state.best, float(state.best_loss), np.asarray(state.losses).tolist())


def random_candidate(settings: Settings, config: GeneratorConfig, index: int) -> Candidate:
    """Number `index` of the candidates: z ~ N(0, I) and a pose within the limits."""
    z_key, pose_key = jax.random.split(jax.random.fold_in(jax.random.key(settings.seed), index))
    limits = np.radians([settings.yaw, settings.pitch]).astype(np.float32)
    pose = jax.random.uniform(pose_key, (2,), jnp.float32, minval=-1.0, maxval=1.0) * limits
    return Candidate(jax.random.normal(z_key, (config.z_dim,), jnp.float32), pose[0], pose[1])


def create_state(settings: Settings, start: Candidate) -> State:
    """The state before the first step; `start` stays the caller's, for steps are given their state."""
    current, best = (jax.tree.map(lambda x: jnp.array(x, copy=True), start) for _ in range(2))
    return runs.placed(
        State(
            current=current,
            optimizer=optimizer(settings).init(current),
            best=best,
            best_loss=jnp.full((), jnp.inf, jnp.float32),
            step=jnp.zeros((), jnp.int32),
            losses=jnp.zeros(settings.steps, jnp.float32),
        )
    )


def reconstruction_loss(settings: Settings, model: Model, target: Target, candidate: Candidate) -> jax.Array:
    """How far the rendering of a candidate is from the target, whose image has the neural rendering's size."""
    loss = jnp.zeros((), jnp.float32)
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
    lowest, history = jnp.minimum(loss, state.best_loss), state.losses.at[state.step].set(loss)
    return State(current, memory, best, lowest, state.step + 1, history), loss


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
    row = [] if target.image is None else [images.to_uint8(target.image, span=(-1, 1))]
    row += [] if target.mask is None else [model.label_map.colorize(target.mask)]
    row += [images.to_uint8(view.image, span=(-1, 1))]
    row += [] if view.mask is None else [model.label_map.colorize(np.asarray(view.mask))]
    degrees = {name: float(np.degrees(getattr(found, name))) for name in ("yaw", "pitch")}
    png.save_image(out / "comparison.png", pictures.sheet([row]))
    with files.atomic_file(out / "latent.npy") as file:
        np.save(file, np.asarray(found.z))
    report = {"loss": inversion.loss, "losses": inversion.losses, "fingerprint": model.fingerprint}
    files.write_json(out / "result.json", degrees | report, indent=2)
    print(f"loss {inversion.loss:.4f}  yaw {degrees['yaw']:.1f}  pitch {degrees['pitch']:.1f} degrees; see {out}")
