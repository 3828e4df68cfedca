"""Some rays of a view: what an optimisation looks at, where a whole view with its gradient would cost ten times more.

    chosen = sample(model, scene, camera, index)                       N rays, with gradients
    image, logits = complete(model, scene, camera, chosen, index)      the whole view, through the super-resolutions

A whole view has the gradient of the chosen rays only, scaled so that with rays chosen evenly at random it is the whole
view's in expectation. The rest of the rays is rendered without (see `skipping`).
"""

import jax
import jax.numpy as jnp
from flax import struct

from dnerf_jax.models import features as image_features
from dnerf_jax.models import generator, marching, occupancy, scenes, semantic
from dnerf_jax.models.model import Model
from dnerf_jax.models.scenes import Scene
from dnerf_jax.ops import cameras
from dnerf_jax.ops.cameras import Camera


@struct.dataclass
class Pixels:
    """Rendered rays: features (N, F) in [-1, 1], the first three the raw image; semantic features (N, F') or None."""

    features: jax.Array
    semantic: jax.Array | None


def sample(model: Model, scene: Scene, camera: Camera, index: jax.Array, *, resolution: int | None = None) -> Pixels:
    """The rays of the pixels `index` (N,), counted row by row, of one scene from one camera or from N.

    resolution: of the neural rendering whose pixels they are; None is the checkpoint's.
    """
    config = model.generator.config
    size = config.neural_rendering_resolution if resolution is None else resolution
    uv = (jnp.stack([index % size, index // size], axis=-1) + 0.5) / size
    rays = cameras.rays_at(camera, uv)
    samples = marching.march(model.generator, scene.planes, rays, body=scene.body)
    of_semantic = None
    if model.semantic is not None and scene.semantic_planes is not None:
        selected = semantic.select_samples(model.semantic.config, samples)
        of_semantic = semantic.render(model.semantic, config, scene.semantic_planes, selected)
    return Pixels(marching.feature_image(config, samples), of_semantic)


def complete(
    model: Model, scene: Scene, camera: Camera, chosen: Pixels, index: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    """The image (R, R, 3) and the logits (R, R, C), or None, of one camera; gradients go through `chosen` alone."""
    config = model.generator.config
    size = config.neural_rendering_resolution
    frozen, still, stands = jax.lax.stop_gradient((model, scene, camera))
    bounds = occupancy.bounds(frozen.generator, still.planes) if scene.body is None else None
    rows = scenes.rows_that_fit(model, size)
    features, of_labels, _ = image_features.render(frozen, size, rows, still, stands, bounds=bounds)
    scale = size * size / len(index)

    def joined(rest: jax.Array, own: jax.Array) -> jax.Array:
        change = scale * (own - jax.lax.stop_gradient(own))
        return rest.reshape((size * size, -1)).at[index].add(change).reshape((size, size, -1))

    image = generator.super_resolve(model.generator, joined(features, chosen.features), scene.ws)
    if model.semantic is None or chosen.semantic is None or of_labels is None:
        return image, None
    whole = joined(of_labels, chosen.semantic)
    return image, semantic.super_resolve(model.semantic, config, whole)[1]


def scores(model: Model, chosen: Pixels) -> jax.Array:
    """Raw label scores (N, C) of rays, those of the raw semantic map. The model has a branch, and so have the rays."""
    if model.semantic is None or chosen.semantic is None:
        raise ValueError("these rays have no labels: the model has no semantic branch. Train one first.")
    return semantic.raw_scores(model.semantic, model.generator.config, chosen.semantic)
