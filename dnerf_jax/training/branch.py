"""The training of a semantic branch on labelled views (paper, section 3.2).

The generator is frozen, and what depends on it alone is computed once (`frozen`). A step then only multiplies, samples,
composites and super-resolves, and compares with the labels (equation 2).
"""

import dataclasses
import functools
from pathlib import Path
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import parameter_overview
from flax import struct

from dnerf_jax.io import checkpoints
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models import semantic
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.model import LABELS_TRUNCATION, Model, fingerprint
from dnerf_jax.models.semantic import Branch, Selected, SemanticConfig
from dnerf_jax.networks import semantic_head
from dnerf_jax.ops import losses
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.ranges import Count, Fraction, NotNegative, Positive, Seed
from dnerf_jax.training import logs, runs
from dnerf_jax.training.frozen import Frozen, choose, freeze, frozen_bytes

MODEL = "model"  # the folder of a run's result
COARSE = 16  # pixels; the resolution up to which features are dropped


@dataclasses.dataclass(frozen=True)
class Settings:
    """A training run of a semantic branch.

    Attributes:
      seed: of what is drawn at random: initial parameters, views, patches, dropout.
      annotations: folder of the labelled pack, or the name of an embedded one.
      semantic: the branch; its number of classes may be left to the pack.
      steps: of Adam.
      views_per_step: how many views a step learns from, drawn without repetition.
      patch: side of the square patches that a step renders of its views, in pixels of the neural rendering, each at a
        random place; None is whole views.
      coarse_dropout: share of the channels of scales up to COARSE that a step leaves out, drawn for every latent: such
        features tell latents apart rather than places, and a few labelled latents are easily learned by heart.
      class_balance: exponent of the rarity by which a class counts more; 0 is the paper's plain mean over pixels.
      learning_rate: of Adam at the first step (weights are equalised).
      final_learning_rate: at the last step; a cosine leads there.
      save_every: steps between checkpoints.
      sparsity: how many learning rates the norm of a channel's weights in the first layer loses in a step: a group
        lasso, by its proximal step, which leaves only those channels that are worth it. 0 is the paper's.
    """

    seed: Seed
    annotations: str
    semantic: SemanticConfig
    steps: Count
    views_per_step: Count
    patch: Count | None
    coarse_dropout: Fraction
    class_balance: NotNegative
    learning_rate: Positive
    final_learning_rate: NotNegative
    save_every: Count
    sparsity: NotNegative = 0.0

    @property
    def of_step(self) -> Self:
        """These settings without what a step does not depend on, so that runs that differ in that share its program."""
        return dataclasses.replace(self, seed=0, annotations="", class_balance=0.0, save_every=0)


@struct.dataclass
class State:
    """What a run needs to go on. The seed is a number like the others, so that all seeds share one compiled step."""

    params: dict
    optimizer: optax.OptState
    step: jax.Array
    seed: jax.Array


def train(
    settings: Settings, model: Model, pack: Annotations, workdir: Path, *, selected: Selected | None = None
) -> Model:
    """Trains a branch of `model` on a pack and returns the model with it, which is also written to workdir/model.

    A run that is there is continued, and one that is finished returned. `settings.annotations` is for the record: what
    is trained on is `pack`, whose labels a run that is continued must have.

    Args:
      selected: what `frozen.freeze_samples` found for the pack, if it is known.

    Raises ValueError: pack, settings and model do not fit each other, or workdir holds another run.
    """
    config = model.generator.config
    _check(settings, model, pack)
    settings = for_pack(settings, pack)
    inputs = {"generator": model.fingerprint, "labels": _labels_fingerprint(pack)}
    runs.remember(workdir, settings, inputs=inputs, may_change=("save_every",), may_grow=("steps",))
    if (finished := _finished(settings, workdir)) is not None:
        print(f"this run has done its {settings.steps} steps already", flush=True)
        return model.replace(semantic=finished.semantic, label_map=pack.label_map, info=_told(model, pack))
    latents = len(np.unique(pack.latent_id))
    size = frozen_bytes(settings.semantic, model, latents, len(pack)) / 2**30
    print(f"computing what is frozen for {len(pack)} views of {latents} latents: {size:.2f} GiB", flush=True)
    frozen = freeze(settings.semantic, model, pack, class_balance=settings.class_balance, selected=selected)
    state = create_state(settings, config)
    print(f"{parameter_overview.count_parameters(state.params):,.0f} parameters to train", flush=True)
    with runs.Checkpoints(workdir / runs.CHECKPOINTS, every=settings.save_every) as saved:
        start, state = saved.restore_latest(state) or (0, state)
        log, progress = logs.MetricLog(workdir, step=start), logs.Progress(settings.steps, start=start)
        for step in range(start + 1, settings.steps + 1):
            state, report = train_step(settings.of_step, config, frozen, state)
            last = step == settings.steps
            if step % 10 == 0 or step % settings.save_every == 0 or last:
                logs.require_finite(report, step)
                log.write(step, report)
            progress.update(step, report)
            saved.save(step, state, force=last)
        log.close()
    branch = Branch(settings.semantic, state.params)
    model = model.replace(semantic=branch, label_map=pack.label_map, info=_told(model, pack))
    checkpoints.save(workdir / MODEL, model, replace=True)
    return model


def for_pack(settings: Settings, pack: Annotations) -> Settings:
    """The settings with the pack's number of classes, where they leave that to the pack."""
    form = dataclasses.replace(settings.semantic, num_classes=pack.label_map.num_classes)
    return dataclasses.replace(settings, semantic=form)


def _told(model: Model, pack: Annotations) -> tuple[tuple[str, str], ...]:
    """What a model says of itself once its branch has learned a pack: whether its labels are of truncated scenes."""
    info = {name: value for name, value in model.info if name != LABELS_TRUNCATION}
    if pack.truncation_psi != 1:
        info[LABELS_TRUNCATION] = f"{pack.truncation_psi:g}"
    return tuple(info.items())


def _labels_fingerprint(pack: Annotations) -> str:
    """16 hexadecimal digits of all that a branch learns of a pack."""
    names = ("masks", "z", "cam2world", "intrinsics")
    return fingerprint({name: getattr(pack, name) for name in names} | {"truncation_psi": pack.truncation_psi})


def _finished(settings: Settings, workdir: Path) -> Model | None:
    """The model that this run, whose settings and inputs are known to be the same, has written, if it is finished."""
    if not (workdir / MODEL).is_dir():
        return None
    with runs.Checkpoints(workdir / runs.CHECKPOINTS, every=settings.save_every) as saved:
        done = saved.latest_step == settings.steps
    return checkpoints.load(workdir / MODEL) if done else None


def create_state(settings: Settings, generator_config: GeneratorConfig) -> State:
    """The state before the first step."""
    params = semantic.init(settings.semantic, generator_config, jax.random.key(settings.seed)).params
    optimizer = _optimizer(settings).init(params)
    state = State(params, optimizer, jnp.zeros((), jnp.int32), jnp.asarray(settings.seed, jnp.int32))
    return runs.placed(state)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def train_step(
    settings: Settings, generator_config: GeneratorConfig, frozen: Frozen, state: State
) -> tuple[State, dict[str, jax.Array]]:
    """One step on views drawn by the step's own key; returns the state and the metrics.

    settings: compiled for `Settings.of_step`.
    """
    key = jax.random.fold_in(jax.random.key(state.seed), state.step)
    of_views, of_dropout, of_patches = jax.random.split(key, 3)
    views = jax.random.choice(of_views, len(frozen.latent), (settings.views_per_step,), replace=False)
    chosen = frozen.replace(features=drop_coarse(of_dropout, frozen.features, settings.coarse_dropout))
    chosen = choose(chosen, views, patch=settings.patch, key=of_patches)

    def loss_of(params: dict) -> tuple[jax.Array, dict[str, jax.Array]]:
        logits, masks = predict(Branch(settings.semantic, params), generator_config, chosen), chosen.masks
        right, known = jnp.argmax(logits, axis=-1) == masks, masks != LabelMap.IGNORE
        accuracy = jnp.sum(right) / jnp.maximum(jnp.sum(known), 1)
        loss = losses.cross_entropy(logits, masks, class_weights=chosen.class_weights)
        return loss, {"loss": loss, "accuracy": accuracy}

    grads, report = jax.grad(loss_of, has_aux=True)(state.params)
    updates, optimizer = _optimizer(settings).update(grads, state.optimizer)
    params = optax.apply_updates(state.params, updates)
    if settings.sparsity:
        by = settings.sparsity * _learning_rate(settings)(state.step)
        params = semantic.shrink_channels(Branch(settings.semantic, params), generator_config, by).params
    return state.replace(params=params, optimizer=optimizer, step=state.step + 1), report


def drop_coarse(key: jax.Array, features: list[jax.Array], rate: float) -> list[jax.Array]:
    """Features (L, R, R, channels) of several scales; of the coarse ones random channels are zero, others rescaled."""
    if not rate:
        return features

    def drop(i: int, x: jax.Array) -> jax.Array:
        kept = jax.random.bernoulli(jax.random.fold_in(key, i), np.float32(1 - rate), (len(x), 1, 1, x.shape[-1]))
        return (x * kept / (1 - rate)).astype(x.dtype)

    return [drop(i, x) if x.shape[1] <= COARSE else x for i, x in enumerate(features)]


def predict(branch: Branch, generator_config: GeneratorConfig, frozen: Frozen) -> jax.Array:
    """Logits (N, R, R, C) of all views, or patches of views, that are frozen."""
    chosen = [scale[frozen.latent] for scale in frozen.features]
    planes = semantic.synthesize_planes(branch, generator_config, chosen)

    def render(planes: jax.Array, selected: Selected) -> jax.Array:
        return semantic.render(branch, generator_config, planes, selected)

    if branch.config.density_prior:
        features = jax.vmap(render)(planes, frozen.selected)
    else:
        # All samples of a ray count, so one view at a time, and for the gradient once more: a tenth of the memory.
        features = jax.lax.map(jax.checkpoint(lambda view: render(*view)), (planes, frozen.selected))
    return semantic.super_resolve(branch, generator_config, features, resolution=frozen.masks.shape[-1])[1]


def _check(settings: Settings, model: Model, pack: Annotations) -> None:
    if pack.fingerprint != model.fingerprint:
        raise ValueError(
            f"The pack {pack.name!r} is of a generator with the fingerprint {pack.fingerprint!r}, this one has "
            f"{model.fingerprint!r}: load the checkpoint whose latents were labelled."
        )
    if settings.semantic.num_classes not in (0, pack.label_map.num_classes):
        raise ValueError(
            f"The pack {pack.name!r} has {pack.label_map.num_classes} classes, "
            f"config.semantic.num_classes is {settings.semantic.num_classes}: leave it out, or set it to "
            f"{pack.label_map.num_classes}."
        )
    if settings.views_per_step > len(pack):
        raise ValueError(
            f"config.views_per_step is {settings.views_per_step}, but the pack {pack.name!r} has only {len(pack)} "
            "views: a step draws different ones, so take fewer."
        )
    config = model.generator.config
    widths = semantic.feature_widths(settings.semantic, config)
    if settings.sparsity:
        semantic_head.channel_of_row(settings.semantic, widths)
    grid, size = config.neural_rendering_resolution, config.image_resolution
    if settings.patch is not None and (not 0 < settings.patch <= grid or size % grid):
        fitting = "None, whole views" if size % grid else f"1 to {grid}, or None for whole views"
        raise ValueError(
            f"config.patch is {settings.patch}: this generator renders {grid} x {grid} rays for images of {size} "
            f"pixels. Take {fitting}."
        )


def _optimizer(settings: Settings) -> optax.GradientTransformation:
    return optax.adam(_learning_rate(settings), b2=0.99)


def _learning_rate(settings: Settings) -> optax.Schedule:
    return optax.cosine_decay_schedule(
        settings.learning_rate, settings.steps, alpha=settings.final_learning_rate / settings.learning_rate
    )
