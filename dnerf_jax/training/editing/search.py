"""Seeking an edit, stage by stage: in z, the paper's; in w and w+, for what no z has; in the generator's weights.

Each stage begins where the one before ended, and is taken if the loss, of the whole final view, is less by it. Stages
after one whose edited classes agree well enough with the wanted mask are not run.
"""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dnerf_jax.models import identity
from dnerf_jax.models.model import Model
from dnerf_jax.ops import metrics
from dnerf_jax.training.editing import terms, wanted
from dnerf_jax.training.editing.plan import Settings, Stage
from dnerf_jax.training.editing.wanted import Wanted
from dnerf_jax.training.inversion import loop, newton
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.stages import Outcome, Tell
from dnerf_jax.training.inversion.subject import Subject


def run(settings: Settings, model: Model, want: Wanted, *, tell: Tell | None = None) -> list[Outcome]:
    """All stages that the settings name, "before" the first; the loss in their `scores` is what they are compared by.

    tell: called with the stage, its steps done and in all, and the loss.

    Raises ValueError: the only stage is "z", and the scene has no latent z.
    """
    begun, start = time.monotonic(), want.subject
    outcomes = [Outcome("before", start, (), time.monotonic() - begun, scores(settings, model, want, start))]
    names = [name for name in settings.stages if name != "z" or start.z is not None]
    if not names:
        raise ValueError("the stage z needs a latent z, and this scene has only ws: edit it with w or w+")
    for name in names:
        last = result(outcomes)
        if last.stage != "before" and last.scores["iou"] >= settings.enough:
            break
        outcomes.append(_stage(settings, name, model, want, last, tell))
    return outcomes


def result(outcomes: list[Outcome]) -> Outcome:
    """The last stage that was taken."""
    return next(outcome for outcome in reversed(outcomes) if outcome.kept)


def scores(settings: Settings, model: Model, want: Wanted, subject: Subject) -> dict[str, Any]:
    """How well a subject agrees with what is wanted, in plain numbers.

    loss: of section 5.4, and terms: what it is summed of, unweighed, on the first view.
    iou: of the edited classes, in the mean, and per_class: of each, with the wanted mask. accuracy, miou: of all.
    outside: mean absolute difference of colours, from 0 to 1, outside of the region in the first view; views: the same
    in all, the region there being edited classes before and now. identity: distance of the faces, or None.
    areas: share of the pixels that each edited class has in each view.
    """
    assert model.label_map is not None
    names, seen = model.label_map.names, subjects.views_of(model, subject)
    found = {name: float(x) for name, x in _terms(settings.terms, want, seen[0].image, seen[0].logits).items()}
    loss = sum(getattr(settings.terms, name) * value for name, value in found.items())
    made = metrics.scores(metrics.confusion(want.mask, seen[0].mask, len(names)), names)
    edited = np.flatnonzero(np.asarray(want.edited))
    of_edited = {names[i]: made["per_class"][names[i]] for i in edited}
    known = [value for value in of_edited.values() if value is not None]
    changes = [_change(want, v, view.image, view.mask) for v, view in enumerate(seen)]
    who = None
    if want.face is not None:
        now = wanted.describe(want.face.network, seen[0].image, want.face.points)
        who = float(identity.distance(now, want.face.before))
    return {
        "loss": loss,
        "terms": found,
        "iou": float(np.mean(known)) if known else 0.0,
        "per_class": of_edited,
        "miou": made["miou"],
        "accuracy": made["accuracy"],
        "outside": changes[0],
        "views": changes,
        "identity": who,
        "areas": {names[i]: [float(np.mean(np.asarray(view.mask) == i)) for view in seen] for i in edited},
    }


def _change(want: Wanted, number: int, image: jax.Array, mask: jax.Array | None) -> float:
    """The mean absolute difference of colours in [0, 1] outside of the region."""
    kept = np.asarray(want.outside[number])
    if number:
        kept = kept * ~np.isin(np.asarray(mask), np.flatnonzero(np.asarray(want.edited)))
    shown, before = (np.clip(np.asarray(x), -1, 1) for x in (image, want.image[number]))
    difference = np.abs(shown - before).mean(axis=-1) / 2
    return float((kept * difference).sum() / max(kept.sum(), 1e-8))


@functools.partial(jax.jit, static_argnums=0)
def _terms(of: Any, want: Wanted, image: jax.Array, logits: jax.Array) -> dict[str, jax.Array]:
    return terms.of_image(of, want, jnp.zeros((), jnp.int32), image, logits)


def _stage(settings: Settings, name: str, model: Model, want: Wanted, last: Outcome, tell: Tell | None) -> Outcome:
    begun, stage = time.monotonic(), settings.stage(name)
    began, start = (subjects.in_space(name, model, one) for one in (want.subject, last.subject))
    seen, free = want.replace(subject=began), subjects.free_part(start, subjects.LATENTS[name], ())
    key = jax.random.fold_in(jax.random.key(settings.seed), sum(map(ord, name)))
    losses: tuple[float, ...] = ()
    if stage.steps:
        found = loop.invert(
            model,
            seen,
            free,
            loss=terms.of_stage(stage, settings.terms),
            optimizer=_optimizer(stage),
            steps=stage.steps,
            key=key,
            tell=None if tell is None else lambda done, value: tell(name, done, stage.steps, value),
        )
        free, losses = found.params, tuple(found.losses.tolist())
    if stage.newton:
        refined = newton.refine(
            model,
            seen,
            free,
            residuals=terms.residuals_of(stage, settings.terms),
            iterations=stage.newton,
            key=jax.random.fold_in(key, 1),
            tell=None if tell is None else lambda done, value: tell(f"{name}, Gauss-Newton", done, stage.newton, value),
        )
        free = refined.params
    subject = subjects.joined(start, free)
    made = scores(settings, model, want, subject)
    kept = made["loss"] < last.scores["loss"]
    return Outcome(name, subject, losses, time.monotonic() - begun, made, kept)


@functools.cache
def _optimizer(stage: Stage) -> optax.GradientTransformation:
    rate = optax.cosine_decay_schedule(stage.learning_rate, stage.steps, alpha=0.05)
    return optax.adam(rate, b2=0.95)
