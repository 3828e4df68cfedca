"""The semantic branch's modules (paper, section 3.2): labels rendered from the generator's own features.

The paper's function, in its direct form, for a point x and a ray with sample weights w_s (which sum to the opacity):

    S     = the chosen block outputs, each scaled to unit mean square (ours: they differ by orders) and upsampled to
            the largest resolution, their channels laid on three planes
    f(x)  = sum over planes p of S_p(x)                           (bilinear; the paper's sum, or mean, or all three)
    h(x)  = softplus(W_1 f(x) + b_1)                                                64 hidden channels
    phi   = sum_s w_s (W_2 h(x_s) + b_2) + (1 - sum_s w_s) background               32 channels: the semantic features
    raw   = the first C channels of phi (a linear head where C > 32)                the raw semantic map
    logits = U_s(raw, phi)                                                          equation 1

What is computed is equal, but W_1 commutes with upsampling, laying out, summing and sampling, and W_2 with
compositing, all of which are linear. So each scale is multiplied by its slice of W_1 at its own resolution and added
into one tri-plane of 64 channels, and W_2 is applied once per ray. The upsampled stack of features is never built.
"""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dnerf_jax.networks.decoders import softplus
from dnerf_jax.networks.stylegan2 import FullyConnected, leaky_relu
from dnerf_jax.ops import triplane, volume
from dnerf_jax.ops.convolutions import convolve
from dnerf_jax.ops.ranges import Classes, Count
from dnerf_jax.ops.resizing import add_resized, resize

NUM_PLANES = 3


@dataclasses.dataclass(frozen=True)
class SemanticConfig:
    """A semantic branch.

    Attributes:
      num_classes: C, background included; 0 in settings of a training leaves it to the labelled views.
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
      scales: resolutions of the blocks whose activations or images are taken, coarse to fine; None is all of them.
    """

    num_classes: Classes = 0
    features: Literal["hidden", "skip", "last", "hidden+last"] = "hidden"
    channels: Literal["split", "concatenated", "all"] = "split"
    aggregation: Literal["sum", "mean", "none"] = "sum"
    density_prior: bool = True
    samples_kept: Count | None = None
    hidden: Count = 64
    feature_channels: Count = 32
    superresolution_width: Count = 32
    scales: tuple[Count, ...] | None = None

    def __post_init__(self) -> None:
        if self.scales is None:
            return
        if self.features == "last":
            raise ValueError("scales are of blocks, and features='last' takes none of their outputs: leave scales None")
        if not self.scales or list(self.scales) != sorted(set(self.scales)):
            raise ValueError(f"scales is {self.scales}, expected resolutions of blocks, the coarse before the fine")


def plane_slices(config: SemanticConfig, widths: tuple[int, ...]) -> tuple[list[list[tuple[int, int, int, int]]], int]:
    """Which channels of each scale lie on which plane, and at which rows of W_1.

    Args:
      widths: channels of every scale.

    Returns:
      For every scale a list of (plane, first channel, last channel, first row of W_1), and the number of rows.
    """
    starts = np.cumsum([0, *list(widths)])
    if config.channels == "all":
        rows = int(starts[-1])
        layout = [
            [(plane, 0, width, int(start)) for plane in range(NUM_PLANES)]
            for start, width in zip(starts[:-1], widths, strict=True)
        ]
    elif config.channels == "split":
        # Each scale in three; where three does not divide it, the last plane has a channel or two less.
        thirds = [-(-width // NUM_PLANES) for width in widths]
        first_rows = np.cumsum([0, *thirds])
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


def channel_norms(config: SemanticConfig, widths: tuple[int, ...], first_weight: jax.Array) -> list[jax.Array]:
    """How much W_1 makes of every channel: for each scale (channels,), the root mean square of the channel's rows.

    All rows of a channel, one for each plane on which it lies, count as one. At the start it is about 1.

    Args:
      widths: channels of every scale.
      first_weight: (rows, hidden), as the branch has it.
    """
    channel, channels = channel_of_row(config, widths), sum(widths)
    squares = jax.ops.segment_sum(jnp.mean(jnp.square(first_weight), axis=-1), channel, channels + 1)[:-1]
    norms = jnp.sqrt(squares / np.bincount(channel, minlength=channels + 1)[:-1])
    return jnp.split(norms, np.cumsum(widths)[:-1])


def shrink_channels(
    config: SemanticConfig, widths: tuple[int, ...], first_weight: jax.Array, by: float | jax.Array
) -> jax.Array:
    """W_1 with the norm of every channel smaller by so much, or zero: the proximal step of a group lasso.

    Args:
      widths, first_weight: as of `channel_norms`.
      by: how much a norm loses.
    """
    norms = jnp.concatenate(channel_norms(config, widths, first_weight))
    left = jnp.append(jnp.maximum(1 - by / jnp.maximum(norms, 1e-12), 0), 1)
    return first_weight * left[channel_of_row(config, widths)][:, None]


def channel_of_row(config: SemanticConfig, widths: tuple[int, ...]) -> np.ndarray:
    """The channel, counted through all scales, of every row of W_1; one more than there are of rows without any.

    Raises ValueError: rows have several channels, one of each plane.
    """
    if config.channels != "all" and config.aggregation != "none":
        raise ValueError(
            f"with channels={config.channels!r} and aggregation={config.aggregation!r} three channels share a row of "
            "the first layer and cannot be told apart: choose channels='all' or aggregation='none'"
        )
    layout, rows = plane_slices(config, widths)
    channel = np.full(rows, sum(widths))
    for start, pieces in zip(np.cumsum([0, *widths[:-1]]), layout, strict=True):
        for _, begin, end, row in pieces:
            channel[row : row + end - begin] = start + np.arange(begin, end)
    return channel


class SemanticHead(nn.Module):
    """The branch's parameters; `planes`, `hidden`, `composite`, `raw`, `logits` are its steps in order."""

    config: SemanticConfig
    widths: tuple[int, ...]  # channels of the selected features
    image_resolution: int

    def setup(self) -> None:
        config = self.config
        _, rows = plane_slices(config, self.widths)
        self.first = self.param("first_weight", nn.initializers.normal(1.0), (rows, config.hidden), jnp.float32)
        self.first_bias = self.param("first_bias", nn.initializers.zeros, (config.hidden,), jnp.float32)
        self.first_gain = 1 / math.sqrt(rows) / (NUM_PLANES if config.aggregation == "mean" else 1)
        self.last = FullyConnected(config.feature_channels, name="last")
        if not config.density_prior:
            self.density = FullyConnected(1, name="density")
        self.background = self.param("background", nn.initializers.zeros, (config.feature_channels,), jnp.float32)
        if config.num_classes > config.feature_channels:
            self.head = FullyConnected(config.num_classes, name="head")
        self.superresolution = SemanticSuperresolution(
            config.num_classes, config.superresolution_width, self.image_resolution, name="superresolution"
        )

    def planes(self, features: list[jax.Array]) -> jax.Array:
        """The projected tri-plane (N, 3, R, R, hidden) of the selected features, without ever upsampling them."""
        layout, _ = plane_slices(self.config, self.widths)
        resolution = max(feature.shape[-2] for feature in features)
        scales = []
        for feature, pieces in zip(features, layout, strict=True):
            # Planes on which the same channels lie take one product.
            shared: dict[tuple[int, int], dict[int, jax.Array]] = {}
            for plane, begin, end, row in pieces:
                shared.setdefault((begin, end), {})[plane] = self.first[row : row + end - begin] * self.first_gain
            own = dict.fromkeys(range(NUM_PLANES), jnp.zeros((*feature.shape[:-1], self.config.hidden), jnp.float32))
            for (begin, end), weights in shared.items():
                values = feature[..., begin:end] @ jnp.concatenate(list(weights.values()), axis=1)
                own |= zip(weights, jnp.split(values, len(weights), axis=-1), strict=True)
            scales.append(jnp.concatenate([own[plane] for plane in range(NUM_PLANES)], axis=-1))
        return triplane.split_channels(add_resized(scales, resolution))

    def hidden(self, planes: jax.Array, points: jax.Array, plane_axes: triplane.Axes, box_warp: float) -> jax.Array:
        """Hidden activations (..., N, hidden) at points (..., N, 3) of projected planes (..., 3, R, R, hidden)."""
        sampled = triplane.sample(planes, points, plane_axes=plane_axes, box_warp=box_warp)
        return softplus(sampled + self.first_bias)

    def own_density(self, hidden: jax.Array) -> jax.Array:
        """Raw density (..., N) of the branch's own, where it does not use the generator's."""
        return self.density(hidden)[..., 0]

    def composite(self, hidden: jax.Array, weights: jax.Array) -> jax.Array:
        """Semantic features (..., F) of rays from hidden activations (..., S, hidden) and sample weights (..., S)."""
        opacity = jnp.sum(weights, axis=-1, keepdims=True)
        composited = volume.composite(weights, hidden)
        # W_2 of the composite has its bias counted once; a ray of opacity o should have it o times.
        bias = self.last(jnp.zeros_like(composited))
        return self.last(composited) + (opacity - 1) * bias + (1 - opacity) * self.background

    def raw(self, features: jax.Array) -> jax.Array:
        """The raw semantic map (..., C) of semantic features (..., F)."""
        wide = self.config.num_classes > self.config.feature_channels
        return self.head(features) if wide else features[..., : self.config.num_classes]

    def logits(self, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Raw semantic map (N, h, w, C) and logits (N, R, R, C) of semantic features (N, h, w, F)."""
        raw = self.raw(features)
        return raw, self.superresolution(raw, features)

    def __call__(self, features: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        """Creates every parameter."""
        planes = self.planes(features)
        hidden = self.hidden(planes, jnp.zeros((*planes.shape[:1], 1, 3), jnp.float32), triplane.EG3D_AXES, 1.0)
        if not self.config.density_prior:
            self.own_density(hidden)
        return self.logits(self.composite(hidden[:, None, None], jnp.ones((*planes.shape[:1], 1, 1, 1), jnp.float32)))


class SemanticSuperresolution(nn.Module):
    """U_s: raw map (..., H, W, C) and features (..., H, W, F) to logits (..., R, R, C) (paper, equation 1).

    The raw map is upsampled bilinearly, and two convolutions of features and raw map, one before and one after
    upsampling, add what it lacks.
    """

    num_classes: int
    width: int
    resolution: int

    @nn.compact
    def __call__(self, raw: jax.Array, features: jax.Array) -> jax.Array:
        x = leaky_relu(Convolution(self.width, name="conv0")(jnp.concatenate([raw, features], axis=-1)))
        x = resize(x, self.resolution, antialias=False)
        x = leaky_relu(Convolution(self.width, name="conv1")(x))
        return resize(raw, self.resolution, antialias=False) + FullyConnected(self.num_classes, name="to_logits")(x)


class Convolution(nn.Module):
    """A 3 x 3 convolution (N, H, W, I) -> (N, H, W, features) with equalised learning rate."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        weight = self.param("weight", nn.initializers.normal(1.0), (3, 3, x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return convolve(x, weight / math.sqrt(9 * x.shape[-1])) + bias
