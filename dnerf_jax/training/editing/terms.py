"""The loss of section 5.4, term by term, on some rays and on whole images.

    L = lambda_1 L_label(G_semantic; M_edit) + lambda_2 L_rgb(r' G_rgb; r' I) + lambda_3 L_vgg(r' G_rgb; r' I)
        + identity + staying

Labels are the edited mask's inside of the region of interest r, and the branch's own before elsewhere. r' is what lies
outside of r, and I what the scene looked like before: in the view that was edited, and in further ones, where r' leaves
out the edited classes as they were and as they are now.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from dnerf_jax.models import identity, perception, pixels
from dnerf_jax.models.model import Model
from dnerf_jax.ops.precision import einsum
from dnerf_jax.training.editing import wanted as wants
from dnerf_jax.training.editing.plan import Stage, Terms
from dnerf_jax.training.editing.wanted import Wanted
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.loop import Loss


def ray_terms(count: int, model: Model, wanted: Wanted, params: Any, key: jax.Array) -> dict[str, jax.Array]:
    """The label and the rgb term, estimated on `count` rays of all views."""
    index, made, scores, importance, kept = _rays(count, model, wanted, params, key)
    labels, here = _labels(wanted, index)
    entropy = -jnp.sum(labels * jax.nn.log_softmax(scores), axis=-1)
    error = jnp.mean(jnp.square(made - wanted.raw[index]), axis=-1)
    return {"label": jnp.mean(importance * here * entropy), "rgb": jnp.mean(importance * jnp.square(kept) * error)}


def residuals(count: int, terms: Terms, model: Model, wanted: Wanted, params: Any, key: jax.Array) -> jax.Array:
    """What Gauss-Newton squares and sums: as `ray_terms`, with labels as differences of probabilities, and staying."""
    index, made, scores, importance, kept = _rays(count, model, wanted, params, key)
    labels, here = _labels(wanted, index)
    total = jnp.sum(labels, axis=-1, keepdims=True)
    weight = jnp.sqrt(terms.label * importance * here * total[:, 0] / count)
    of_labels = (jax.nn.softmax(scores) - labels / jnp.maximum(total, 1e-8)) * weight[:, None]
    of_colors = (made - wanted.raw[index]) * (kept * jnp.sqrt(terms.rgb * importance / (3 * count)))[:, None]
    away = [jnp.sqrt(terms.staying) * x.reshape(-1) for x in _away(model, wanted, params)]
    return jnp.concatenate([of_labels.reshape(-1), of_colors.reshape(-1), *away])


def image_terms(
    count: int, terms: Terms, model: Model, wanted: Wanted, params: Any, key: jax.Array
) -> dict[str, jax.Array]:
    """All terms but staying on one whole view; gradients are those of `count` of its rays.

    Half of the views drawn are the one that was edited, and only this one has labels and a face.
    """
    of_view, of_rays = jax.random.split(key)
    views, size = len(wanted.image), model.generator.config.neural_rendering_resolution
    first = jnp.zeros(views).at[0].set(1.0)
    chance = first if views == 1 else 0.5 * first + 0.5 * (1 - first) / (views - 1)
    view = jax.random.choice(of_view, views, p=chance)
    index = jax.random.choice(of_rays, size * size, (count,), replace=False)
    subject = subjects.joined(wanted.subject, params)
    tuned = subjects.model_of(model, subject)
    camera = jax.tree.map(lambda x: x[view], subjects.camera_of(subject))
    scene = subjects.synthesize(tuned, subject)
    image, logits = pixels.complete(tuned, scene, camera, pixels.sample(tuned, scene, camera, index), index)
    assert logits is not None  # `wanted.look` asked for a branch
    return of_image(terms, wanted, view, image, logits)


def of_image(
    terms: Terms, wanted: Wanted, view: jax.Array, image: jax.Array, logits: jax.Array
) -> dict[str, jax.Array]:
    """All terms but staying of a rendered view: image (R, R, 3) and logits (R, R, C)."""
    is_first = (view == 0).astype(jnp.float32)
    now = jax.lax.stop_gradient(einsum("...c,c->...", jax.nn.softmax(logits), wanted.edited))
    kept = wanted.outside[view] * (1 - (1 - is_first) * now)
    before = wanted.image[view]
    entropy = jnp.mean(-jnp.sum(wanted.labels * jax.nn.log_softmax(logits), axis=-1))
    found = {
        "label": is_first * entropy,
        "rgb": jnp.mean(jnp.square(kept[..., None] * (image - before))),
    }
    if terms.perceptual and wanted.perception is not None:
        # Both with the region cut out, as the paper writes it.
        found["perceptual"] = perception.distance(
            wanted.perception, kept[..., None] * image, kept[..., None] * before, weights=kept
        )
    if terms.identity and wanted.face is not None:
        face = wanted.face
        found["identity"] = is_first * identity.distance(wants.describe(face.network, image, face.points), face.before)
    return found


def weighed(terms: Terms, found: dict[str, jax.Array]) -> jax.Array:
    """The sum of terms with their weights."""
    return sum((getattr(terms, name) * value for name, value in found.items()), start=jnp.zeros(()))


def staying(model: Model, wanted: Wanted, params: Any) -> jax.Array:
    """The squared distance from where the edit began, as a share of what that is itself."""
    return sum((jnp.sum(jnp.square(x)) for x in _away(model, wanted, params)), start=jnp.zeros(()))


@functools.cache
def of_stage(stage: Stage, terms: Terms) -> Loss:
    """The loss of a stage; the same object for the same settings, so that programs are compiled once."""

    def loss(model: Model, wanted: Wanted, params: Any, key: jax.Array) -> jax.Array:
        if stage.whole:
            found = image_terms(stage.rays, terms, model, wanted, params, key)
        else:
            found = ray_terms(stage.rays, model, wanted, params, key)
        return weighed(terms, found) + terms.staying * staying(model, wanted, params)

    return loss


@functools.cache
def residuals_of(stage: Stage, terms: Terms) -> Any:
    """`residuals` of a stage; the same object for the same settings."""
    return functools.partial(residuals, stage.rays, terms)


def _rays(
    count: int, model: Model, wanted: Wanted, params: Any, key: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Rays drawn by chance: places in (V r r,), colours, label scores, importance, and how much they should stay."""
    subject = subjects.joined(wanted.subject, params)
    tuned = subjects.model_of(model, subject)
    size = model.generator.config.neural_rendering_resolution
    # Of a key of its own: Gauss-Newton looks at the same rays several times.
    own = jax.random.fold_in(key, 0)
    index = jax.random.choice(own, len(wanted.chance), (count,), p=wanted.chance)
    view = index // (size * size)
    camera = subjects.camera_of(subject)[view]
    made = pixels.sample(tuned, subjects.synthesize(tuned, subject), camera, index % (size * size))
    scores = pixels.scores(tuned, made)
    importance = 1 / (wanted.chance[index] * len(wanted.chance))
    now = jax.lax.stop_gradient(einsum("...c,c->...", jax.nn.softmax(scores), wanted.edited))
    kept = wanted.raw_outside[index] * jnp.where(view == 0, 1.0, 1 - now)
    return index, made.features[:, :3], scores, importance, kept


def _labels(wanted: Wanted, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The classes' wanted shares of these rays (N, C), and V for those of the first view, 0 for others (N,)."""
    first = len(wanted.raw_labels)
    here = jnp.where(index < first, len(wanted.raw) / first, 0.0)
    return wanted.raw_labels[index % first], here


def _away(model: Model, wanted: Wanted, params: Any) -> list[jax.Array]:
    """Differences from before the edit, divided by the length of what was before: their squares sum to `staying`."""
    names = [name for name in params if name != "camera"]
    before = {name: getattr(wanted.subject, name) for name in names}
    length = jnp.sqrt(sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(before)))
    moved = jax.tree.map(lambda now, then: (now - then) / length, {name: params[name] for name in names}, before)
    return jax.tree.leaves(moved)
