"""From a latent to a scene, and from a scene to views: the two calls that join everything below.

    scene = synthesize(model, z)                       # once per latent
    view = render(model, scene, camera)                # once per camera: image, mask, depth, points in one frame

Both are pure and differentiable, run under `jit` (the model is a pytree), and take leading batch dimensions.
No sample depends on the batch that it is in.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from dnerf_jax.models import articulated, features, generator, occupancy, semantic, surfaces
from dnerf_jax.models.articulated import ArticulationConfig, Body, Pose
from dnerf_jax.models.generator import Generator, GeneratorConfig
from dnerf_jax.models.model import Model
from dnerf_jax.models.occupancy import Bounds
from dnerf_jax.models.views import Scene, View
from dnerf_jax.ops import broadcasting, cameras, checks, keys
from dnerf_jax.ops.batched import Batched
from dnerf_jax.ops.cameras import Camera

MEMORY = 2**27  # bytes for the rays that are rendered together, unless told: what CPUs are quickest with


def synthesize(
    model: Model,
    z: jax.Array | None = None,
    c: jax.Array | None = None,
    *,
    ws: jax.Array | None = None,
    truncation_psi: float | jax.Array = 1.0,
    truncation_cutoff: int | None = None,
    noise_mode: str = "const",
    key: jax.Array | None = None,
    pose: Pose | None = None,
) -> Scene:
    """The scene of latents z (..., z_dim), or of ws (..., num_ws, w_dim) as they are.

    Args:
      c: (..., 25) camera for the mapping, where the generator has one. Default: frontal, as in EG3D's scripts.
      truncation_psi, truncation_cutoff: see `generator.map_latents`; the latter is static under `jit`.
      noise_mode: "const" (reproducible), "none", or "random" with a key of the batch's shape; static under `jit`.
      pose: (...) of an articulated generator's body; None is its canonical pose. See `repose`.

    Raises ValueError: latents or c have another size, keys another shape, or there is no latent at all; a pose is given
    to a generator that has none, or is not one of its template.
    """
    config = model.generator.config
    if (z is None) == (ws is None):
        raise ValueError("Pass either z or ws: the one is mapped to the other.")
    if ws is None:
        kept: Any = {"truncation_psi": truncation_psi, "truncation_cutoff": truncation_cutoff}
        ws = to_ws(model.generator, z, c, **kept)  # type: ignore[arg-type]
    ws = jnp.asarray(ws, jnp.float32)
    outputs = generator.synthesize_blocks(model.generator, ws, noise_mode=noise_mode, key=key)
    semantic_planes = None
    if model.semantic is not None:
        selected = semantic.select_features(model.semantic.config, outputs)
        semantic_planes = semantic.synthesize_planes(model.semantic, config, selected)
    scene = Scene(ws, generator.to_planes(config, outputs), semantic_planes)
    return scene if config.articulation is None and pose is None else repose(model, scene, pose)


def repose(model: Model, scene: Scene, pose: Pose | None = None) -> Scene:
    """The scene (...) in another pose (...), None for the canonical one; its planes, which no pose changes, stay.

    One scene and several poses, or the other way round, are several scenes.

    Raises ValueError: the generator has no body; the pose is not one of its template, or does not broadcast.
    """
    config = model.generator.config.articulation
    if config is None:
        raise ValueError("a pose was given, and this generator has no body that could take it: leave it out")
    template = model.generator.variables["template"]
    pose = articulated.check(config, articulated.still(config, template) if pose is None else pose)
    try:
        batch = jnp.broadcast_shapes(scene.batch_shape, pose.batch_shape)
    except ValueError:
        raise ValueError(f"scenes {scene.batch_shape} and poses {pose.batch_shape} do not broadcast") from None

    def spread(tree: Batched) -> Any:
        dims = len(tree.batch_shape)
        return jax.tree.map(lambda x: jnp.broadcast_to(x, batch + x.shape[dims:]), tree)

    own = generator.body_shape(model.generator, scene.ws)
    if own is not None:
        pose = spread(pose).replace(shape=pose.shape + own)
    body = articulated.body(config, template, pose)
    plain = scene.replace(body=None)  # type: ignore[attr-defined]
    return spread(plain).replace(body=spread(body))


def to_canonical(model: Model, scene: Scene, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where points (N, 3) of the world of one scene's pose lie in the canonical one, and whether a body is there (N,).

    Clouds and visible points of all poses meet there. Raises ValueError: the scene is a batch, or has no body; points
    have another shape.
    """
    config, body = _one_body(model, scene)
    checks.shape("points", points, 3)
    return articulated.to_canonical(config, body, jnp.asarray(points, jnp.float32))


def to_posed(model: Model, scene: Scene, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where canonical points (N, 3) lie in the world of one scene's pose; raises as `to_canonical`, its inverse."""
    config, body = _one_body(model, scene)
    checks.shape("points", points, 3)
    return articulated.to_posed(config, body, jnp.asarray(points, jnp.float32))


def _one_body(model: Model, scene: Scene) -> tuple[ArticulationConfig, Body]:
    check(model, scene)
    config = model.generator.config.articulation
    if config is None or scene.body is None:
        raise ValueError("the scene has no body that could be in a pose: its generator is not articulated")
    if scene.batch_shape:
        raise ValueError(f"the scene is a batch of shape {scene.batch_shape}, expected one: index it, scene[0]")
    return config, scene.body


def to_ws(made: Generator, z: jax.Array, c: jax.Array | None = None, **truncation: Any) -> jax.Array:
    """As `generator.map_latents`, conditioned on the frontal camera where c is None, as in EG3D's scripts."""
    if made.config.c_dim and c is None:
        c = cameras.to_eg3d(default_camera(made))
    return generator.map_latents(made, z, c, **truncation)


def default_camera(model: Model | Generator | GeneratorConfig, yaw: ArrayLike = 0.0, pitch: ArrayLike = 0.0) -> Camera:
    """A camera (...) on the generator's own orbit: EG3D's own, in position, direction and focal length.

    Yaw and pitch (...) are radians, frontal by default. `docs/cameras.md` has the published models'. Raises ValueError
    as `cameras.orbit`: angles in degrees, for instance.
    """
    made = model.generator if isinstance(model, Model) else model
    options = (made.config if isinstance(made, Generator) else made).rendering
    return cameras.orbit(
        yaw,
        pitch,
        radius=options.avg_camera_radius,
        pivot=options.avg_camera_pivot,
        focal=options.avg_camera_focal,
    )


def render(
    model: Model,
    scene: Scene,
    camera: Camera,
    *,
    key: jax.Array | None = None,
    resolution: int | None = None,
    rows_at_once: int | None = None,
    skip_empty: bool = False,
    bounds: Bounds | None = None,
) -> View:
    """What `camera` sees of `scene`; their leading dimensions are broadcast, and what is shared is not copied.

    Args:
      key: of the batch's shape, draws the depths of samples at random as EG3D does, and the super-resolution's noise
        where that is random (published models have none). None places samples at fixed quantiles: deterministic, and
        without flicker between views.
      resolution: of the neural rendering; None is the checkpoint's. Static under `jit`.
      rows_at_once: how many rows of rays of every view are rendered together, a divisor of the resolution; None is as
        many as `rows_that_fit` MEMORY. The result does not depend on it. Static under `jit`.
      skip_empty: leaves out what is empty or hidden, as making data does: nearly the same views, without gradients, one
        after the other (see `skipping`). Of a body rays beside it are always left out, and nothing else. Static under
        `jit`.
      bounds: what `bounds` found of the scene, for `skip_empty`; None has it found for this call.

    Under an outer `vmap` the rows of all views of the batch are rendered together: choose fewer then.

    Raises ValueError: scene or camera are something else, were made by another model, do not broadcast, or are none;
    the camera is not one that `cameras.validate` accepts (which cannot be seen under `jit`); an option does not fit.
    """
    for name, value in (("resolution", resolution), ("rows_at_once", rows_at_once)):
        if isinstance(value, jax.core.Tracer):
            raise ValueError(
                f"{name} is traced, expected a number: it is static, so write jax.jit(render, "
                'static_argnames=("resolution", "rows_at_once")).'
            )
    check(model, scene)
    camera, batch = _together(scene, camera)
    config = model.generator.config
    resolution = checks.count("resolution", config.neural_rendering_resolution if resolution is None else resolution)
    key = keys.of_batch(key, batch, entry="view")
    if not skip_empty or scene.body or (model.semantic is not None and not model.semantic.config.density_prior):
        bounds = None  # a branch's own density may lie anywhere
    elif bounds is None:
        bounds = occupancy.bounds(model.generator, scene.planes)
    shapes = [() if x is None else x.batch_shape for x in (scene, camera, bounds)]
    shapes.insert(2, () if key is None else key.shape)
    if bounds is not None and batch:

        def alone(scene: Scene, camera: Camera, key: jax.Array | None, bounds: Bounds) -> View:
            every: Any = {"key": key, "bounds": bounds, "resolution": resolution, "rows_at_once": rows_at_once}
            return render(model, scene, camera, skip_empty=True, **every)

        return broadcasting.over_batch(alone, batch, shapes, scene, camera, key, bounds, one_by_one=True)
    rows = rows_that_fit(model, resolution, views=math.prod(batch)) if rows_at_once is None else rows_at_once
    if resolution % checks.count("rows_at_once", rows):
        raise ValueError(f"rows_at_once is {rows}: it must divide the {resolution} rows of the neural rendering.")
    of_depths, of_noise = broadcasting.split_each(key)

    def one(scene: Scene, camera: Camera, key: jax.Array | None, bounds: Bounds | None) -> Any:
        return features.render(model, resolution, rows, scene, camera, key=key, bounds=bounds)

    rendered = broadcasting.over_batch(one, batch, shapes, scene, camera, of_depths, bounds)
    image_features, semantic_features, surface = rendered
    ws = jnp.broadcast_to(scene.ws, batch + scene.ws.shape[-2:])
    image = generator.super_resolve(model.generator, image_features, ws, key=of_noise)
    raw = logits = mask = confidence = None
    if model.semantic is not None and semantic_features is not None:
        raw, logits = semantic.super_resolve(model.semantic, config, semantic_features)
        mask = jnp.argmax(logits, axis=-1).astype(jnp.uint8)
        confidence = jnp.exp(jnp.max(logits, axis=-1) - jax.nn.logsumexp(logits, axis=-1))
    camera = jax.tree.map(lambda x: jnp.broadcast_to(x, batch + x.shape[-2:]), camera)
    surface = surfaces.upsample(surface, config.image_resolution)
    rays = cameras.rays(camera, config.image_resolution)
    solid = jnp.isfinite(surface.distance)
    # Products with infinity would have gradients in the camera that are NaN.
    finite = jnp.where(solid, surface.distance, 0.0)
    return View(
        image=image,
        image_raw=image_features[..., :3],
        logits=logits,
        mask=mask,
        confidence=confidence,
        semantic_raw=raw,
        depth_z=jnp.where(solid, finite * cameras.z_per_distance(camera, config.image_resolution), jnp.inf),
        distance=surface.distance,
        opacity=surface.opacity,
        points=rays.origins + finite[..., None] * rays.directions,
        normal=surface.normal,
        camera=camera,
    )


def bounds(model: Model, scene: Scene) -> Bounds:
    """Where the scene (...) may hold anything: once per scene, for its views with `skip_empty`. Raises as `check`."""
    check(model, scene)
    return occupancy.bounds(model.generator, scene.planes)


def check(model: Model, scene: Scene) -> None:
    """Raises ValueError if this is no scene, or not one with all that the model renders."""
    if not isinstance(scene, Scene):
        raise ValueError(f"{_what(scene)} was given for the scene: make one of latents first, synthesize(model, z)")
    if model.semantic is not None and scene.semantic_planes is None:
        raise ValueError(
            "the model has a semantic branch, the scene no planes for it: it was made by a model without one. Make it "
            "anew, synthesize(model, ws=scene.ws)"
        )
    if (model.generator.config.articulation is None) != (scene.body is None):
        raise ValueError(
            "the model has a body, the scene none, or the other way round: it was made by another model. Make it anew, "
            "synthesize(model, ws=scene.ws)"
        )


def _together(scene: Scene, camera: Camera) -> tuple[Camera, tuple[int, ...]]:
    """The camera, float32, its leading dimensions on both matrices, and those of all views. Or says what is wrong."""
    if not isinstance(camera, Camera):
        raise ValueError(
            f"{_what(camera)} was given for the camera: default_camera(model) is one, cameras.from_eg3d(c)"
        )
    camera = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), camera.spread())
    cameras.validate(camera)
    try:
        batch = jnp.broadcast_shapes(scene.batch_shape, camera.batch_shape)
    except ValueError:
        raise ValueError(
            f"scenes {scene.batch_shape} and cameras {camera.batch_shape} do not broadcast. Every scene from every "
            "camera, where both have one leading dimension: render(model, scene[:, None], camera[None])"
        ) from None
    if not math.prod(batch):
        raise ValueError(f"there is nothing to render: scenes {scene.batch_shape}, cameras {camera.batch_shape}")
    return camera, batch


def _what(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" if shape is None else f"an array of shape {tuple(shape)}"


def rows_that_fit(model: Model, resolution: int, *, views: int = 1, memory: float = MEMORY) -> int:
    """The largest divisor of the resolution so many rows of which, of all views, take at most `memory` bytes."""
    config = model.generator.config
    samples = config.rendering.depth_resolution + config.rendering.depth_resolution_importance
    # What a sample occupies: its planes' features and hidden layer before and after, its features, and scalars.
    floats = config.plane_channels + 2 * config.decoder_hidden + 2 * config.feature_channels + 32
    if model.semantic is not None and model.semantic.config.samples_kept is None:
        floats += 2 * model.semantic.config.hidden
    row = 4 * floats * samples * resolution * views
    divisors = [rows for rows in range(1, resolution + 1) if resolution % rows == 0]
    return max([rows for rows in divisors if rows * row <= memory], default=1)
