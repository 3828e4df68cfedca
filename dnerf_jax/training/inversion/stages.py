"""The stages of an inversion, in order: the start, z, W, W+, and the generator tuned around what was found.

    start   the encoder's guess, or the best of random candidates, followed a little
    z       the paper's: latent and pose by Adam; then Gauss-Newton on the same numbers
    w       one intermediate latent for all layers
    w+      one for each, with a penalty on leaving W
    tune    the generator's weights, the latent held (pivotal tuning), with a penalty on changing other latents

Each begins where the one before ended, and each can be had alone. What a stage makes worse is not taken.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dnerf_jax.models import generator
from dnerf_jax.models.encoders import TrainedEncoder
from dnerf_jax.models.model import Model
from dnerf_jax.models.perception import Perception
from dnerf_jax.ops import metrics
from dnerf_jax.ops.orbiting import Orbit
from dnerf_jax.training.inversion import loop, newton, objectives, starts
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.loop import Loss
from dnerf_jax.training.inversion.objectives import Seen, Target
from dnerf_jax.training.inversion.plan import Settings, Stage
from dnerf_jax.training.inversion.subject import Subject

Tell = Callable[[str, int, int, float], None]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a stage left: its name, the subject, losses of its steps, seconds, scores, and whether it was taken.

    scores: of an inversion "psnr" in dB of the target's views, where they are images, "miou" and "accuracy" of their
    masks, where there are any; of an edit see `editing.search.scores`.
    """

    stage: str
    subject: Subject
    losses: tuple[float, ...]
    seconds: float
    scores: dict[str, Any]
    kept: bool = True


def run(
    settings: Settings,
    model: Model,
    target: Target,
    *,
    encoder: TrainedEncoder | None = None,
    known: Orbit | None = None,
    network: Perception | None = None,
    begin: Subject | None = None,
    finished: Sequence[Outcome] = (),
    done: Callable[[Outcome], None] | None = None,
    tell: Tell | None = None,
) -> list[Outcome]:
    """All stages that the settings name, the start first.

    Args:
      encoder: whose guess the start is, if it is of this generator and the settings want it.
      known: orbits (V,) of the cameras, where they are known. What the settings leave free is sought from there.
      network: of the perceptual distance, for stages that weigh it.
      begin: what to start from, instead of candidates.
      finished: the first stages of such a run, the start among them: it goes on after them.
      done: called with what a stage left, as soon as it has.
      tell: called with the stage, its steps done and in all, and the loss.

    Raises ValueError: a mask, and no branch that labels, or ids that it does not have.
    """
    since = time.monotonic()
    config = model.generator.config
    if target.mask is not None and model.semantic is None:
        raise ValueError("a mask is inverted through the semantic branch, and this checkpoint has none: train one")
    classes = model.semantic.config.num_classes if model.semantic is not None else 0
    ready = functools.partial(objectives.prepare, config, target, classes=classes, network=network)
    outcomes, told = list(finished), done or (lambda _: None)
    if not outcomes:
        history: tuple[float, ...] = ()
        if begin is None:
            guesser = encoder if settings.encoder else None
            candidates = starts.propose(settings, model, target, encoder=guesser, known=known)
            begin, history = _best(settings, model, ready(candidates[0]), candidates, tell)
        outcomes.append(Outcome("start", begin, history, time.monotonic() - since, scores(model, begin, target)))
        told(outcomes[-1])
    for name in settings.stages[len(outcomes) - 1 :]:
        last = next(outcome for outcome in reversed(outcomes) if outcome.kept)
        outcomes.append(_stage(settings, name, model, ready(last.subject), last, tell))
        told(outcomes[-1])
    return outcomes


def result(outcomes: list[Outcome]) -> Subject:
    """What was found: the last stage's subject that was kept."""
    return next(outcome.subject for outcome in reversed(outcomes) if outcome.kept)


def _best(
    settings: Settings, model: Model, seen: Seen, candidates: list[Subject], tell: Tell | None
) -> tuple[Subject, tuple[float, ...]]:
    """The best of the candidates, after the best few were followed for some steps; and the losses of that."""
    scored = starts.choose(model, seen, candidates, seed=settings.seed)
    if settings.restarts == 1 or not settings.trial_steps:
        return scored[0][1], ()
    stage = dataclasses.replace(settings.z, steps=settings.trial_steps, newton=0, whole=False, patience=0)
    followed, histories = [], []
    for _, candidate in scored[: settings.restarts]:
        found, history = _optimized(settings, "z", stage, model, seen.replace(subject=candidate), tell)
        followed.append(found)
        histories.append(history)
    best = starts.choose(model, seen, followed, seed=settings.seed)[0][1]
    return best, histories[[one is best for one in followed].index(True)]


def _stage(settings: Settings, name: str, model: Model, seen: Seen, last: Outcome, tell: Tell | None) -> Outcome:
    begun, stage, subject = time.monotonic(), settings.stage(name), subjects.in_space(name, model, seen.subject)
    found, history = _optimized(settings, name, stage, model, seen.replace(subject=subject), tell)
    made = scores(model, found, seen.target)
    main = "psnr" if "psnr" in made else "miou"
    kept = made[main] >= last.scores[main] - 1e-3
    return Outcome(name, found, history, time.monotonic() - begun, made, kept)


def _optimized(
    settings: Settings, name: str, stage: Stage, model: Model, seen: Seen, tell: Tell | None
) -> tuple[Subject, tuple[float, ...]]:
    """The subject after a stage's steps and iterations, and the losses of the steps."""
    free = tuple(settings.free) if name != "tune" else ()
    start = subjects.free_part(seen.subject, subjects.LATENTS[name], free)
    key = jax.random.fold_in(jax.random.key(settings.seed), sum(map(ord, name)))
    losses: tuple[float, ...] = ()
    if name == "w+" and settings.whole_masks and seen.image is None:
        stage = dataclasses.replace(stage, whole=True)
    loss = tuning_loss(stage) if name == "tune" else objectives.of_stage(name, stage)
    if stage.steps:
        found = loop.invert(
            model,
            seen,
            start,
            loss=loss,
            optimizer=optimizer(name, stage, free),
            steps=stage.steps,
            key=key,
            patience=stage.patience or None,
            tell=None if tell is None else lambda done, value: tell(name, done, stage.steps, value),
        )
        start, losses = found.params, tuple(found.losses.tolist())
    if stage.newton and name != "tune":
        refined = newton.refine(
            model,
            seen,
            start,
            residuals=objectives.residuals_of(stage.rays),
            iterations=stage.newton,
            key=jax.random.fold_in(key, 1),
            tell=None if tell is None else lambda done, value: tell(f"{name}, Gauss-Newton", done, stage.newton, value),
        )
        start = refined.params
    return subjects.joined(seen.subject, start), losses


@functools.cache
def optimizer(name: str, stage: Stage, free: tuple[str, ...]) -> optax.GradientTransformation:
    """Adam on the latent or the weights, and on the camera, each with its own cosine; the same object each time."""

    def adam(rate: float) -> optax.GradientTransformation:
        return optax.adam(
            optax.cosine_decay_schedule(rate, stage.steps, alpha=0.05), b2=0.95 if name != "tune" else 0.99
        )

    labels = {subjects.LATENTS[name]: "latent", "camera": "camera"}
    kinds = {"latent": adam(stage.learning_rate), "camera": adam(stage.camera_learning_rate)}
    return optax.multi_transform(kinds, labels)


@functools.cache
def tuning_loss(stage: Stage) -> Loss:
    """The loss of tuning: whole images, and two penalties on what that changes besides, both weighed by `staying`.

    The locality of pivotal tuning: a latent is drawn at each step, and moved half-way to the pivot's; its planes stay
    what they were. Ours: so do the pivot's own activations, which the semantic branch reads, so that labels of views
    that nobody compares stay. Changes are mean squares in units of what was there.
    """
    of_images = objectives.of_stage("tune", dataclasses.replace(stage, staying=0.0))

    def loss(model: Model, seen: Seen, params: Any, key: jax.Array) -> jax.Array:
        value = of_images(model, seen, params, jax.random.fold_in(key, 0))
        if not stage.staying:
            return value
        config, subject = model.generator.config, subjects.joined(seen.subject, params)
        z = jax.random.normal(jax.random.fold_in(key, 1), (config.z_dim,), jnp.float32)
        pivot = subjects.ws_of(model, subject)
        both = jnp.stack([(subjects.ws_of(model, Subject(z, None, subject.orbit)) + pivot) / 2, pivot])
        tuned = subjects.model_of(model, subject)
        before, after = (generator.synthesize_blocks(made.generator, both) for made in (model, tuned))
        changes = [_change(before.last[0], after.last[0])]
        changes += [_change(before.hidden[name][1], x[1]) for name, x in after.hidden.items()]
        return value + stage.staying * (changes[0] + jnp.mean(jnp.stack(changes[1:])))

    return loss


def _change(before: jax.Array, after: jax.Array) -> jax.Array:
    """The mean square of a change, in units of what was there."""
    before = jax.lax.stop_gradient(before)
    return jnp.mean(jnp.square(after - before)) / jnp.mean(jnp.square(before))


def scores(model: Model, subject: Subject, target: Target) -> dict[str, float]:
    """How well the subject's views agree with the target's."""
    found: dict[str, list[float]] = {}
    counts: Any = 0
    for v, view in enumerate(subjects.views_of(model, subject)):
        if target.image is not None:
            found.setdefault("psnr", []).append(float(_psnr(view.image, target.image[v], target.weights[v])))
        if target.mask is not None and view.mask is not None and model.semantic is not None:
            classes = model.semantic.config.num_classes
            counts = counts + np.asarray(metrics.confusion(target.mask[v], view.mask, classes), np.int64)
    means = {name: float(np.mean(values)) for name, values in found.items()}
    if not isinstance(counts, int):
        names = [str(i) for i in range(len(counts))]
        means |= {name: metrics.scores(counts, names)[name] for name in ("miou", "accuracy")}
    return means


@jax.jit
def _psnr(image: jax.Array, true: jax.Array, weights: jax.Array) -> jax.Array:
    """In dB, of what counts."""
    return metrics.psnr(jnp.clip(image, -1, 1), jnp.clip(true, -1, 1), mask=weights > 0.5)
