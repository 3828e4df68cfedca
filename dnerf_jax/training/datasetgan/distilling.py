"""Distils a world into a 2D generator: from a latent and a camera to the image that the world renders of them.

Images are coarse first, with the blocks of their size alone. The batch of a step depends on the seed and the step, so
a run that was killed resumes with equal results.
"""

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

from dnerf_jax.io import png
from dnerf_jax.models import image_generators
from dnerf_jax.models.image_generators import ImageGenerator
from dnerf_jax.ops import cameras, images, losses, metrics
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.resizing import resize
from dnerf_jax.training import logs, runs
from dnerf_jax.training.datasetgan.plan import Settings
from dnerf_jax.training.pretraining import batches, stages
from dnerf_jax.training.segmentation.batches import numbers
from dnerf_jax.viz import pictures
from dnerf_jax.worlds import shards
from dnerf_jax.worlds.shards import Shards

SCORED, SHOWN = 64, 8  # held-out identities that are scored, and of them on the sheet


@struct.dataclass
class State:
    """What a run needs to go on: parameters, their moving average, the optimiser's state, the step."""

    params: dict
    ema: dict
    optimizer: optax.OptState
    step: jax.Array


@struct.dataclass
class Batch:
    """Latents z (B, Z), cameras c (B, 25), and true images (B, R, R, 3) uint8."""

    z: Any
    c: Any
    image: Any


def fit(settings: Settings, world: str, workdir: Path) -> ImageGenerator:
    """Renders the views of the world of that name where they are missing, and fits the generator, or goes on with it.

    Checkpoints, metrics and sheets lie in workdir, the renders in workdir/data.
    """
    made, data = image_generators.init(settings.generator, jax.random.key(settings.seed)), settings.data
    size = settings.generator.resolution
    rendered = shards.render_shards(workdir / "data", world, settings.seed, data.identities, 1, size, data.processes)
    state = create_state(settings, made)
    print(f"{parameter_overview.count_parameters(state.params):,.0f} parameters", flush=True)
    with runs.Checkpoints(workdir / runs.CHECKPOINTS, every=settings.save_every) as saved:
        start, state = saved.restore_latest(state) or (0, state)
        log = logs.MetricLog(workdir, step=start)
        progress = logs.Progress(settings.steps, start=start, every=20)
        for step in range(start + 1, settings.steps + 1):
            batch = of_identities(rendered, training_identities(settings, step))
            state, report = train_step(
                settings.of_step, settings.resolution(step), made.params["buffers"], state, batch
            )
            progress.update(step, report)
            last = step == settings.steps
            scored = step % settings.sheet_every == 0 or last
            if scored or step % 50 == 0 or step % settings.save_every == 0:
                logs.require_finite(report, step)
                if scored:
                    sheet = workdir / "sheets" / f"{step:06d}.png"
                    report |= score(average(made, state), settings, rendered, sheet, settings.resolution(step))
                log.write(step, report)
            saved.save(step, state, force=last)
        log.close()
    return average(made, state)


def create_state(settings: Settings, made: ImageGenerator) -> State:
    """The state before the first step."""
    later = [2 * settings.resolution(at) for at in settings.refine_at]
    params = stages.softened(made.params["params"], settings.style_init, later)
    moments = _optimizer(settings).init(params)
    return runs.placed(State(params, jax.tree.map(jnp.copy, params), moments, jnp.zeros((), jnp.int32)))


def average(made: ImageGenerator, state: State) -> ImageGenerator:
    """The generator of the moving average, which is what is kept."""
    return made.replace(params={**made.params, "params": state.ema})


def training_identities(settings: Settings, step: int) -> list[int]:
    """Those of a step; all are seen before one is seen again."""
    known = settings.data.identities - settings.data.held_out
    return numbers(known, seed=settings.seed, start=(step - 1) * settings.batch, count=settings.batch)


def of_identities(rendered: Shards, identities: list[int]) -> Batch:
    """The views of these identities."""
    true = batches.views(rendered, identities, [0] * len(identities))
    return Batch(true.z, cameras_of(true.camera), true.image)


def cameras_of(camera: Camera) -> np.ndarray:
    """The numbers (N, 25) by which the generator knows cameras (N,)."""
    return np.asarray(cameras.to_eg3d(camera), np.float32)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def train_step(
    settings: Settings, resolution: int, buffers: Mapping[str, Any], state: State, batch: Batch
) -> tuple[State, dict[str, jax.Array]]:
    """One step on images of that size; returns the state and the losses before it.

    settings: compiled for `Settings.of_step`.
    """
    target = resize(batch.image.astype(jnp.float32) / 127.5 - 1, resolution, antialias=True)

    def loss_of(params: dict) -> tuple[jax.Array, dict[str, jax.Array]]:
        made = ImageGenerator(settings.generator, {"params": params, "buffers": buffers})
        image = image_generators.synthesize(made, batch.z, batch.c, resolution=resolution).last
        parts = {
            "image": losses.mean_squared_error(image, target),
            "gradient": losses.gradient_difference(image, target),
        }
        return settings.color_weight * parts["image"] + settings.gradient_weight * parts["gradient"], parts

    grads, report = jax.grad(loss_of, has_aux=True)(state.params)
    updates, moments = _optimizer(settings).update(grads, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = optax.incremental_update(params, state.ema, stages.ema_rate(settings.ema_decay, state.step))
    return State(params, ema, moments, state.step + 1), report


@functools.partial(jax.jit, static_argnames="resolution")
def render(made: ImageGenerator, z: jax.Array, c: jax.Array, *, resolution: int) -> jax.Array:
    """Images (N, R, R, 3) of latents z (N, Z) and cameras c (N, 25) by the blocks up to that size, enlarged if few."""
    image = image_generators.synthesize(made, z, c, resolution=resolution).last
    return jnp.clip(resize(image, made.config.resolution, antialias=False), -1, 1)


def score(made: ImageGenerator, settings: Settings, rendered: Shards, sheet: Path, resolution: int) -> dict[str, float]:
    """PSNR in dB of held-out identities, and a sheet of the first of them: truth above what was made."""
    count, last = min(SCORED, settings.data.held_out), settings.data.identities - settings.data.held_out
    found: list[float] = []
    shown: list[list[np.ndarray]] = []
    for first in range(last, last + count, SHOWN):
        batch = of_identities(rendered, list(range(first, min(first + SHOWN, last + count))))
        image = np.asarray(render(made, batch.z, batch.c, resolution=resolution))
        found += np.asarray(metrics.psnr(image, images.from_uint8(batch.image))).tolist()
        shown = shown or [list(batch.image), list(images.to_uint8(image, span=(-1, 1)))]
    png.save_image(sheet, pictures.sheet(shown))
    print(f"held out  psnr {np.mean(found):.4g}", flush=True)
    return {"psnr": float(np.mean(found))}


def _optimizer(settings: Settings) -> optax.GradientTransformation:
    return stages.optimizer(stages.falling_rate(settings), settings.mapping_boost)
