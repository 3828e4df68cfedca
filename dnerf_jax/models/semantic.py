"""The semantic branch (paper, section 3.2): labels rendered from the generator's own features.

The paper's function, in its direct form, for a point x and a ray with sample weights w_s (which sum to the opacity):

    S     = the chosen block outputs, each scaled to unit mean square (ours: they differ by orders) and upsampled to
            the largest resolution, their channels laid on three planes
    f(x)  = sum over planes p of S_p(x)                           (bilinear; the paper's sum, or mean, or all three)
    h(x)  = softplus(W_1 f(x) + b_1)                                                64 hidden channels
    phi   = sum_s w_s (W_2 h(x_s) + b_2) + (1 - sum_s w_s) background               32 channels: the feature map
    raw   = the first C channels of phi (a linear head where C > 32)                the raw semantic map
    logits = U_s(raw, phi)                                                          equation 1

What is computed is equal, but W_1 commutes with upsampling, laying out, summing and sampling, and W_2 with
compositing, all of which are linear. So each scale is multiplied by its slice of W_1 at its own resolution and added
into one tri-plane of 64 channels, and W_2 is applied once per ray. The upsampled stack of features is never built.

The weights w_s are those of the frozen generator's density (the density prior), or of a density that the branch
learns (the paper's ablation). The background, a class like any other, is what lies behind the remaining weight.
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dnerf_jax.networks.decoders import softplus
from dnerf_jax.networks.stylegan2 import FullyConnected, block_resolutions, convolve, leaky_relu
from dnerf_jax.networks.superresolution import add_resized, resize
from dnerf_jax.ops import triplane, volume

NUM_PLANES = 3


@dataclasses.dataclass(frozen=True)
class SemanticConfig:
    """A semantic branch.

    Attributes:
      num_classes: C, background included.
      features: what is laid on the planes: "hidden", the activations of all synthesis blocks; "skip", their images;
        "last", EG3D's own planes (the paper's ablation); "hidden+last", both.
      channels: "split", each scale's channels in three, one part per plane; "concatenated", the concatenation of all
        scales in three (the paper to the letter); "all", every channel on all planes.
      aggregation: what becomes of a point's features on the three planes: their "sum" (the paper), their "mean", or
        "none": they stay apart, side by side, so that W_1 has rows of its own for every plane.
      density_prior: render with the generator's density (the paper), or with one that the branch learns.
      samples_kept: how many samples of a ray are composited, the heaviest, in training and in rendering; None is all of
        them (the paper). A branch with its own density, which has to be learned everywhere, keeps all.
      hidden: width of the decoder's hidden layer.
      feature_channels: channels of the rendered feature map.
      superresolution_width: channels within U_s.
    """

    num_classes: int
    features: Literal["hidden", "skip", "last", "hidden+last"] = "hidden"
    channels: Literal["split", "concatenated", "all"] = "split"
    aggregation: Literal["sum", "mean", "none"] = "sum"
    density_prior: bool = True
    samples_kept: int | None = None
    hidden: int = 64
    feature_channels: int = 32
    superresolution_width: int = 32


def select_features(config, outputs):
    """The chosen block outputs, coarse to fine: a list of (N, R, R, channels), each at unit mean square per sample.

    Scales differ in magnitude by orders; so scaled, the rows of W_1 are comparable.
    """
    by_resolution = lambda blocks: [blocks[name] for name in sorted(blocks, key=lambda n: int(n[1:]))]  # noqa: E731
    if config.features == "skip":
        chosen = by_resolution(outputs.skip)
    else:
        hidden = by_resolution(outputs.hidden) if config.features != "last" else []
        chosen = hidden + ([outputs.last] if "last" in config.features else [])
    return [x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=(-3, -2, -1), keepdims=True) + 1e-8) for x in chosen]


def select_samples(config, samples):
    """Points (..., S, 3) and weights (..., S) of the `generator.Samples` that are composited."""
    if config.samples_kept is None:
        return samples.points, samples.weights
    weights, points = volume.heaviest(samples.weights, samples.points, config.samples_kept)
    return points, weights


def plane_slices(config, widths):
    """Which channels of each scale lie on which plane, and at which rows of W_1.

    Args:
      widths: channels of every scale.

    Returns:
      For every scale a list of (plane, first channel, last channel, first row of W_1), and the number of rows.
    """
    starts = np.cumsum([0] + list(widths))
    if config.channels == "all":
        rows = int(starts[-1])
        layout = [
            [(plane, 0, width, int(start)) for plane in range(NUM_PLANES)]
            for start, width in zip(starts[:-1], widths, strict=True)
        ]
    elif config.channels == "split":
        # Each scale in three; where three does not divide it, the last plane has a channel or two less.
        thirds = [-(-width // NUM_PLANES) for width in widths]
        first_rows = np.cumsum([0] + thirds)
        rows = int(first_rows[-1])
        layout = [
            [
                (plane, plane * third, min((plane + 1) * third, width), int(row))
                for plane in range(NUM_PLANES)
                if plane * third < width
            ]
            for width, third, row in zip(widths, thirds, first_rows[:-1], strict=True)
        ]
    else:
        rows = -(-sum(widths) // NUM_PLANES)
        layout = []
        for start, width in zip(starts[:-1], widths, strict=True):
            pieces = []
            for plane in range(NUM_PLANES):
                first, last = max(start, plane * rows), min(start + width, (plane + 1) * rows)
                if first < last:
                    pieces.append((plane, int(first - start), int(last - start), int(first - plane * rows)))
            layout.append(pieces)
    if config.aggregation != "none":
        return layout, rows
    return [[(p, begin, end, p * rows + row) for p, begin, end, row in pieces] for pieces in layout], NUM_PLANES * rows


class SemanticBranch(nn.Module):
    """The branch's parameters; `planes`, `hidden`, `feature_map`, `logits` are its steps in order."""

    config: SemanticConfig
    widths: tuple[int, ...]  # channels of the selected features
    image_resolution: int

    def setup(self):
        config = self.config
        _, rows = plane_slices(config, self.widths)
        self.first = self.param("first_weight", nn.initializers.normal(1.0), (rows, config.hidden))
        self.first_bias = self.param("first_bias", nn.initializers.zeros, (config.hidden,))
        self.first_gain = 1 / np.sqrt(rows) / (NUM_PLANES if config.aggregation == "mean" else 1)
        self.last = FullyConnected(config.feature_channels, name="last")
        if not config.density_prior:
            self.density = FullyConnected(1, name="density")
        self.background = self.param("background", nn.initializers.zeros, (config.feature_channels,))
        if config.num_classes > config.feature_channels:
            self.head = FullyConnected(config.num_classes, name="head")
        self.superresolution = SemanticSuperresolution(
            config.num_classes, config.superresolution_width, self.image_resolution, name="superresolution"
        )

    def planes(self, features):
        """The projected tri-plane (N, 3, R, R, hidden) of the selected features, without ever upsampling them."""
        layout, _ = plane_slices(self.config, self.widths)
        resolution = max(feature.shape[-2] for feature in features)
        scales = []
        for feature, pieces in zip(features, layout, strict=True):
            shared = {}  # planes on which the same channels lie take one product
            for plane, begin, end, row in pieces:
                shared.setdefault((begin, end), {})[plane] = self.first[row : row + end - begin] * self.first_gain
            own = dict.fromkeys(range(NUM_PLANES), jnp.zeros(feature.shape[:-1] + (self.config.hidden,)))
            for (begin, end), weights in shared.items():
                values = feature[..., begin:end] @ jnp.concatenate(list(weights.values()), axis=1)
                own |= zip(weights, jnp.split(values, len(weights), axis=-1), strict=True)
            scales.append(jnp.concatenate([own[plane] for plane in range(NUM_PLANES)], axis=-1))
        return triplane.split_channels(add_resized(scales, resolution))

    def hidden(self, planes, points, plane_axes, box_warp):
        """Hidden activations (..., N, hidden) at points (..., N, 3) of projected planes (..., 3, R, R, hidden)."""
        sampled = triplane.sample(planes, points, plane_axes=plane_axes, box_warp=box_warp)
        return softplus(sampled + self.first_bias)

    def own_density(self, hidden):
        """Raw density (..., N) of the branch's own, where it does not use the generator's."""
        return self.density(hidden)[..., 0]

    def feature_map(self, hidden, weights):
        """phi (..., H, W, F) from hidden activations (..., H, W, S, hidden) and sample weights (..., H, W, S)."""
        opacity = jnp.sum(weights, axis=-1, keepdims=True)
        blended = volume.blend(weights, hidden)
        # W_2 of the blend has its bias counted once; a ray of opacity o should have it o times.
        bias = self.last(jnp.zeros_like(blended))
        return self.last(blended) + (opacity - 1) * bias + (1 - opacity) * self.background

    def logits(self, phi):
        """Raw semantic map (..., H, W, C) and logits (..., R, R, C) of a feature map (..., H, W, F)."""
        wide = self.config.num_classes > self.config.feature_channels
        raw = self.head(phi) if wide else phi[..., : self.config.num_classes]
        return raw, self.superresolution(raw, phi)

    def __call__(self, features):
        """Creates every parameter."""
        planes = self.planes(features)
        hidden = self.hidden(planes, jnp.zeros(planes.shape[:1] + (1, 3)), triplane.EG3D_AXES, 1.0)
        if not self.config.density_prior:
            self.own_density(hidden)
        phi = self.feature_map(hidden[:, None, None], jnp.ones(planes.shape[:1] + (1, 1, 1)))
        return self.logits(phi)


class SemanticSuperresolution(nn.Module):
    """U_s: raw map (..., H, W, C) and features (..., H, W, F) to logits (..., R, R, C) (paper, equation 1).

    The raw map is upsampled bilinearly, and two convolutions of features and raw map, one before and one after
    upsampling, add what it lacks.
    """

    num_classes: int
    width: int
    resolution: int

    @nn.compact
    def __call__(self, raw, features):
        x = leaky_relu(Convolution(self.width, name="conv0")(jnp.concatenate([raw, features], axis=-1)))
        x = resize(x, self.resolution, antialias=False)
        x = leaky_relu(Convolution(self.width, name="conv1")(x))
        return resize(raw, self.resolution, antialias=False) + FullyConnected(self.num_classes, name="to_logits")(x)


class Convolution(nn.Module):
    """A 3 x 3 convolution (N, H, W, I) -> (N, H, W, features) with equalised learning rate."""

    features: int

    @nn.compact
    def __call__(self, x):
        weight = self.param("weight", nn.initializers.normal(1.0), (3, 3, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return convolve(x, weight / np.sqrt(9 * x.shape[-1])) + bias


def branch(config, generator_config, resolution=None):
    """The Linen module of a branch on generators of this configuration; its logits have their images' resolution."""
    widths = feature_widths(config, generator_config)
    return SemanticBranch(config, widths, resolution or generator_config.image_resolution)


def feature_widths(config, generator_config):
    """Channels of the selected features, coarse to fine."""
    resolutions = block_resolutions(generator_config.plane_resolution)
    image = len(generator_config.plane_axes) * generator_config.plane_channels
    hidden = [min(generator_config.channel_base // r, generator_config.channel_max) for r in resolutions]
    if config.features == "skip":
        return (image,) * len(resolutions)
    return tuple(hidden if config.features != "last" else []) + ((image,) if "last" in config.features else ())


@functools.partial(jax.jit, static_argnums=(0, 1))
def init(config, generator_config, key):
    """Random parameters of a branch."""
    resolutions = block_resolutions(generator_config.plane_resolution)
    widths = feature_widths(config, generator_config)
    # "last" comes after the hidden features and has the resolution of the finest.
    sizes = (resolutions + resolutions[-1:])[: len(widths)] if config.features != "last" else resolutions[-1:]
    features = [jnp.zeros((1, size, size, width)) for size, width in zip(sizes, widths, strict=True)]
    return branch(config, generator_config).init(key, features)["params"]


def project(config, generator_config, params, features):
    """Projected planes (..., 3, R, R, hidden) of selected features, a list of (..., R_s, R_s, channels)."""
    batch = features[0].shape[:-3]
    flat = [x.reshape((-1,) + x.shape[-3:]) for x in features]
    planes = branch(config, generator_config).apply({"params": params}, flat, method=SemanticBranch.planes)
    return planes.reshape(batch + planes.shape[1:])


def render(config, generator_config, params, planes, points, weights):
    """Feature map phi (h, w, F) of one image from points (h, w, S, 3) and sample weights (h, w, S)."""
    module = branch(config, generator_config)
    axes, box = generator_config.plane_axes, generator_config.rendering.box_warp

    def run(module):
        hidden = module.hidden(planes, points.reshape(-1, 3), axes, box)
        return module.feature_map(hidden.reshape(points.shape[:-1] + hidden.shape[-1:]), weights)

    return nn.apply(run, module)({"params": params})


def render_own_density(config, generator_config, params, planes, points, depths, order):
    """As `render`, with weights from the branch's own density at the samples' sorted depths and their order."""
    module = branch(config, generator_config)
    axes, box = generator_config.plane_axes, generator_config.rendering.box_warp

    def run(module):
        hidden = module.hidden(planes, points.reshape(-1, 3), axes, box)
        hidden = hidden.reshape(points.shape[:-1] + hidden.shape[-1:])
        sigma = jnp.take_along_axis(module.own_density(hidden), order, axis=-1)
        weights = volume.sample_weights(volume.weights_from_density(sigma, depths))
        return module.feature_map(hidden, jnp.take_along_axis(weights, volume.invert_permutation(order), axis=-1))

    return nn.apply(run, module)({"params": params})


def super_resolve(config, generator_config, params, phi, resolution=None):
    """Raw semantic map (..., h, w, C) and logits (..., R, R, C) of a feature map (..., h, w, F).

    resolution: R; None is the final image's. A patch of a feature map has a part of it.
    """
    batch = phi.shape[:-3]
    raw, logits = branch(config, generator_config, resolution).apply(
        {"params": params}, phi.reshape((-1,) + phi.shape[-3:]), method=SemanticBranch.logits
    )
    return raw.reshape(batch + raw.shape[1:]), logits.reshape(batch + logits.shape[1:])
