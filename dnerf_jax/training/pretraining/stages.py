"""The steps of pretraining: two stages of rays, one of images; what each learns from is a function of seed and step."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct, traverse_util
from optax import contrib

from dnerf_jax.models import generator
from dnerf_jax.models.generator import Generator
from dnerf_jax.ops import images, losses
from dnerf_jax.training import heldout, runs
from dnerf_jax.training.pretraining import batches, supervision
from dnerf_jax.training.pretraining.batches import RayBatch
from dnerf_jax.training.pretraining.plan import Settings
from dnerf_jax.worlds import streams, views
from dnerf_jax.worlds.shards import Shards

Report = dict[str, jax.Array]


@struct.dataclass
class State:
    """What a run needs to go on: parameters, their moving average, both optimisers' states, the step."""

    params: dict
    ema: dict
    optimizer: optax.OptState
    superresolution_optimizer: optax.OptState
    step: jax.Array


@struct.dataclass
class Pool:
    """What the third stage learns from: feature images (N, h, w, F) float16, ws, and true images (N, R, R, 3) uint8."""

    features: np.ndarray
    ws: np.ndarray
    image: np.ndarray


def create_state(settings: Settings, params: dict) -> State:
    """The state before the first step."""
    state = State(
        params=params,
        ema=jax.tree.map(jnp.copy, params),
        optimizer=optimizer(learning_rate(settings), settings.mapping_boost).init(_backbone(params)),
        superresolution_optimizer=_superresolution_optimizer(settings).init(params["superresolution"]),
        step=jnp.zeros((), jnp.int32),
    )
    return runs.placed(state)


def initial_variables(settings: Settings) -> dict[str, Any]:
    """Random variables, with style weights scaled by `style_init` and later blocks silent, see `softened`."""
    variables = generator.init(settings.architecture, jax.random.key(settings.seed)).variables
    later = [2 * settings.plane_resolution(at) for at in settings.refine_at]
    made = {**variables, "params": softened(variables["params"], settings.style_init, later)}
    return (
        made | {"template": made["template"] | views.named(settings.world).template()} if "template" in made else made
    )


def softened(params: Mapping[str, Any], style_init: float, later: Iterable[int]) -> dict[str, Any]:
    """Random parameters of StyleGAN2, made fit for a regression.

    At StyleGAN's own scale every channel depends at random on the whole latent, which a regression has to unlearn
    before it learns anything.

    style_init: factor on the weights that turn w into styles. later: resolutions of the blocks that join in later,
        whose images are 0 until then.
    """
    flat, blocks = traverse_util.flatten_dict(params), {f"b{resolution}" for resolution in later}
    styles = {path: style_init * x for path, x in flat.items() if path[-2:] == ("affine", "weight")}
    silent = {path: 0 * x for path, x in flat.items() if path[1] in blocks and path[2:] == ("torgb", "weight")}
    return traverse_util.unflatten_dict(flat | styles | silent)


def fixed_variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    """What of a generator's variables is not trained."""
    return {name: values for name, values in variables.items() if name != "params"}


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def ray_step(
    settings: Settings,
    plane_resolution: int,
    finishing: bool,
    fixed: Mapping,
    state: State,
    batch: RayBatch,
    key: jax.Array,
) -> tuple[State, Report]:
    """One step of the first or (`finishing`) second stage, on planes of that size; returns the state and the losses.

    settings: compiled for `Settings.of_step`, as all that is said before `fixed`, see `fixed_variables`.
    """

    def loss_of(params: dict) -> tuple[jax.Array, Report]:
        made = _with(settings, params | {"superresolution": state.params["superresolution"]}, fixed)
        guided = None if finishing else settings.guided_sampling
        rendered = supervision.render(made, plane_resolution, batch, key, guided=guided)
        parts = {
            "color": losses.mean_squared_error(rendered.rgb, batch.rgb),
            "opacity": losses.binary_cross_entropy(rendered.opacity, batch.alpha),
            "depth": losses.depth_spread(
                rendered.weights, rendered.depths, batch.distance, (batch.alpha > 0.99).astype(jnp.float32)
            ),
        }
        if batch.shape is not None:
            told = generator.body_shape(made, generator.map_latents(made, batch.z))
            parts["shape"] = losses.mean_squared_error(told, batch.shape)
        weights = {
            "shape": settings.shape_weight,
            "color": settings.color_weight,
            "opacity": settings.opacity_weight,
            "depth": settings.depth_weight,
        }
        total = sum(weights[name] * part for name, part in parts.items())
        return total, parts | {"loss": total}

    params = _backbone(state.params)
    grads, report = jax.grad(loss_of, has_aux=True)(params)
    updates, moments = optimizer(learning_rate(settings), settings.mapping_boost).update(grads, state.optimizer, params)
    params = optax.apply_updates(params, updates)
    ema = optax.incremental_update(params, _backbone(state.ema), ema_rate(settings.ema_decay, state.step))
    return state.replace(
        params=state.params | params, ema=state.ema | ema, optimizer=moments, step=state.step + 1
    ), report


def ray_batch(settings: Settings, shards: Shards, step: int) -> RayBatch:
    """The rays of a step, from the seed and the step alone."""
    rng = streams.stream("rays", settings.seed, step)
    identities = rng.integers(settings.data.identities - settings.data.held_out, size=settings.identities_per_step)
    count = settings.rays_per_identity if step <= settings.steps else settings.finish_rays_per_identity
    world = views.named(settings.world)
    details = [world.LABELS.names.index(name) for name in world.DETAILS]
    return batches.rays(shards, identities, rng, count, settings.generator.neural_rendering_resolution, details)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def superresolution_step(
    settings: Settings, fixed: Mapping, state: State, features: jax.Array, ws: jax.Array, target: jax.Array
) -> tuple[State, Report]:
    """One step of the third stage; returns the state and the losses."""

    def loss_of(params: dict) -> tuple[jax.Array, Report]:
        made = _with(settings, state.ema | {"superresolution": params}, fixed)
        image = generator.super_resolve(made, features, ws)
        parts = {
            "image": losses.mean_squared_error(image, target),
            "gradient": losses.gradient_difference(image, target),
        }
        return settings.color_weight * parts["image"] + settings.gradient_weight * parts["gradient"], parts

    params = state.params["superresolution"]
    grads, report = jax.grad(loss_of, has_aux=True)(params)
    updates, optimizer = _superresolution_optimizer(settings).update(grads, state.superresolution_optimizer)
    params = optax.apply_updates(params, updates)
    rate = ema_rate(settings.ema_decay, state.step - settings.ray_steps)
    ema = optax.incremental_update(params, state.ema["superresolution"], rate)
    return state.replace(
        params=state.params | {"superresolution": params},
        ema=state.ema | {"superresolution": ema},
        superresolution_optimizer=optimizer,
        step=state.step + 1,
    ), report


def feature_pool(settings: Settings, made: Generator, shards: Shards) -> Pool:
    """The views that the third stage learns from, of the generator as the rays have left it."""
    rng = streams.stream("pool", settings.seed)
    chosen = rng.permutation(len(shards) - settings.data.held_out)[: settings.superresolution_views]
    parts = []
    for group in np.array_split(chosen, max(1, len(chosen) // 8)):
        true = batches.views(shards, group, rng.integers(shards.views_each, size=len(group)))
        rendered = heldout.render_features(made, true.z, true.camera, true.pose)
        parts.append(Pool(np.asarray(rendered.features, np.float16), np.asarray(rendered.ws), true.image))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def pool_batch(settings: Settings, pool: Pool, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A batch of the third stage: features, ws and true images in [-1, 1]."""
    chosen = streams.stream("pool_batches", settings.seed, step).integers(
        len(pool.ws), size=settings.identities_per_step
    )
    return pool.features[chosen].astype(np.float32), pool.ws[chosen], images.from_uint8(pool.image[chosen])


def learning_rate(settings: Settings) -> optax.Schedule:
    """The learning rate of the rays' two stages, a function of the step."""
    peak, warmup = settings.finish_learning_rate, settings.warmup_steps
    second = optax.warmup_cosine_decay_schedule(0.0, peak, warmup, max(settings.finish_steps, warmup + 1), peak / 40)
    return optax.join_schedules([falling_rate(settings), second], [settings.steps])


def falling_rate(settings: Any) -> optax.Schedule:
    """A linear warm-up, then exponential decay over the settings' `steps`, of DatasetGAN's too."""
    return optax.warmup_exponential_decay_schedule(
        init_value=0.0,
        peak_value=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        transition_steps=max(settings.steps - settings.warmup_steps, 1),
        decay_rate=settings.final_learning_rate / settings.learning_rate,
    )


def ema_rate(decay: float, step: jax.Array) -> jax.Array:
    """How much of the parameters goes into their moving average after `step` steps.

    The average of the first steps is short, so that it does not remember the random start.
    """
    return jnp.maximum(1 - decay, 1 / (1 + 0.1 * step))


def optimizer(rate: optax.Schedule, mapping_boost: float) -> optax.GradientTransformation:
    """Muon for StyleGAN2's matrices and kernels, Adam for the rest. mapping_boost: factor on the mapping's steps."""
    # Steps of equal size in all directions of a weight learn faster: 19.4 dB after 400 on coarse planes, Adam's 18.5.
    muon = contrib.muon(rate, adam_b1=0.9, adam_b2=0.99, consistent_rms=1.0, muon_weight_dimension_numbers=_matrices)
    # The mapping's own multiplier of 0.01, which steadies adversarial training, would all but freeze it here.
    boost = optax.masked(optax.scale(mapping_boost), lambda tree: {name: name == "mapping" for name in tree})
    return optax.chain(muon, boost)


def _with(settings: Settings, params: dict, fixed: Mapping) -> Generator:
    return Generator(settings.architecture, {"params": params, **fixed})


def _backbone(params: dict) -> dict:
    return {name: value for name, value in params.items() if name != "superresolution"}


def _matrices(params: Any) -> Any:
    """Which axes of a parameter are a matrix's rows, and which its columns; None where it is none."""
    axes = {2: contrib.MuonDimensionNumbers(0, 1), 4: contrib.MuonDimensionNumbers((0, 1, 2), 3)}
    return jax.tree.map(lambda x: axes.get(x.ndim), params)


def _superresolution_optimizer(settings: Settings) -> optax.GradientTransformation:
    schedule = optax.cosine_decay_schedule(
        settings.superresolution_learning_rate, max(settings.superresolution_steps, 1), 0.05
    )
    return optax.adam(schedule, b1=0.9, b2=0.99)
