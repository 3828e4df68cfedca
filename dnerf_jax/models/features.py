"""From a scene and a camera to feature images: rays, rendered in parts that memory has room for.

Of scenes, and of the body of one in a pose; what is empty is left out where that is asked for (see `skipping`), and
always beside a body.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from dnerf_jax.models import articulated, marching, semantic, skipping, surfaces
from dnerf_jax.models.model import Model
from dnerf_jax.models.occupancy import Bounds
from dnerf_jax.models.semantic import Selected, SemanticConfig
from dnerf_jax.models.views import Scene
from dnerf_jax.ops import broadcasting, cameras
from dnerf_jax.ops.cameras import Camera


def render(
    model: Model,
    resolution: int,
    rows: int,
    scene: Scene,
    camera: Camera,
    *,
    key: jax.Array | None = None,
    bounds: Bounds | None = None,
) -> tuple[jax.Array, jax.Array | None, surfaces.Surface]:
    """Feature image (h, w, F), semantic features or None, and surface of one scene from one camera.

    rows: of rays that are rendered together. key: draws the depths of samples at random. bounds: of the scene, where
    what is empty is to be skipped.
    """
    options = model.generator.config.rendering
    rays = cameras.rays(camera, resolution)
    if bounds is not None:
        planes, limits = (scene.planes, scene.semantic_planes), marching.ray_limits(options, rays)
        return skipping.render(model, planes, bounds, rays, limits, rays_at_once=rows * resolution, key=key)
    uniforms = marching.draw_uniforms(options, (resolution, resolution), key=key)
    if scene.body is not None:
        one = functools.partial(_render_rows, model, scene)
        empty, at_once = _empty(model, scene), rows * resolution
        return articulated.over_hits(one, empty, scene.body, rays, uniforms, rays_at_once=at_once)
    every = rays, uniforms, marching.ray_limits(options, rays)
    if rows == resolution:
        return _render_rows(model, scene, every)
    parts = broadcasting.with_batch(every, 1, (resolution // rows, rows))
    # What a part needed on the way is computed again for its gradient.
    found = jax.lax.map(jax.checkpoint(functools.partial(_render_rows, model, scene)), parts)
    return broadcasting.with_batch(found, 2, (resolution,))


def select(config: SemanticConfig, model: Model, scene: Scene, camera: Camera, *, rows: int) -> Selected:
    """What a branch of this form would composite (h, w, ...) of one scene from one camera, at the neural resolution.

    rows: of rays that are looked at together, beside a body.
    """
    options, resolution = model.generator.config.rendering, model.generator.config.neural_rendering_resolution
    rays = cameras.rays(camera, resolution)
    uniforms = marching.draw_uniforms(options, (resolution, resolution))

    def one(part: Any) -> Selected:
        rays, uniforms, limits = part
        marched = marching.march(model.generator, scene.planes, rays, uniforms=uniforms, limits=limits, body=scene.body)
        return semantic.select_samples(config, marched)

    if scene.body is None:
        return one((rays, uniforms, marching.ray_limits(options, rays)))
    flat = jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:]))[:1], (rays, uniforms))
    empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, (*flat, (jnp.zeros(1),) * 2)))
    return articulated.over_hits(one, empty, scene.body, rays, uniforms, rays_at_once=rows * resolution)


def _empty(model: Model, scene: Scene) -> tuple[jax.Array, jax.Array | None, surfaces.Surface]:
    """As `render`, for one ray (1,) that meets nothing."""
    config, none = model.generator.config, jnp.zeros(1, jnp.float32)
    of_labels = None
    if model.semantic is not None and scene.semantic_planes is not None:
        of_labels = semantic.background(model.semantic, config, scene.semantic_planes)
    surface = surfaces.Surface(none, none, jnp.zeros((1, 3), jnp.float32))
    return marching.background(config), of_labels, surface


def _render_rows(model: Model, scene: Scene, rows: Any) -> tuple[jax.Array, jax.Array | None, surfaces.Surface]:
    """As `render`, for rows of rays, with their uniforms and their limits."""
    config, (rays, uniforms, limits) = model.generator.config, rows
    body = scene.body
    samples = marching.march(model.generator, scene.planes, rays, uniforms=uniforms, limits=limits, body=body)
    semantic_features = None
    if model.semantic is not None and scene.semantic_planes is not None:
        selected = semantic.select_samples(model.semantic.config, samples)
        semantic_features = semantic.render(model.semantic, config, scene.semantic_planes, selected)
    normal = surfaces.normals(model.generator, scene.planes, samples, rays, body)
    surface = surfaces.Surface(samples.distance, samples.opacity, normal)
    return marching.feature_image(config, samples), semantic_features, surface
