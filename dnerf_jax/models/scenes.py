"""From a latent to a scene, and from a scene to views: the two calls that join everything below.

    scene = synthesize(model, z)                       # once per latent
    view = render(model, scene, camera)                # once per camera: image, mask, depth, points in one frame

Both are pure and differentiable, run under `jit` (the model is a pytree), and take leading batch dimensions.
No sample depends on the batch that it is in.
"""

import functools
import math
import os

import jax
import jax.numpy as jnp
from flax import struct

from dnerf_jax.models import generator, semantic
from dnerf_jax.networks.superresolution import resize
from dnerf_jax.ops import cameras, triplane


@struct.dataclass
class Scene:
    """A latent's tri-planes: ws (..., num_ws, w_dim), planes (..., 3, R, R, C), and the semantic branch's or None."""

    ws: jax.Array
    planes: jax.Array
    semantic_planes: jax.Array | None


@struct.dataclass
class View:
    """What one camera sees. Everything but `image_raw` is at the final image's resolution R.

    image: (..., R, R, 3) about [-1, 1]. image_raw: (..., r, r, 3), before super-resolution.
    logits: (..., R, R, C) and mask: (..., R, R) uint8 ids, or None without a semantic branch.
    depth_z: (..., R, R) along the optical axis and distance: (..., R, R) along the ray, in world units; where less
      than half of a ray is stopped they are infinite.
    opacity: (..., R, R) in [0, 1]. points: (..., R, R, 3) in the world frame; where empty, the camera's centre.
    camera: (...).
    """

    image: jax.Array
    image_raw: jax.Array
    logits: jax.Array | None
    mask: jax.Array | None
    depth_z: jax.Array
    distance: jax.Array
    opacity: jax.Array
    points: jax.Array
    camera: cameras.Camera


def synthesize(
    model, z=None, c=None, *, ws=None, truncation_psi=1.0, truncation_cutoff=None, noise_mode="const", key=None
):
    """The scene of latents z (..., z_dim), or of ws (..., num_ws, w_dim) as they are.

    Args:
      c: (..., 25) camera for the mapping, where the generator has one. Default: frontal, as in EG3D's scripts.
      truncation_psi, truncation_cutoff: see `generator.map_latents`.
      noise_mode: "const" (reproducible), "none", or "random" with a key of the batch's shape.
    """
    config = model.config
    if (z is None) == (ws is None):
        raise ValueError("Pass either z or ws.")
    if ws is None:
        if config.c_dim and c is None:
            c = cameras.to_eg3d(default_camera(config))
        ws = generator.map_latents(
            config, model.variables, z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff
        )
    outputs = generator.synthesize_planes(config, model.variables, ws, noise_mode=noise_mode, key=key)
    semantic_planes = None
    if model.semantic_config is not None:
        features = semantic.select_features(model.semantic_config, outputs)
        semantic_planes = semantic.project(model.semantic_config, config, model.semantic_params, features)
    return Scene(ws, triplane.split_channels(outputs.last, len(config.plane_axes)), semantic_planes)


def default_camera(config, yaw=0.0, pitch=0.0):
    """A camera (...) on the generator's own orbit; yaw and pitch (...) in radians, frontal by default."""
    options = config.rendering
    return cameras.orbit(yaw, pitch, radius=options.avg_camera_radius, pivot=options.avg_camera_pivot)


def render(model, scene, camera, *, key=None, resolution=None, rows_at_once=None):
    """What `camera` sees of `scene`; their leading dimensions agree, or either has none.

    Args:
      key: of the batch's shape, draws the depths of samples at random as EG3D does. None places them at fixed
        quantiles: deterministic, and without flicker between views.
      resolution: of the neural rendering; None is the checkpoint's.
      rows_at_once: how many rows of rays of every view are rendered together, a divisor of the resolution; None is as
        many as fit an eighth of the memory. The result does not depend on it.
    """
    resolution = resolution or model.config.neural_rendering_resolution
    batch = jnp.broadcast_shapes(scene.ws.shape[:-2], camera.cam2world.shape[:-2])
    scene = jax.tree.map(lambda x, d: jnp.broadcast_to(x, batch + x.shape[x.ndim - d :]), scene, _dims(scene))
    camera = cameras.Camera(
        jnp.broadcast_to(camera.cam2world, batch + (4, 4)), jnp.broadcast_to(camera.intrinsics, batch + (3, 3))
    )
    rows = rows_at_once or _rows_that_fit(model, scene, resolution, math.prod(batch))
    if resolution % rows:
        raise ValueError(f"rows_at_once is {rows}: it must divide the {resolution} rows of the neural rendering.")
    one = lambda scene, camera, key: _render_one(model, scene, camera, key, resolution, rows)  # noqa: E731
    for _ in batch:
        one = jax.vmap(one, in_axes=(0, 0, None if key is None else 0))
    features, phi, distance, opacity = one(scene, camera, key)

    config = model.config
    image = generator.super_resolve(config, model.variables, features, scene.ws, key=key)
    logits = mask = None
    if phi is not None:
        _, logits = semantic.super_resolve(model.semantic_config, config, model.semantic_params, phi)
        mask = jnp.argmax(logits, axis=-1).astype(jnp.uint8)
    distance, opacity = _upsample_distance(distance, opacity, config.image_resolution)
    rays = cameras.rays(camera, config.image_resolution)
    solid = jnp.isfinite(distance)
    # Products with infinity would have gradients in the camera that are NaN.
    finite = jnp.where(solid, distance, 0.0)
    return View(
        image=image,
        image_raw=features[..., :3],
        logits=logits,
        mask=mask,
        depth_z=jnp.where(solid, finite * cameras.z_per_distance(camera, config.image_resolution), jnp.inf),
        distance=distance,
        opacity=opacity,
        points=rays.origins + finite[..., None] * rays.directions,
        camera=camera,
    )


def _render_one(model, scene, camera, key, resolution, rows):
    """Feature image, semantic feature map or None, distance and opacity of one scene from one camera."""
    config = model.config
    rays = cameras.rays(camera, resolution)
    uniforms = generator.draw_uniforms(config, (resolution, resolution), key=key)
    every = rays, uniforms, generator.ray_limits(config, rays)
    if rows == resolution:
        return _render_rows(model, scene, every)
    parts = jax.tree.map(lambda x: x.reshape((-1, rows) + x.shape[1:]), every)
    # What a part needed on the way is computed again for its gradient.
    found = jax.lax.map(jax.checkpoint(functools.partial(_render_rows, model, scene)), parts)
    return jax.tree.map(lambda x: x.reshape((-1,) + x.shape[2:]), found)


def _render_rows(model, scene, rows):
    """As `_render_one`, for rows of rays, with their uniforms and their limits."""
    config = model.config
    rays, uniforms, limits = rows
    samples = generator.march(config, model.variables, scene.planes, rays, uniforms=uniforms, limits=limits)
    phi = None
    if scene.semantic_planes is not None:
        arguments = (model.semantic_config, config, model.semantic_params, scene.semantic_planes)
        if model.semantic_config.density_prior:
            phi = semantic.render(*arguments, *semantic.select_samples(model.semantic_config, samples))
        else:
            phi = semantic.render_own_density(*arguments, samples.points, samples.depths, samples.order)
    return generator.feature_image(config, samples), phi, samples.distance, samples.opacity


def _rows_that_fit(model, scene, resolution, views):
    """The largest divisor of the resolution so many rows of which, of all views, fit an eighth of the memory."""
    config = model.config
    samples = config.rendering.depth_resolution + config.rendering.depth_resolution_importance
    # What a sample occupies: its planes' features and hidden layer before and after, its features, and scalars.
    floats = config.plane_channels + 2 * config.decoder_hidden + 2 * config.feature_channels + 32
    if scene.semantic_planes is not None and model.semantic_config.samples_kept is None:
        floats += 2 * model.semantic_config.hidden
    row = 4 * floats * samples * resolution * views
    divisors = [rows for rows in range(1, resolution + 1) if resolution % rows == 0]
    return max([rows for rows in divisors if rows * row <= _memory() / 8], default=1)


@functools.cache
def _memory():
    """Bytes of memory of the first device, or of the machine if the device does not say."""
    known = jax.local_devices()[0].memory_stats() or {}
    return known.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _upsample_distance(distance, opacity, resolution):
    """Distance and opacity (..., h, w) at the final resolution; the distance of empty rays does not bleed in."""
    both = jnp.stack([distance * opacity, opacity], axis=-1)
    both = resize(both, resolution, antialias=False)
    opacity = both[..., 1]
    solid = opacity > 0.5
    return jnp.where(solid, both[..., 0] / jnp.where(solid, opacity, 1.0), jnp.inf), jnp.clip(opacity, 0.0, 1.0)


def _dims(scene):
    """How many trailing dimensions of every array of a scene are not batch dimensions."""
    return Scene(2, 4, None if scene.semantic_planes is None else 4)
