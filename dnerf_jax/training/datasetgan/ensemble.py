"""Teaches the ensemble: which class a pixel has, from its features in the 2D generator, at the labelled views' latents.

The features are those of the generator's own image of a view's latent and camera, the labels the view's exact ones, as
our semantic branch has it too. All networks learn at once; each sees pixels of its own.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from dnerf_jax.io.packs import Annotations
from dnerf_jax.models import image_generators, pixel_labellers
from dnerf_jax.models.image_generators import ImageGenerator
from dnerf_jax.models.pixel_labellers import PixelLabeller, PixelLabellerConfig
from dnerf_jax.ops import losses
from dnerf_jax.training import logs, runs
from dnerf_jax.training.datasetgan.distilling import cameras_of
from dnerf_jax.training.datasetgan.plan import Ensemble, Settings
from dnerf_jax.training.segmentation.batches import fitted


@struct.dataclass
class Pool:
    """What is learned from: features (P, F) float16 of pixels, and their labels (P,) uint8, 255 = ignore."""

    features: Any
    labels: Any


@struct.dataclass
class State:
    """Parameters and averages of all networks, the optimiser's state, the step."""

    params: Any
    batch_stats: Any
    optimizer: optax.OptState
    step: jax.Array


def learn(settings: Settings, generator: ImageGenerator, pack: Annotations) -> PixelLabeller:
    """The ensemble of a generator, taught by the labelled views of a pack."""
    wanted = settings.ensemble
    config = PixelLabellerConfig(sum(generator.config.widths), wanted.widths, wanted.members, pack.label_map)
    of_start, of_steps = jax.random.split(jax.random.key(settings.seed))
    start = pixel_labellers.init(config, of_start)
    params = start.params["params"]
    moments = optax.adam(wanted.learning_rate).init(params)
    state = runs.placed(State(params, start.params["batch_stats"], moments, jnp.zeros((), jnp.int32)))
    known = runs.placed(pool(settings, generator, pack))
    print(f"{len(known.labels):,} pixels of {config.features} features each", flush=True)
    progress = logs.Progress(wanted.steps, every=20)
    for step in range(1, wanted.steps + 1):
        state, report = train_step(wanted, config, state, known, of_steps)
        progress.update(step, report)
    logs.require_finite(report, wanted.steps)
    return start.replace(params={"params": state.params, "batch_stats": state.batch_stats})


def pool(settings: Settings, generator: ImageGenerator, pack: Annotations) -> Pool:
    """Random pixels of all views of a pack, at the generator's resolution."""
    size, draws = generator.config.resolution, np.random.default_rng([settings.seed, len(pack)])
    count, c = min(settings.ensemble.pixels, size**2), cameras_of(pack.camera)
    parts = []
    for view in range(len(pack)):
        chosen = draws.choice(size**2, count, replace=False)
        mask = fitted(pack.images[view], pack.masks[view], size)[1]
        parts.append((np.asarray(_features(generator, pack.z[view], c[view], chosen)), mask.reshape(-1)[chosen]))
    return Pool(*(np.concatenate(part) for part in zip(*parts, strict=True)))


@jax.jit
def _features(generator: ImageGenerator, z: jax.Array, c: jax.Array, chosen: jax.Array) -> jax.Array:
    outputs = image_generators.synthesize(generator, z[None], c[None])
    features = image_generators.pixel_features(outputs, generator.config.resolution)
    return features.reshape(-1, features.shape[-1])[chosen].astype(jnp.float16)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def train_step(
    settings: Ensemble, config: PixelLabellerConfig, state: State, known: Pool, key: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    """One step of all networks on random pixels, of the run's `key` and the step; returns the state and the metrics."""
    shape = (config.members, settings.batch)
    drawn = jax.random.randint(jax.random.fold_in(key, state.step), shape, 0, len(known.labels))

    def of_one(params: Any, batch_stats: Any, drawn: jax.Array) -> tuple[jax.Array, Any, jax.Array]:
        x, labels = known.features[drawn].astype(jnp.float32), known.labels[drawn]
        variables = {"params": params, "batch_stats": batch_stats}
        made, changed = config.module.apply(variables, x, train=True, mutable=["batch_stats"])
        return losses.cross_entropy(made, labels), changed["batch_stats"], jnp.mean(jnp.argmax(made, axis=-1) == labels)

    def loss_of(params: Any) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
        loss, batch_stats, right = jax.vmap(of_one)(params, state.batch_stats, drawn)
        # The sum, so that what a network learns does not depend on how many others there are.
        return jnp.sum(loss), (batch_stats, {"loss": jnp.mean(loss), "accuracy": jnp.mean(right)})

    grads, (batch_stats, report) = jax.grad(loss_of, has_aux=True)(state.params)
    updates, moments = optax.adam(settings.learning_rate).update(grads, state.optimizer)
    return State(optax.apply_updates(state.params, updates), batch_stats, moments, state.step + 1), report
