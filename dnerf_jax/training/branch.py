"""Trains a semantic branch: python -m dnerf_jax.train --config configs/heads.py --workdir DIR

The generator is frozen, so what depends on it alone is computed once: the features of every labelled latent, and for
every labelled view the samples that carry the ray's weight. A step then only multiplies, samples, composites and
super-resolves (paper, section 3.2), and compares with the labels (equation 2).
"""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import parameter_overview
from flax import struct

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, packs
from dnerf_jax.models import generator, scenes, semantic
from dnerf_jax.ops import cameras, losses
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.training import logs, process, runs

COARSE = 16  # pixels; the resolution up to which features are dropped


@dataclasses.dataclass(frozen=True)
class Settings:
    """A training run of a semantic branch.

    Attributes:
      annotations: folder of the labelled pack, or the name of an embedded one.
      semantic: the branch.
      steps, views_per_step: length and batch.
      patch: side of the square patches that a step renders of its views, in pixels of the neural rendering, each at a
        random place; None is whole views.
      coarse_dropout: share of the channels of scales up to COARSE that a step leaves out, drawn for every latent: such
        features tell latents apart rather than places, and a few labelled latents are easily learned by heart.
      class_balance: exponent of the rarity by which a class counts more; 0 is the paper's plain mean over pixels.
      learning_rate, final_learning_rate: one cosine (Adam, equalised weights).
      save_every: steps between checkpoints.
    """

    seed: int
    annotations: str
    semantic: semantic.SemanticConfig
    steps: int
    views_per_step: int
    patch: int | None
    coarse_dropout: float
    class_balance: float
    learning_rate: float
    final_learning_rate: float
    save_every: int


@struct.dataclass
class Frozen:
    """What training needs of the generator, for N views of L latents.

    features: selected block outputs of the latents, a list of (L, R, R, channels). latent: (N,) index into them.
    points (N, h, w, S, 3), and weights (N, h, w, S) of the samples kept; with a density of the branch's own instead
    depths and order (N, h, w, S), which say how all samples lie along the ray. masks: (N, R, R) labels.
    class_weights: (C,) of the loss.
    """

    features: list[jax.Array]
    latent: jax.Array
    points: jax.Array
    weights: jax.Array | None
    depths: jax.Array | None
    order: jax.Array | None
    masks: jax.Array
    class_weights: jax.Array


@struct.dataclass
class State:
    """What a run needs to go on. The seed is a number like the others, so that all seeds share one compiled step."""

    params: dict
    optimizer: optax.OptState
    step: jax.Array
    seed: jax.Array


def main(config, workdir: str, checkpoint: str = "heads"):
    """Trains a semantic branch on labelled views and writes workdir/model.

    workdir: folder of the run; a run that is there is continued
    checkpoint: the generator, a folder or an embedded name
    """
    run = cli.as_dataclass(config, Settings)
    process.prepare()
    train(run, Path(workdir), checkpoint)


def train(run, workdir, name, samples=None):
    """Runs the training and returns the model with its branch, which is also written to workdir/model.

    samples: what `freeze_samples` found for the pack, if it is known.
    """
    model = checkpoints.load(name)
    pack = packs.load(run.annotations, model)
    if pack.label_map.num_classes != run.semantic.num_classes:
        raise ValueError(
            f"The pack {pack.name!r} has {pack.label_map.num_classes} classes, "
            f"config.semantic.num_classes is {run.semantic.num_classes}: set it to {pack.label_map.num_classes}."
        )
    if run.views_per_step > len(pack):
        raise ValueError(
            f"config.views_per_step is {run.views_per_step}, but the pack {pack.name!r} has only {len(pack)} views: "
            "a step draws different ones, so take fewer."
        )
    grid, size = model.config.neural_rendering_resolution, model.config.image_resolution
    if run.patch is not None and (not 0 < run.patch <= grid or size % grid):
        raise ValueError(
            f"config.patch is {run.patch}: this generator renders {grid} x {grid} rays for images of {size} pixels. "
            f"Take 1 to {grid} if the one divides the other, or None for whole views."
        )
    runs.remember(workdir, run, inputs={"generator": model.fingerprint}, may_change=("save_every",))
    latents = len(np.unique(pack.latent_id))
    size = frozen_bytes(run.semantic, model, latents, len(pack)) / 2**30
    print(f"computing what is frozen for {len(pack)} views of {latents} latents: {size:.2f} GiB", flush=True)
    frozen = freeze(run, model, pack, samples)
    state = create_state(run, model.config)
    print(f"{parameter_overview.count_parameters(state.params):,.0f} parameters to train", flush=True)
    with runs.Checkpoints(workdir / "checkpoints", every=run.save_every) as saved:
        start, state = saved.restore_latest(state) or (0, state)
        log, progress = logs.MetricLog(workdir, step=start), logs.Progress(run.steps, start=start)
        for step in range(start + 1, run.steps + 1):
            state, report = train_step(run, model.config, frozen, state)
            last = step == run.steps
            if step % 10 == 0 or step % run.save_every == 0 or last:
                logs.require_finite(report, step)
                log.write(step, report)
            progress.update(step, report)
            saved.save(step, state, force=last)
        log.close()
    model = model.replace(semantic_config=run.semantic, semantic_params=state.params, label_map=pack.label_map)
    checkpoints.save(workdir / "model", model, replace=True)
    return model


def create_state(run, generator_config):
    """The state before the first step."""
    params = semantic.init(run.semantic, generator_config, jax.random.key(run.seed))
    return State(params, _optimizer(run).init(params), jnp.zeros((), jnp.int32), jnp.asarray(run.seed, jnp.int32))


def freeze(run, model, pack, samples=None):
    """Computes `Frozen` for all views of a pack, one view at a time.

    samples: what `freeze_samples` found for the same pack, if it is known.
    """
    samples = samples or freeze_samples(run.semantic, model, pack)
    _, first, latent = np.unique(pack.latent_id, return_index=True, return_inverse=True)
    return Frozen(
        features=_collect(lambda i: _features(run.semantic, model, pack.z[first[i]]), len(first)),
        latent=jnp.asarray(latent),
        masks=jnp.asarray(pack.masks),
        class_weights=jnp.asarray(class_weights(pack.masks, run.semantic.num_classes, run.class_balance)),
        **samples,
    )


def freeze_samples(config, model, pack):
    """points, weights, depths and order of `Frozen`, by name.

    They depend on the generator and, of the branch, on `density_prior` and `samples_kept` alone.
    """
    planes = functools.lru_cache(maxsize=1)(lambda first: _planes(model, pack.z[first]))
    _, first, latent = np.unique(pack.latent_id, return_index=True, return_inverse=True)

    def samples(i):
        camera = cameras.Camera(pack.cam2world[i], pack.intrinsics[i])
        return _samples(config, model, planes(first[latent[i]]), camera)

    return _collect(samples, len(pack))


def frozen_bytes(config, model, latents, views):
    """The memory that `Frozen` takes for so many views of so many latents, without computing it."""

    def one(z, camera):
        return _features(config, model, z), _samples(config, model, _planes(model, z), camera)

    features, samples = jax.eval_shape(one, jnp.zeros(model.config.z_dim), scenes.default_camera(model.config))
    size = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))  # noqa: E731
    return latents * size(features) + views * (size(samples) + model.config.image_resolution**2)


def _collect(make, count):
    """The trees of arrays make(0), make(1), ... stacked, without keeping them one by one, or all of them twice."""
    for i in range(count):
        part = make(i)
        if i == 0:
            whole = jax.tree.map(lambda x: jnp.zeros((count, *x.shape), x.dtype), part)
        whole = _put(whole, part, i)
    return whole


def class_weights(masks, num_classes, balance):
    """Weights (C,) float32 of the classes of masks: share of the pixels to the power -balance, 1 for the largest."""
    counts = np.bincount(masks[masks != LabelMap.IGNORE], minlength=num_classes)
    return (counts.max() / np.maximum(counts, 1)).astype(np.float32) ** balance


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def train_step(run, generator_config, frozen, state):
    """One step on views drawn by the step's own key; returns the state and the metrics."""
    key = jax.random.fold_in(jax.random.key(state.seed), state.step)
    views = jax.random.choice(key, len(frozen.latent), (run.views_per_step,), replace=False)
    chosen = frozen.replace(features=drop_coarse(key, frozen.features, run.coarse_dropout))
    chosen = choose(chosen, views, run.patch, key)

    def loss_of(params):
        logits, masks = predict(run.semantic, generator_config, params, chosen), chosen.masks
        right, known = jnp.argmax(logits, axis=-1) == masks, masks != LabelMap.IGNORE
        accuracy = jnp.sum(right) / jnp.maximum(jnp.sum(known), 1)
        loss = losses.cross_entropy(logits, masks, class_weights=chosen.class_weights)
        return loss, {"loss": loss, "accuracy": accuracy}

    grads, report = jax.grad(loss_of, has_aux=True)(state.params)
    updates, optimizer = _optimizer(run).update(grads, state.optimizer)
    params = optax.apply_updates(state.params, updates)
    return state.replace(params=params, optimizer=optimizer, step=state.step + 1), report


def drop_coarse(key, features, rate):
    """Features (L, R, R, channels) of several scales; of the coarse ones random channels are zero, others rescaled."""
    if not rate:
        return features
    kept = lambda i, x: jax.random.bernoulli(jax.random.fold_in(key, i), 1 - rate, (len(x), 1, 1, x.shape[-1]))  # noqa: E731
    return [x * kept(i, x) / (1 - rate) if x.shape[1] <= COARSE else x for i, x in enumerate(features)]


def choose(frozen, views, patch=None, key=None):
    """What is frozen of the views (B,) alone, or of a patch of each at random, `patch` rays wide and high."""
    arrays = {name: getattr(frozen, name) for name in ("points", "weights", "depths", "order", "masks")}
    chosen = {name: None if array is None else array[views] for name, array in arrays.items()}
    if patch:
        grid = frozen.points.shape[1]
        corners = jax.random.randint(key, (len(views), 2), 0, grid - patch + 1)

        def crop(array, corner):
            scale = array.shape[0] // grid  # labels are finer than rays
            rest = (0,) * (array.ndim - 2)
            return jax.lax.dynamic_slice(array, (*(scale * corner), *rest), (scale * patch,) * 2 + array.shape[2:])

        chosen = {name: None if x is None else jax.vmap(crop)(x, corners) for name, x in chosen.items()}
    return frozen.replace(latent=frozen.latent[views], **chosen)


def predict(config, generator_config, params, frozen):
    """Logits (N, R, R, C) of all views, or patches of views, that are frozen."""
    selected = [scale[frozen.latent] for scale in frozen.features]
    planes = semantic.project(config, generator_config, params, selected)
    if config.density_prior:
        one = functools.partial(semantic.render, config, generator_config, params)
        phi = jax.vmap(one)(planes, frozen.points, frozen.weights)
    else:
        # All samples of a ray count, so one view at a time, and for the gradient once more: a tenth of the memory.
        one = functools.partial(semantic.render_own_density, config, generator_config, params)
        every = planes, frozen.points, frozen.depths, frozen.order
        phi = jax.lax.map(jax.checkpoint(lambda view: one(*view)), every)
    return semantic.super_resolve(config, generator_config, params, phi, frozen.masks.shape[-1])[1]


@functools.partial(jax.jit, donate_argnums=0)
def _put(whole, part, i):
    """A tree of stacked arrays, with that of `part` at i; in place."""
    return jax.tree.map(lambda array, x: array.at[i].set(x), whole, part)


@functools.partial(jax.jit, static_argnums=0)
def _features(config, model, z):
    """The selected features of one latent."""
    ws = scenes.synthesize(model, z).ws
    return semantic.select_features(config, generator.synthesize_planes(model.config, model.variables, ws))


@jax.jit
def _planes(model, z):
    """Planes (3, R, R, C) of one latent."""
    return scenes.synthesize(model, z).planes


@functools.partial(jax.jit, static_argnums=0)
def _samples(config, model, planes, camera):
    """What `Frozen` keeps of the samples of one view, by name."""
    rays = cameras.rays(camera, model.config.neural_rendering_resolution)
    samples = generator.march(model.config, model.variables, planes, rays)
    if not config.density_prior:
        return {"points": samples.points, "weights": None, "depths": samples.depths, "order": samples.order}
    points, weights = semantic.select_samples(config, samples)
    return {"points": points, "weights": weights, "depths": None, "order": None}


def _optimizer(run):
    schedule = optax.cosine_decay_schedule(
        run.learning_rate, run.steps, alpha=run.final_learning_rate / run.learning_rate
    )
    return optax.adam(schedule, b2=0.99)


if __name__ == "__main__":
    cli.door(main)
