"""What a semantic branch is trained on, computed once: the generator is frozen, so all that depends on it stays.

Of every labelled latent its features; of every labelled view the samples that carry the ray's weight, and its labels.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dnerf_jax.io.packs import Annotations
from dnerf_jax.models import features, generator, scenes, semantic
from dnerf_jax.models.articulated import Pose
from dnerf_jax.models.model import Model
from dnerf_jax.models.semantic import Selected, SemanticConfig
from dnerf_jax.models.views import Scene
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.labels import LabelMap

ROWS = 8  # of rays that are looked at together beside a body: what misses it is sorted out by so many


@struct.dataclass
class Frozen:
    """What training needs of the generator, for N views of L latents.

    features: selected block outputs of the latents, a list of (L, R, R, channels). latent: (N,) index into them.
    selected: the samples (N, h, w, S) that are composited. masks: (N, R, R) labels. class_weights: (C,) of the loss.
    """

    features: list[jax.Array]
    latent: jax.Array
    selected: Selected
    masks: jax.Array
    class_weights: jax.Array


def freeze(
    config: SemanticConfig,
    model: Model,
    pack: Annotations,
    *,
    class_balance: float = 0.0,
    selected: Selected | None = None,
) -> Frozen:
    """Computes `Frozen` for all views of a pack, one view at a time.

    Args:
      class_balance: see `class_weights`.
      selected: what `freeze_samples` found for the same pack, if it is known.
    """
    selected = selected or freeze_samples(config, model, pack)
    _, first, latent = np.unique(pack.latent_id, return_index=True, return_inverse=True)
    return Frozen(
        features=_collect(lambda i: _features(config, model, pack.z[first[i]], pack.truncation_psi), len(first)),
        latent=jnp.asarray(latent),
        selected=selected,
        masks=jnp.asarray(pack.masks),
        class_weights=jnp.asarray(class_weights(pack.masks, config.num_classes, class_balance)),
    )


def freeze_samples(config: SemanticConfig, model: Model, pack: Annotations) -> Selected:
    """The samples (N, h, w, S) of all views of a pack.

    They depend on the generator and, of the branch, on `density_prior` and `samples_kept` alone.
    """
    scene = functools.lru_cache(maxsize=1)(lambda first: _scene(model, pack.z[first], pack.truncation_psi))
    _, first, latent = np.unique(pack.latent_id, return_index=True, return_inverse=True)

    def one(i: int) -> Selected:
        pose = jax.tree.map(lambda x: x[i], pack.pose)
        return _samples(config, model, scene(first[latent[i]]), pack.camera[i], pose)

    return _collect(one, len(pack))


def frozen_bytes(config: SemanticConfig, model: Model, latents: int, views: int) -> int:
    """The memory that `Frozen` takes for so many views of so many latents, without computing it."""

    def one(z: jax.Array, camera: Camera) -> Any:
        return _features(config, model, z, 1.0), _samples(config, model, _scene(model, z, 1.0), camera, None)

    def size(tree: Any) -> int:
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))

    setup = model.generator.config
    features, samples = jax.eval_shape(one, jnp.zeros(setup.z_dim), scenes.default_camera(setup))
    return latents * size(features) + views * (size(samples) + setup.image_resolution**2)


def class_weights(masks: np.ndarray, num_classes: int, balance: float) -> np.ndarray:
    """Weights (C,) float32 of the classes of masks: share of the pixels to the power -balance, 1 for the largest."""
    counts = np.bincount(masks[masks != LabelMap.IGNORE], minlength=num_classes)
    return (counts.max() / np.maximum(counts, 1)).astype(np.float32) ** balance


def choose(frozen: Frozen, views: jax.Array, *, patch: int | None = None, key: jax.Array | None = None) -> Frozen:
    """What is frozen of the views (B,) alone, or of a patch of each.

    Args:
      patch: width and height of the patches in rays; None is whole views. Static under `jit`.
      key: where the patches lie; needed for them.
    """
    selected, masks = jax.tree.map(lambda x: x[views], (frozen.selected, frozen.masks))
    if patch is not None:
        if key is None:
            raise ValueError("Patches lie at random: pass a key.")
        grid = frozen.selected.points.shape[1]
        corners = jax.random.randint(key, (len(views), 2), 0, grid - patch + 1, jnp.int32)

        def crop(array: jax.Array, corner: jax.Array) -> jax.Array:
            scale = array.shape[0] // grid  # labels are finer than rays
            start = jnp.zeros(array.ndim, jnp.int32).at[:2].set(scale * corner)
            return jax.lax.dynamic_slice(array, list(start), (scale * patch,) * 2 + array.shape[2:])

        selected, masks = jax.tree.map(lambda x: jax.vmap(crop)(x, corners), (selected, masks))
    return frozen.replace(latent=frozen.latent[views], selected=selected, masks=masks)


def _collect(make: Callable[[int], Any], count: int) -> Any:
    """The trees of arrays make(0), make(1), ... stacked, without keeping them one by one, or all of them twice."""
    for i in range(count):
        part = make(i)
        if i == 0:
            whole = jax.tree.map(lambda x: jnp.zeros((count, *x.shape), x.dtype), part)
        whole = _put(whole, part, i)
    return whole


@functools.partial(jax.jit, donate_argnums=0)
def _put(whole: Any, part: Any, i: int) -> Any:
    """A tree of stacked arrays, with that of `part` at i; in place."""
    return jax.tree.map(lambda array, x: array.at[i].set(x), whole, part)


@functools.partial(jax.jit, static_argnums=0)
def _features(config: SemanticConfig, model: Model, z: jax.Array, psi: float) -> list[jax.Array]:
    """The selected features of one latent."""
    ws = scenes.synthesize(model, z, truncation_psi=psi).ws
    return semantic.select_features(config, generator.synthesize_blocks(model.generator, ws))


@jax.jit
def _scene(model: Model, z: jax.Array, psi: float) -> Scene:
    """The scene of one latent."""
    return scenes.synthesize(model, z, truncation_psi=psi)


@functools.partial(jax.jit, static_argnums=0)
def _samples(config: SemanticConfig, model: Model, scene: Scene, camera: Camera, pose: Pose | None) -> Selected:
    """The samples of one view that are composited, of a body in a pose."""
    scene = scene if pose is None else scenes.repose(model, scene, pose)
    return features.select(config, model, scene, camera, rows=ROWS)
