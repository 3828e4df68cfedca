"""What a generator of bodies has besides its planes: a latent's shape, told from w, and poses it was trained in."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dnerf_jax.models import generator
from dnerf_jax.models.articulated import ArticulationConfig
from dnerf_jax.models.generator import Generator
from dnerf_jax.ops import losses
from dnerf_jax.training.pretraining.plan import Settings
from dnerf_jax.worlds import streams
from dnerf_jax.worlds.bodies import poses
from dnerf_jax.worlds.shards import Shards
from dnerf_jax.worlds.views import World

LATENTS, STEPS, BATCH, LEARNING_RATE = 60_000, 8_000, 1024, 5e-2
_LEAST = 1e-5  # of the variances of w, as a share of the largest: what varies less is not made as large


def kept_poses(settings: Settings, shown: Shards) -> dict[str, np.ndarray]:
    """Poses and translations for a generator's template: of those it is trained in, some far from each other."""
    found = [shown[number] for number in range(len(shown) - settings.data.held_out)]
    rotations, translations = (np.stack([one[name] for one in found]) for name in ("rotations", "translation"))
    chosen = poses.far_apart(rotations, settings.architecture.articulation.num_poses)
    return {"poses": rotations[chosen].astype(np.float32), "translations": translations[chosen].astype(np.float32)}


def fitted(made: Generator, world: World) -> dict:
    """Parameters by which w tells the shapes of the world's bodies: of `generator.shape_decoder`.

    Renders of the mean body do not show them, and so a body would be of another shape than the one that is looked for
    by as much as this is off; they are known of any latent, however, so this is fitted to many more than are rendered.
    """
    moves = made.config.articulation
    assert moves is not None
    z = streams.stream("shapes", 0).standard_normal((LATENTS, made.config.z_dim)).astype(np.float32)
    w = np.asarray(jax.jit(lambda z: generator.map_latents(made, z)[:, 0])(z))
    known = np.stack([world.shape(one) for one in z])
    # Directions of w differ a hundredfold in how much they vary: as equals they are learned from at one rate.
    mean, (variance, axes) = w.mean(0), np.linalg.eigh(np.cov(w.T))
    equal = (axes / np.sqrt(np.maximum(variance, _LEAST * variance.max()))).astype(np.float32)
    params = _fit(moves, jnp.asarray((w - mean) @ equal), jnp.asarray(known))
    weight, bias = equal @ params["fc0"]["weight"], params["fc0"]["bias"]
    bias = bias - mean @ weight / np.sqrt(np.float32(len(mean)))
    return params | {"fc0": {"weight": weight, "bias": bias}}


@functools.partial(jax.jit, static_argnums=0)
def _fit(moves: ArticulationConfig, w: jax.Array, known: jax.Array) -> dict:
    decoder = generator.shape_decoder(moves)
    params = decoder.init(jax.random.key(0), w[:1])["params"]
    adam = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, STEPS, 0.005))

    def step(state: tuple, number: jax.Array) -> tuple[tuple, None]:
        params, moments = state
        chosen = jax.random.randint(jax.random.fold_in(jax.random.key(1), number), (BATCH,), 0, len(w))

        def loss(params: dict) -> jax.Array:
            return losses.mean_squared_error(decoder.apply({"params": params}, w[chosen]), known[chosen])

        updates, moments = adam.update(jax.grad(loss)(params), moments)
        return (optax.apply_updates(params, updates), moments), None

    return jax.lax.scan(step, (params, adam.init(params)), jnp.arange(STEPS))[0][0]
