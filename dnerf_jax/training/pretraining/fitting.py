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
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from clu import parameter_overview

from dnerf_jax.io import checkpoints
from dnerf_jax.models import generator
from dnerf_jax.models.generator import Generator
from dnerf_jax.models.model import Model
from dnerf_jax.training import heldout, logs, runs
from dnerf_jax.training.pretraining import batches, shapes, stages
from dnerf_jax.training.pretraining.plan import Settings
from dnerf_jax.training.pretraining.stages import State
from dnerf_jax.worlds import shards, views
from dnerf_jax.worlds.shards import Shards

LENGTHS = ("steps", "finish_steps", "superresolution_steps", "save_every", "sheet_every")  # may change when continued


def fit(settings: Settings, workdir: Path) -> Model:
    """Renders the world's views where they are missing, fits the generator, and writes workdir/model.

    A run that is there is continued.
    """
    settings.check()
    # Before anything is rendered: a checkpoint that does not fit is refused.
    if settings.start_from:
        start_from = checkpoints.load(settings.start_from)
        if start_from.generator.config != settings.architecture:
            raise ValueError(f"{settings.start_from} has another architecture than config.generator: set the same.")
        variables, inputs = start_from.generator.variables, {"start_from": start_from.fingerprint}
    else:
        variables, inputs = stages.initial_variables(settings), {}
    runs.remember(workdir, settings, inputs=inputs, may_change=LENGTHS)
    rendered, shown = render_data(settings, workdir / "data")
    state, fixed = stages.create_state(settings, variables["params"]), stages.fixed_variables(variables)
    if settings.data.posed:
        fixed["template"] = fixed["template"] | shapes.kept_poses(settings, shown)
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
                state, report = stages.ray_step(settings.of_step, *kind, fixed, state, batch, key)
            else:
                pool = pool or stages.feature_pool(settings, average(settings, fixed, state), shown)
                batch = stages.pool_batch(settings, pool, step)
                state, report = stages.superresolution_step(settings.of_step, fixed, state, *batch)
            progress.update(step, report)
            last = step == settings.total_steps
            scored = step % settings.sheet_every == 0 or last
            if scored or step % 50 == 0 or step % settings.save_every == 0:
                logs.require_finite(report, step)
                if scored:
                    sheet = workdir / "sheets" / f"{step:06d}.png"
                    report |= score(settings, average(settings, fixed, state), shown, step, sheet)
                log.write(step, report)
            saved.save(step, state, force=last)
        log.close()
    model = finish(settings, average(settings, fixed, state), int(state.step), inputs.get("start_from"))
    checkpoints.save(workdir / "model", model, dtype="float16", replace=True)
    print(f"wrote {workdir / 'model'}")
    return model


def render_data(settings: Settings, folder: Path) -> tuple[Shards, Shards]:
    """What the rays are of, and what the third stage learns from and scores are of, which may be the same."""
    data = settings.data
    kind: Any = {"resolution": data.resolution, "processes": data.processes}
    rendered = shards.render_shards(folder, settings.world, settings.seed, data.identities, data.views, **kind)
    if not data.posed:
        return rendered, rendered
    first = data.identities - data.posed
    posed = shards.render_shards(folder, settings.world, settings.seed, data.posed, 1, **kind, first=first, posed=True)
    return rendered, posed


def average(settings: Settings, fixed: Mapping, state: State) -> Generator:
    """The generator of the moving average, which is what is kept."""
    return Generator(settings.architecture, {"params": state.ema, **fixed})


def score(
    settings: Settings, made: Generator, shown: Shards, step: int, sheet: Path, count: int = 16
) -> dict[str, float]:
    """Scores of a generator on held-out identities, one view each, and a sheet of the first eight."""
    held_out = settings.data.held_out
    identities = len(shown) - held_out + np.arange(min(count, held_out))
    true = batches.views(shown, identities, np.arange(len(identities)) % shown.views_each)
    scores = heldout.score_views(made, true, picture=sheet, final=step > settings.ray_steps)
    print("held out  " + "  ".join(f"{name} {value:.4g}" for name, value in scores.items()), flush=True)
    return scores


def finish(settings: Settings, made: Generator, steps: int, start_from: str | None = None) -> Model:
    """The model of a generator that was fitted, its average w measured on 10,000 latents."""
    key = jax.random.fold_in(jax.random.key(settings.seed), 10_000_000)
    z = jax.random.normal(key, (10_000, settings.generator.z_dim), jnp.float32)
    ws = generator.map_latents(made, z)
    w_avg = jnp.mean(ws[:, 0], axis=0)
    variables = {**made.variables, "buffers": {**made.variables["buffers"], "mapping": {"w_avg": w_avg}}}
    world = views.named(settings.world)
    if settings.architecture.articulation:
        variables["params"] = {**variables["params"], "shape": shapes.fitted(made.replace(variables=variables), world)}
    origin = f"dnerf_jax.pretrain, {steps} steps, seed {settings.seed}"
    if start_from:
        origin += f", from {start_from}"
    return Model(
        generator=made.replace(variables=variables),
        info=(("license", world.LICENCE), ("origin", origin)),
        label_map=world.LABELS,
    )
