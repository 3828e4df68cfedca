"""The semantic branch as pure functions: from block outputs to planes, from samples to logits.

What is computed, and the names of its parts, are in `networks.semantic_head`. The weights of a ray's samples are those
of the frozen generator's density (the density prior), or of a density that the branch learns (the paper's ablation).
The background, a class like any other, is what lies behind the remaining weight.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from dnerf_jax.models import articulated
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.marching import Samples
from dnerf_jax.networks import semantic_head
from dnerf_jax.networks.semantic_head import SemanticConfig, SemanticHead
from dnerf_jax.networks.stylegan2 import BlockOutputs, block_resolutions, by_resolution
from dnerf_jax.ops import volume


@struct.dataclass
class Branch:
    """A semantic branch: its configuration, static under `jit`, and its parameters."""

    config: SemanticConfig = struct.field(pytree_node=False)
    params: Mapping[str, Any]


@struct.dataclass
class Selected:
    """What a branch composites of the samples of rays (...): points (..., S, 3), and how they are weighed.

    weights: (..., S), with the density prior. depths, order: (..., S) where the samples lie along the ray, in the order
    of the points, and what sorts them, for a density of the branch's own; inside: (..., S) of a body, whether there is
    any of it.
    """

    points: jax.Array
    weights: jax.Array | None = None
    depths: jax.Array | None = None
    order: jax.Array | None = None
    inside: jax.Array | None = None


@functools.partial(jax.jit, static_argnums=(0, 1))
def init(config: SemanticConfig, generator_config: GeneratorConfig, key: jax.Array) -> Branch:
    """A branch with random parameters, on generators of this configuration.

    Raises ValueError: the number of classes is 0, which settings of a training leave to the labelled views.
    """
    if not config.num_classes:
        raise ValueError("num_classes is 0, expected that of a label map: a training takes it from its labelled views")
    sizes, widths = feature_resolutions(config, generator_config), feature_widths(config, generator_config)
    features = [jnp.zeros((1, size, size, width), jnp.float32) for size, width in zip(sizes, widths, strict=True)]
    return Branch(config, network(config, generator_config).init(key, features)["params"])


def abstract(config: SemanticConfig, generator_config: GeneratorConfig) -> Branch:
    """A branch of shapes and dtypes instead of arrays."""
    return jax.eval_shape(lambda: init(config, generator_config, jax.random.key(0)))


def network(
    config: SemanticConfig, generator_config: GeneratorConfig, *, resolution: int | None = None
) -> SemanticHead:
    """The Linen module of a branch; its logits have the resolution of the generator's images unless told."""
    widths = feature_widths(config, generator_config)
    return SemanticHead(config, widths, resolution or generator_config.image_resolution)


def feature_widths(config: SemanticConfig, generator_config: GeneratorConfig) -> tuple[int, ...]:
    """Channels of the selected features, coarse to fine.

    Raises ValueError: the configuration has scales that are not the generator's.
    """
    scales = _scales(config, generator_config)
    image = len(generator_config.plane_axes) * generator_config.plane_channels
    if config.features == "skip":
        return (image,) * len(scales)
    hidden = tuple(min(generator_config.channel_base // r, generator_config.channel_max) for r in scales)
    return hidden + ((image,) if "last" in config.features else ())


def feature_resolutions(config: SemanticConfig, generator_config: GeneratorConfig) -> tuple[int, ...]:
    """Resolutions of the selected features, in the same order; "last" comes last, as fine as the finest block."""
    scales = _scales(config, generator_config)
    return scales + ((generator_config.plane_resolution,) if "last" in config.features else ())


def _scales(config: SemanticConfig, generator_config: GeneratorConfig) -> tuple[int, ...]:
    """The resolutions of the blocks whose activations or images are selected."""
    known = tuple(block_resolutions(generator_config.plane_resolution))
    if config.features == "last":
        return ()
    if unknown := sorted(set(config.scales or ()) - set(known)):
        raise ValueError(f"scales has {unknown}, but this generator's blocks have the resolutions {list(known)}")
    return config.scales or known


def select_features(config: SemanticConfig, outputs: BlockOutputs) -> list[jax.Array]:
    """The chosen block outputs, coarse to fine: (..., R, R, channels) each, at unit mean square per sample.

    Scales differ in magnitude by orders; so scaled, the rows of W_1 are comparable. What is in half precision stays so.
    """
    blocks = {} if config.features == "last" else outputs.skip if config.features == "skip" else outputs.hidden
    chosen = [x for x in by_resolution(blocks) if config.scales is None or x.shape[-2] in config.scales]
    chosen += [outputs.last] if "last" in config.features else []
    return [_at_unit_scale(x) for x in chosen]


def _at_unit_scale(x: jax.Array) -> jax.Array:
    wide = x.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=(-3, -2, -1), keepdims=True) + 1e-8)
    return (wide * scale).astype(x.dtype)


def select_samples(config: SemanticConfig, samples: Samples) -> Selected:
    """What a branch composites: the heaviest `samples_kept` of every ray, or all of them."""
    if not config.density_prior:
        return Selected(samples.points, depths=samples.depths, order=samples.order, inside=samples.inside)
    if config.samples_kept is None:
        return Selected(samples.points, samples.weights)
    weights, points = volume.heaviest(samples.weights, samples.points, config.samples_kept)
    return Selected(points, weights)


def channel_norms(branch: Branch, generator_config: GeneratorConfig) -> list[jax.Array]:
    """How much a branch makes of every channel of its features; see `networks.semantic_head.channel_norms`."""
    widths = feature_widths(branch.config, generator_config)
    return semantic_head.channel_norms(branch.config, widths, branch.params["first_weight"])


def shrink_channels(branch: Branch, generator_config: GeneratorConfig, by: float | jax.Array) -> Branch:
    """A branch that makes less of every channel, or nothing; see `networks.semantic_head.shrink_channels`."""
    widths = feature_widths(branch.config, generator_config)
    first = semantic_head.shrink_channels(branch.config, widths, branch.params["first_weight"], by)
    return Branch(branch.config, {**branch.params, "first_weight": first})


def synthesize_planes(branch: Branch, generator_config: GeneratorConfig, features: list[jax.Array]) -> jax.Array:
    """The branch's planes (..., 3, R, R, hidden) of selected features, a list of (..., R_s, R_s, channels)."""
    batch = features[0].shape[:-3]
    flat = [x.reshape((-1, *x.shape[-3:])) for x in features]
    head = network(branch.config, generator_config)
    made: Any = head.apply({"params": branch.params}, flat, method=SemanticHead.planes)
    return made.reshape(batch + made.shape[1:])


def render(branch: Branch, generator_config: GeneratorConfig, planes: jax.Array, selected: Selected) -> jax.Array:
    """Semantic features (..., F) of selected samples of rays (...) through planes (3, R, R, hidden) of one scene."""
    axes, box = generator_config.plane_axes, generator_config.rendering.box_warp
    points = selected.points

    def composite(head: SemanticHead) -> jax.Array:
        hidden = head.hidden(planes, points.reshape(-1, 3), axes, box)
        hidden = hidden.reshape(points.shape[:-1] + hidden.shape[-1:])
        if selected.weights is not None:
            return head.composite(hidden, selected.weights)
        order, depths = jnp.asarray(selected.order), jnp.asarray(selected.depths)
        own = head.own_density(hidden)
        own = own if selected.inside is None else jnp.where(selected.inside, own, own - articulated.EMPTY)
        raw_density = jnp.take_along_axis(own, order, axis=-1)
        ordered = jnp.take_along_axis(depths, order, axis=-1)
        weights = volume.sample_weights(volume.weights_from_density(raw_density, ordered))
        return head.composite(hidden, jnp.take_along_axis(weights, volume.invert_permutation(order), axis=-1))

    return nn.apply(composite, network(branch.config, generator_config))({"params": branch.params})


def background(branch: Branch, generator_config: GeneratorConfig, planes: jax.Array) -> jax.Array:
    """Semantic features (1, F) of a ray that meets nothing."""
    alone = Selected(jnp.zeros((1, 1, 3), jnp.float32), jnp.zeros((1, 1), jnp.float32))
    return render(branch, generator_config, planes, alone)


def classify(branch: Branch, generator_config: GeneratorConfig, planes: jax.Array, points: jax.Array) -> jax.Array:
    """Raw scores (N, C) of points (N, 3) of one scene's planes: as of rays that are stopped there and nowhere else."""
    opaque = Selected(points[:, None], jnp.ones((len(points), 1), jnp.float32))
    return raw_scores(branch, generator_config, render(branch, generator_config, planes, opaque))


def raw_scores(branch: Branch, generator_config: GeneratorConfig, features: jax.Array) -> jax.Array:
    """The raw semantic map (..., C) of semantic features (..., F)."""
    head = network(branch.config, generator_config)
    scores: Any = head.apply({"params": branch.params}, features, method=SemanticHead.raw)
    return scores


def super_resolve(
    branch: Branch, generator_config: GeneratorConfig, features: jax.Array, *, resolution: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """Raw semantic map (..., h, w, C) and logits (..., R, R, C) of semantic features (..., h, w, F).

    resolution: R; None is the final image's. A patch of the features has a part of it.
    """
    batch = features.shape[:-3]
    head = network(branch.config, generator_config, resolution=resolution)
    flat = features.reshape((-1, *features.shape[-3:]))
    both: Any = head.apply({"params": branch.params}, flat, method=SemanticHead.logits)
    raw, logits = both
    return raw.reshape(batch + raw.shape[1:]), logits.reshape(batch + logits.shape[1:])
