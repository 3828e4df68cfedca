"""Training an encoder: renderings in, the latent and the pose that they were made with out.

The latent is compared as the generator reads it: z at unit mean square (where the mapping normalises it, as EG3D's
does, its length means nothing), and w in standard deviations. Poses are compared in the units of `encoders.UNITS`.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import parameter_overview
from flax import struct

from dnerf_jax.io import checkpoints
from dnerf_jax.io import encoders as encoder_files
from dnerf_jax.models import encoders, scenes
from dnerf_jax.models.encoders import TrainedEncoder
from dnerf_jax.models.generator import Generator
from dnerf_jax.ops.resizing import resize
from dnerf_jax.training import logs, runs
from dnerf_jax.training.encoders import disturbances, renders
from dnerf_jax.training.encoders.plan import Settings

FOLDER = "encoder"
SCORED = 512  # held-out views that are scored together


@struct.dataclass
class State:
    """What a run needs to go on."""

    params: Any
    optimizer: optax.OptState
    step: jax.Array


@struct.dataclass
class Batch:
    """Images (B, r, r, 3) uint8, latents z (B, z_dim), and yaw and pitch (B, 2)."""

    image: Any
    z: Any
    pose: Any


def learn(settings: Settings, checkpoint: str, workdir: Path) -> TrainedEncoder:
    """Renders views where they are missing, trains an encoder on them, and writes it to workdir/encoder.

    A run that is there is continued.

    Raises ValueError: settings do not fit the checkpoint, or workdir holds another run.
    """
    model = checkpoints.load(checkpoint)
    settings = _fitted(settings, model.generator)
    inputs = {"checkpoint": model.fingerprint}
    runs.remember(workdir, settings, inputs=inputs, may_change=("save_every", "score_every"))
    data = renders.render(checkpoint, model.fingerprint, settings.seed, settings.data, workdir / "views")
    made, spread = model.generator, _spread(model.generator)
    state = create_state(settings)
    print(f"{parameter_overview.count_parameters(state.params):,.0f} parameters to train", flush=True)
    with runs.Checkpoints(workdir / runs.CHECKPOINTS, every=settings.save_every) as saved:
        start, state = saved.restore_latest(state) or (0, state)
        log, progress = logs.MetricLog(workdir, step=start), logs.Progress(settings.steps, start=start, every=20)
        for step in range(start + 1, settings.steps + 1):
            key = jax.random.fold_in(jax.random.key(settings.seed), step)
            state, report = train_step(settings.of_step, made, spread, state, draw(settings, data, step), key)
            last = step == settings.steps
            if step % 50 == 0 or last or step % settings.save_every == 0:
                logs.require_finite(report, step)
                if step % settings.score_every == 0 or last:
                    report |= score(settings, made, spread, state.params, data)
                log.write(step, report)
            progress.update(step, report)
            saved.save(step, state, force=last)
        log.close()
    encoder = TrainedEncoder(settings.network, state.params, model.fingerprint)
    encoder_files.save(workdir / FOLDER, encoder, dtype="float16", replace=True)
    print(f"wrote {workdir / FOLDER}")
    return encoder


def _fitted(settings: Settings, made: Generator) -> Settings:
    """The settings with the generator's z_dim. Raises ValueError: sizes do not fit."""
    config = made.config
    resolution = settings.network.resolution
    if config.neural_rendering_resolution % resolution:
        raise ValueError(
            f"config.network.resolution is {resolution}, expected a divisor of the generator's neural rendering "
            f"resolution of {config.neural_rendering_resolution}"
        )
    if not 0 < settings.data.held_out < settings.data.identities:
        raise ValueError(
            f"config.data.held_out is {settings.data.held_out} of {settings.data.identities} identities: hold out at "
            "least one for the scores, and leave at least one to train on"
        )
    return dataclasses.replace(settings, network=dataclasses.replace(settings.network, z_dim=config.z_dim))


def _spread(made: Generator) -> jax.Array:
    """The standard deviations (w_dim,) of w, over 4,096 latents."""
    z = jax.random.normal(jax.random.key(0), (4096, made.config.z_dim), jnp.float32)
    return jnp.std(scenes.to_ws(made, z)[:, 0], axis=0) + 1e-6


def create_state(settings: Settings) -> State:
    """The state before the first step."""
    params = encoders.init(settings.network, jax.random.key(settings.seed))
    return runs.placed(State(params, _optimizer(settings).init(params), jnp.zeros((), jnp.int32)))


def _optimizer(settings: Settings) -> optax.GradientTransformation:
    rate = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, settings.warmup_steps, max(settings.steps, settings.warmup_steps + 1)
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=settings.weight_decay))


def draw(settings: Settings, data: Mapping[str, np.ndarray], step: int) -> Batch:
    """The views of step number `step`: of identities that are not held out."""
    rng = np.random.default_rng([settings.seed, step])
    identity = rng.integers(0, settings.data.identities - settings.data.held_out, settings.batch)
    view = rng.integers(0, settings.data.views, settings.batch)
    return Batch(data["image"][identity, view], data["z"][identity], data["pose"][identity, view])


def _loss(
    settings: Settings,
    made: Generator,
    spread: jax.Array,
    params: Any,
    image: jax.Array,
    batch: Batch,
    moved: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss of disturbed images (B, R, R, 3), and what it is made of."""
    z, pose = encoders.outputs(settings.network, params, image)
    true = jnp.concatenate([batch.pose, moved], axis=-1) / encoders.UNITS
    unit = batch.z * jax.lax.rsqrt(jnp.mean(jnp.square(batch.z), axis=-1, keepdims=True))
    of_z = jnp.mean(jnp.square(z - unit))
    of_w = jnp.mean(jnp.square((scenes.to_ws(made, z)[:, 0] - scenes.to_ws(made, batch.z)[:, 0]) / spread))
    squares = jnp.mean(jnp.square(pose - true), axis=0)
    degrees = jnp.degrees(jnp.mean(jnp.abs(pose - true), axis=0)[:2] * encoders.UNITS[:2])
    report = {"z": of_z, "w": of_w, "pose": jnp.mean(squares), "yaw": degrees[0], "pitch": degrees[1]}
    return of_z + of_w + jnp.mean(squares), report


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def train_step(
    settings: Settings, made: Generator, spread: jax.Array, state: State, batch: Batch, key: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    """One step; returns the state and the parts of the loss before it. Compiled for `Settings.of_step`."""
    background = 1.0 if made.config.rendering.white_back else -1.0
    image = batch.image.astype(jnp.float32) / 127.5 - 1

    def one(key: jax.Array, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        resolution = settings.network.resolution
        return disturbances.disturb(key, settings.disturbances, image, resolution, background=background)

    image, moved = jax.vmap(one)(jax.random.split(key, len(image)), image)
    grads, report = jax.grad(_loss, argnums=3, has_aux=True)(settings, made, spread, state.params, image, batch, moved)
    updates, optimizer = _optimizer(settings).update(grads, state.optimizer, state.params)
    return State(optax.apply_updates(state.params, updates), optimizer, state.step + 1), report


def score(
    settings: Settings, made: Generator, spread: jax.Array, params: Any, data: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """The parts of the loss on one view, as it is framed, of each held-out identity."""
    count = min(settings.data.held_out, SCORED)
    part = slice(settings.data.identities - count, settings.data.identities)
    batch = Batch(data["image"][part, 0], data["z"][part], data["pose"][part, 0])
    report = _score(settings.of_step, made, spread, params, batch)
    found = {f"held_out_{name}": float(value) for name, value in report.items()}
    print("held out  " + "  ".join(f"{name[9:]} {value:.4g}" for name, value in found.items()), flush=True)
    return found


@functools.partial(jax.jit, static_argnums=0)
def _score(settings: Settings, made: Generator, spread: jax.Array, params: Any, batch: Batch) -> dict[str, jax.Array]:
    small = resize(batch.image.astype(jnp.float32) / 127.5 - 1, settings.network.resolution, antialias=True)
    return _loss(settings, made, spread, params, small, batch, jnp.zeros((len(small), 4)))[1]
