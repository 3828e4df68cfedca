"""What an edit wants, prepared for the steps that seek it: the edited mask, and all that is to stay.

The view in which a mask was edited comes first. Further views, beside it, are ours and not the paper's: an edit that is
looked at from one side only may break the others.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dnerf_jax.models import identity
from dnerf_jax.models.identity import Identity
from dnerf_jax.models.model import Model
from dnerf_jax.models.perception import Perception
from dnerf_jax.ops import mask_edits, regions
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some
from dnerf_jax.ops.orbiting import Orbit
from dnerf_jax.ops.resizing import resize
from dnerf_jax.training.editing.plan import Settings
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.subject import Subject

EMPTY = 0.2  # how much more seldom rays are chosen that were empty and should be
INSIDE = 0.5  # of all rays go through the region of interest, as small as it may be


@struct.dataclass
class Face:
    """Whose face it was: the network, its five points (5, 2) in the edited view, and the descriptor (D,) before."""

    network: Identity
    points: jax.Array
    before: jax.Array


@struct.dataclass
class Wanted:
    """An edit of a subject seen in V views of R x R pixels, the edited one first, of r x r in the neural rendering.

    subject: before the edit; its orbits (V,) are the views.
    mask: (R, R) uint8 ids that the first view should have. image: (V, R, R, 3) in [-1, 1], before.
    outside: (V, R, R) 1 where the image should stay, 0 in the region of interest; in between at its edge.
    edited: (C,) 1 for classes that are edited. labels: (R, R, C) probabilities wanted in the first view, times their
    weight, which is 1 in the mean: in the region the mask's, elsewhere the branch's own before.
    raw: (V r r, 3) colours of the neural rendering before; raw_outside (V r r,) and raw_labels (r r, C) as above.
    chance: (V r r,) of a ray to be chosen, of sum 1.
    """

    subject: Subject
    mask: jax.Array
    image: jax.Array
    outside: jax.Array
    edited: jax.Array
    labels: jax.Array
    raw: jax.Array
    raw_outside: jax.Array
    raw_labels: jax.Array
    chance: jax.Array
    perception: Perception | None = None
    face: Face | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Before:
    """A scene before an edit: its subject with the orbits (V,) of all views, the edited one first, and what they see.

    image: (V, R, R, 3), raw: (V, r, r, 3), mask: (V, R, R) uint8, logits: (R, R, C) of the first view; NumPy.
    """

    subject: Subject
    image: np.ndarray
    raw: np.ndarray
    mask: np.ndarray
    logits: np.ndarray


def look(settings: Settings, model: Model, subject: Subject, view: Orbit) -> Before:
    """The scene from the view () to be edited and from the further ones.

    Raises ValueError: the model has no semantic branch.
    """
    if model.semantic is None or model.label_map is None:
        raise ValueError(
            "edits are made through the semantic branch, and the checkpoint of this scene has none: train one, then"
            " invert with that checkpoint"
        )
    turns = np.radians([0.0, *settings.views]).astype(np.float32)
    orbit = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(turns), *jnp.shape(x))), view.spread())
    subject = subject.replace(orbit=orbit.replace(yaw=orbit.yaw + turns))
    seen = subjects.views_of(model, subject)
    raw, image, mask = (
        np.stack([np.asarray(getattr(v, name)) for v in seen]) for name in ("image_raw", "image", "mask")
    )
    return Before(subject, image, raw, mask, np.asarray(seen[0].logits))


def prepare(
    settings: Settings,
    model: Model,
    before: Before,
    mask: np.ndarray,
    *,
    labels: Sequence[int] | None = None,
    perception: Perception | None = None,
    network: Identity | None = None,
) -> Wanted:
    """What is wanted, where the first view's mask (R, R) should become another.

    Args:
      mask: ids of the model's label map, 255 where nothing is wanted.
      labels: ids of the classes that were edited, where it is known (`mask_edits.labels_of`); None finds those of which
        at least the share `least` has changed.
      perception, network: of the perceptual term, and of the identity; the latter for the embedded heads, whose
        landmarks are known.

    Raises ValueError: the mask has another size, or ids that are none; it is what the view has already; an edited class
    is nowhere, before and after.
    """
    assert model.label_map is not None and model.semantic is not None
    wanted, size = model.label_map.check(mask), before.mask.shape[-1]
    if wanted.shape != (size, size):
        raise ValueError(
            f"the edited mask has {wanted.shape[1:] and wanted.shape[1]} x {wanted.shape[0]} pixels, expected the"
            f" view's own {size} x {size}: edit the mask before.png that this command writes, without resizing it"
        )
    known = np.where(wanted == LabelMap.IGNORE, before.mask[0], wanted)
    region = mask_edits.region(before.mask[0], known, labels=labels, least=settings.least, dilate=settings.margin)
    edited = edited_labels(before.mask[0], known, least=settings.least) if labels is None else tuple(labels)
    missing = [model.label_map.names[i] for i in edited if not ((known == i) | (before.mask[0] == i)).any()]
    if missing:
        raise ValueError(f"{some(missing)} cannot be edited in this view, which shows none: choose another view")
    inside = [region] + [regions.near(np.isin(one, edited), settings.margin * size) for one in before.mask[1:]]
    outside = 1.0 - np.stack(inside).astype(np.float32)
    r = model.generator.config.neural_rendering_resolution
    classes = model.semantic.config.num_classes
    labels_wanted = _labels(before, wanted, region, settings.class_balance)
    kept = resize(jnp.asarray(outside)[..., None], r, antialias=True)[..., 0]
    empty = np.stack(
        [(one == 0) & (want == 0) for one, want in zip(before.mask, [known, *before.mask[1:]], strict=True)]
    )
    full = 1 - resize(jnp.asarray(empty, jnp.float32)[..., None], r, antialias=True)[..., 0]
    region_share = (1 - kept).at[1:].set(0.0)
    chance = _share(EMPTY + (1 - EMPTY) * full) * (1 - INSIDE) + _share(region_share) * INSIDE
    return Wanted(
        subject=before.subject,
        mask=jnp.asarray(wanted),
        image=jnp.asarray(before.image),
        outside=jnp.asarray(outside),
        edited=jnp.zeros(classes).at[jnp.array(edited)].set(1.0),
        labels=labels_wanted,
        raw=jnp.asarray(before.raw).reshape(-1, 3),
        raw_outside=kept.reshape(-1),
        raw_labels=resize(labels_wanted, r, antialias=True).reshape(-1, classes),
        chance=chance.reshape(-1),
        perception=perception if settings.terms.perceptual else None,
        face=None if network is None else _face(network, before),
    )


def edited_labels(before: np.ndarray, after: np.ndarray, *, least: float) -> tuple[int, ...]:
    """The classes of which at least this share, of all pixels before or after, has changed: else the most changed."""
    shares = {}
    for label in np.union1d(before[before != after], after[before != after]):
        union = (before == label) | (after == label)
        shares[int(label)] = float((before != after)[union].mean())
    most = max(shares.values())
    return tuple(label for label, share in shares.items() if share >= min(least, most))


def _share(x: jax.Array) -> jax.Array:
    return x / jnp.sum(x)


def _labels(before: Before, mask: np.ndarray, region: np.ndarray, power: float) -> jax.Array:
    """Weighed probabilities (R, R, C): the region and the rest count alike, however small the region.

    A branch that is unsure would be pulled by a mask's hard labels everywhere, not only where there is an edit.
    """
    known = mask != LabelMap.IGNORE
    soft = np.asarray(jax.nn.softmax(jnp.asarray(before.logits)))
    classes = soft.shape[-1]
    hard = np.eye(classes, dtype=np.float32)[np.where(known, mask, 0)]
    counts = np.bincount(mask[region & known], minlength=classes)[:classes].astype(np.float32)
    balance = np.where(counts > 0, np.maximum(counts, 1.0), np.inf) ** -power
    inside = np.where(region & known, balance[np.where(known, mask, 0)], 0.0)
    rest = ~region & known
    weight = 0.5 * mask.size * (inside / max(inside.sum(), 1e-8) + rest / max(rest.sum(), 1.0))
    return jnp.asarray(weight[..., None] * np.where(region[..., None], hard, soft), jnp.float32)


def _face(network: Identity, before: Before) -> Face:
    camera = jax.tree.map(lambda x: x[0], subjects.camera_of(before.subject))
    points = identity.points_of(network, camera, before.image.shape[-2])
    return Face(network, points, describe(network, jnp.asarray(before.image[0]), points))


@jax.jit
def describe(network: Identity, image: jax.Array, points: jax.Array) -> jax.Array:
    """The descriptor (D,) of the face in an image (R, R, 3) with these five points (5, 2)."""
    return identity.describe(network, identity.align(network, image, points))
