"""How far a subject's renderings are from what they should be: on chosen rays, or on whole images.

Rays are compared with the target reduced to the neural rendering's size, which the raw image of an EG3D generator
matches (at 128 pixels to 41 dB on the embedded heads; at 32 pixels to 27, which is why no smaller rendering is used).
Whole images are compared as they are, through the super-resolution, with the gradient of some rays (see `pixels`).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from dnerf_jax.models import perception, pixels
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.model import Model
from dnerf_jax.models.perception import Perception
from dnerf_jax.ops import losses
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.resizing import resize
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.loop import Loss
from dnerf_jax.training.inversion.plan import Stage
from dnerf_jax.training.inversion.subject import Subject

EMPTY = 0.2  # how much more seldom rays through what is background are chosen
CLASSES = 1e-2  # weight of the mean cross-entropy of labels, where there is an image too


@struct.dataclass
class Target:
    """What is inverted: V views of one subject.

    image: (V, R, R, 3) in [-1, 1] and mask: (V, R, R) uint8 ids; either may be None.
    weights: (V, R, R) how much a pixel of the image counts, in [0, 1]; class_weights: (C,) of the mask's classes.
    """

    image: jax.Array | None
    mask: jax.Array | None
    weights: jax.Array
    class_weights: jax.Array | None = None


@struct.dataclass
class Seen:
    """A target prepared for the neural rendering of r x r pixels, P = V r r in all, and what is fixed of the subject.

    image: (P, 3) or None. labels: (P, C) shares of the classes, or None. weights: (P,). chance: (P,) of a ray to be
    chosen, of sum 1.
    """

    target: Target
    image: jax.Array | None
    labels: jax.Array | None
    weights: jax.Array
    chance: jax.Array
    subject: Subject
    network: Perception | None = None


def prepare(
    config: GeneratorConfig, target: Target, subject: Subject, classes: int, network: Perception | None = None
) -> Seen:
    """The target as steps look at it; `classes` is the branch's number of classes.

    network: the perceptual distance's, where a stage asks for it.
    """
    image, labels, weights, chance = _reduced(config, target, classes)
    return Seen(target, image, labels, weights, chance, subject, network)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _reduced(
    config: GeneratorConfig, target: Target, classes: int
) -> tuple[jax.Array | None, jax.Array | None, jax.Array, jax.Array]:
    """Image, labels, weights and chance of `Seen`."""
    size = config.neural_rendering_resolution
    weights = resize(target.weights[..., None], size, antialias=True)[..., 0]
    image = labels = None
    seen = jnp.ones_like(weights)
    if target.mask is not None:
        known = target.mask != LabelMap.IGNORE
        one_hot = jax.nn.one_hot(jnp.where(known, target.mask, 0), classes) * known[..., None]
        labels = resize(one_hot, size, antialias=True)
        seen = jnp.sum(labels, axis=-1)
        labels = labels.reshape(-1, classes)
    if target.image is not None:
        # What does not count colours nothing beside it.
        small = resize(target.image * target.weights[..., None], size, antialias=True)
        small = small / jnp.maximum(weights, 1e-6)[..., None]
        background = 1.0 if config.rendering.white_back else -1.0
        empty = jnp.max(jnp.abs(small - background), axis=-1) < 0.02
        seen = weights * jnp.where(empty, EMPTY, 1.0)
        image = small.reshape(-1, 3)
    chance = seen.reshape(-1) + 1e-6
    return image, labels, weights.reshape(-1), chance / jnp.sum(chance)


def residuals(count: int, model: Model, seen: Seen, params: Any, key: jax.Array) -> jax.Array:
    """Differences (count, 3) of colours, and with a mask (count, 3 + C), of `count` rays; squares sum to the mean.

    Labels enter as the difference of probabilities.
    """
    index, features, scores, importance = _rays(count, model, seen, params, key)
    parts = []
    if seen.image is not None:
        weight = jnp.sqrt(importance * seen.weights[index] / (3 * count))
        parts.append((features[:, :3] - seen.image[index]) * weight[:, None])
    if seen.labels is not None and scores is not None:
        wanted = seen.labels[index]
        weight = jnp.sqrt(importance * CLASSES / count)[:, None] * jnp.sqrt(_balance(seen, wanted))[:, None]
        total = jnp.sum(wanted, axis=-1, keepdims=True)
        parts.append((jax.nn.softmax(scores) * total - wanted) * weight)
    return jnp.concatenate(parts, axis=-1)


def ray_loss(count: int, model: Model, seen: Seen, params: Any, key: jax.Array) -> jax.Array:
    """The mean squared error of colours, and the cross-entropy of labels, estimated on `count` rays."""
    index, features, scores, importance = _rays(count, model, seen, params, key)
    loss = jnp.zeros((), jnp.float32)
    if seen.image is not None:
        error = jnp.mean(jnp.square(features[:, :3] - seen.image[index]), axis=-1)
        loss += jnp.mean(importance * seen.weights[index] * error)
    if seen.labels is not None and scores is not None:
        wanted = seen.labels[index]
        entropy = -jnp.sum(wanted * jax.nn.log_softmax(scores), axis=-1) * _balance(seen, wanted)
        loss += (1.0 if seen.image is None else CLASSES) * jnp.mean(importance * entropy)
    return loss


def _balance(seen: Seen, wanted: jax.Array) -> jax.Array:
    classes = seen.target.class_weights
    return jnp.ones(len(wanted)) if classes is None else wanted @ classes


def _rays(
    count: int, model: Model, seen: Seen, params: Any, key: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array]:
    """Rays drawn by chance: their places in (P,), features, raw label scores or None, and importance weights."""
    subject = subjects.joined(seen.subject, params)
    tuned = subjects.model_of(model, subject)
    size = model.generator.config.neural_rendering_resolution
    index = jax.random.choice(jax.random.fold_in(key, 0), len(seen.chance), (count,), p=seen.chance)
    camera = subjects.camera_of(subject)[index // (size * size)]
    if seen.labels is None:
        tuned = tuned.replace(semantic=None)
    scene = subjects.synthesize(tuned, subject)
    made = pixels.sample(tuned, scene, camera, index % (size * size))
    scores = None if made.semantic is None else pixels.scores(tuned, made)
    importance = 1 / (seen.chance[index] * len(seen.chance))
    return index, made.features, scores, importance


def image_loss(count: int, perceptual: float, model: Model, seen: Seen, params: Any, key: jax.Array) -> jax.Array:
    """The loss of one whole view, drawn by chance: mean squared error, perceptual distance, labels' cross-entropy."""
    of_view, of_rays = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    subject = subjects.joined(seen.subject, params)
    tuned = subjects.model_of(model, subject)
    if seen.labels is None:
        tuned = tuned.replace(semantic=None)
    size, target = model.generator.config.neural_rendering_resolution, seen.target
    view = jax.random.randint(of_view, (), 0, len(target.weights))
    index = jax.random.choice(of_rays, size * size, (count,), replace=False)
    camera = jax.tree.map(lambda x: x[view], subjects.camera_of(subject))
    scene = subjects.synthesize(tuned, subject)
    image, logits = pixels.complete(tuned, scene, camera, pixels.sample(tuned, scene, camera, index), index)
    loss = jnp.zeros((), jnp.float32)
    if target.image is not None:
        weights = target.weights[view]
        loss += jnp.mean(weights[..., None] * jnp.square(image - target.image[view]))
        if perceptual and seen.network is not None:
            loss += perceptual * perception.distance(seen.network, image, target.image[view], weights=weights)
    if target.mask is not None and logits is not None:
        entropy = losses.cross_entropy(logits, target.mask[view], class_weights=target.class_weights)
        loss += (1.0 if target.image is None else CLASSES) * entropy
    return loss


def leaving(params: Any) -> jax.Array:
    """How far ws (num_ws, w_dim) are from W: the mean squared distance to their mean."""
    ws = params["ws"]
    return jnp.mean(jnp.square(ws - jnp.mean(ws, axis=0)))


@functools.cache
def of_stage(name: str, stage: Stage) -> Loss:
    """The loss of a stage; the same object for the same settings, so that programs are compiled once."""

    def loss(model: Model, seen: Seen, params: Any, key: jax.Array) -> jax.Array:
        if stage.whole:
            value = image_loss(stage.rays, stage.perceptual, model, seen, params, key)
        else:
            value = ray_loss(stage.rays, model, seen, params, key)
        return value + stage.staying * leaving(params) if name == "w+" and stage.staying else value

    return loss


@functools.cache
def residuals_of(count: int) -> Any:
    """`residuals` of so many rays; the same object for the same number."""
    return functools.partial(residuals, count)
