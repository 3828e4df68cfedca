"""StyleGAN2's generator, as EG3D uses it: a mapping from z to w and a synthesis network from w to feature planes.

Parameters are stored unscaled, as in PyTorch; each layer multiplies by its gain when it is used (equalised learning
rates). Images are NHWC. Modules and parameters carry PyTorch's names, so that a converted checkpoint is the same
tree. Everything here treats the samples of a batch independently.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jax.typing import DTypeLike

from dnerf_jax.ops.convolutions import convolve, convolve_upsampling, upsample

_SQRT2 = np.float32(np.sqrt(2))
NOISE_MODES = ("const", "random", "none")


@struct.dataclass
class BlockOutputs:
    """What every synthesis block puts out, by the block's name "b4", "b8", ...

    hidden: activations (N, R, R, channels), in the convolutions' dtype. skip: the accumulated image (N, R, R, image
    channels), float32; the last block's are the planes.
    """

    hidden: dict[str, jax.Array]
    skip: dict[str, jax.Array]

    @property
    def last(self) -> jax.Array:
        """The last block's image: EG3D's planes, plane-major channels."""
        return by_resolution(self.skip)[-1]


def by_resolution(blocks: dict[str, jax.Array]) -> list[jax.Array]:
    """The outputs of blocks by name, coarse to fine."""
    return [blocks[name] for name in sorted(blocks, key=lambda name: int(name[1:]))]


def normalize_second_moment(x: jax.Array) -> jax.Array:
    """Scales the last axis to unit mean square."""
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-8)


def leaky_relu(x: jax.Array, clamp: float | None = None) -> jax.Array:
    """Leaky ReLU with slope 0.2 and gain sqrt(2), then an optional clamp to [-clamp, clamp]."""
    x = jax.nn.leaky_relu(x, 0.2) * _SQRT2.astype(x.dtype)
    return x if clamp is None else jnp.clip(x, -clamp, clamp)


class FullyConnected(nn.Module):
    """A linear layer (..., I) -> (..., O) with equalised learning rate; optionally leaky ReLU."""

    features: int
    lr_multiplier: float = 1.0
    bias_init: float = 0.0
    activate: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        fan_in = x.shape[-1]
        spread = nn.initializers.normal(1 / self.lr_multiplier)
        weight = self.param("weight", spread, (fan_in, self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.constant(self.bias_init), (self.features,), jnp.float32)
        gain = self.lr_multiplier / math.sqrt(fan_in)
        x = x @ (weight * gain).astype(x.dtype) + (bias * self.lr_multiplier).astype(x.dtype)
        return leaky_relu(x) if self.activate else x


class Mapping(nn.Module):
    """From z (N, z_dim) and the conditioning camera c (N, c_dim) to w (N, w_dim); c_dim may be 0."""

    z_dim: int
    c_dim: int
    w_dim: int
    num_layers: int

    @nn.compact
    def __call__(self, z: jax.Array, c: jax.Array | None = None) -> jax.Array:
        x = normalize_second_moment(z)
        if self.c_dim:
            embedded = FullyConnected(self.w_dim, name="embed")(jnp.asarray(c))
            x = jnp.concatenate([x, normalize_second_moment(embedded)], axis=-1)
        self.variable("buffers", "w_avg", jnp.zeros, (self.w_dim,), jnp.float32)
        for i in range(self.num_layers):
            x = FullyConnected(self.w_dim, lr_multiplier=0.01, activate=True, name=f"fc{i}")(x)
        return x


class ModulatedConv(nn.Module):
    """A 3 x 3 convolution modulated by w, with noise, bias and leaky ReLU (StyleGAN2's synthesis layer)."""

    features: int
    resolution: int
    up: bool = False
    clamp: float | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, w: jax.Array, noise_mode: str = "const", key: jax.Array | None = None
    ) -> jax.Array:
        """x (N, H, W, I), w (N, w_dim) -> (N, resolution, resolution, features); key (N,) for random noise."""
        inputs = x.shape[-1]
        weight = self.param("weight", nn.initializers.normal(1.0), (3, 3, inputs, self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        strength = self.param("noise_strength", nn.initializers.zeros, (), jnp.float32)
        size = (self.resolution, self.resolution)
        stored = self.variable("buffers", "noise_const", lambda: _noise(self.make_rng("params"), size))
        style = FullyConnected(inputs, bias_init=1.0, name="affine")(w)
        # Modulating the input and demodulating the output keeps one shared weight for the whole batch. Because the
        # demodulated result ignores the weight's scale, half precision may use a weight of unit size.
        demodulation = jax.lax.rsqrt(jnp.square(style) @ jnp.sum(jnp.square(weight), axis=(0, 1)) + 1e-8)
        x = x * style[:, None, None, :].astype(x.dtype)
        x = (convolve_upsampling if self.up else convolve)(x, weight.astype(x.dtype))
        x = x * demodulation[:, None, None, :].astype(x.dtype)
        if noise_mode == "const":
            x = x + (stored.value * strength)[:, :, None].astype(x.dtype)
        elif noise_mode == "random":
            noise = jax.vmap(lambda k: _noise(k, size))(key)
            x = x + (noise * strength)[..., None].astype(x.dtype)
        return leaky_relu(x + bias.astype(x.dtype), self.clamp)


class ToRGB(nn.Module):
    """A modulated 1 x 1 convolution without demodulation: (N, R, R, I) -> (N, R, R, features)."""

    features: int
    clamp: float | None = None

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        inputs = x.shape[-1]
        weight = self.param("weight", nn.initializers.normal(1.0), (1, 1, inputs, self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        style = FullyConnected(inputs, bias_init=1.0, name="affine")(w) / math.sqrt(inputs)
        x = (x * style[:, None, None, :].astype(x.dtype)) @ weight[0, 0].astype(x.dtype) + bias.astype(x.dtype)
        return x if self.clamp is None else jnp.clip(x, -self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """Two modulated convolutions and a toRGB that adds to the skip image.

    The first block (`first`) starts from a learned constant and has one convolution. `up` doubles the resolution of
    activations and image before; super-resolution has blocks that do not.
    """

    features: int
    resolution: int
    image_features: int
    up: bool = True
    first: bool = False
    clamp: float | None = None
    dtype: DTypeLike = jnp.float32

    @property
    def num_convs(self) -> int:
        """How many convolutions it has, and so how many latents besides its toRGB's."""
        return 1 if self.first else 2

    @nn.compact
    def __call__(
        self,
        x: jax.Array | None,
        image: jax.Array | None,
        ws: jax.Array,
        noise_mode: str = "const",
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """x (N, R', R', I), image (N, R', R', image_features) or None, ws (N, num_convs + 1, w_dim)."""
        keys = [None] * 2 if key is None else [jax.vmap(lambda k, i=i: jax.random.fold_in(k, i))(key) for i in range(2)]

        def conv(name: str, up: bool = False) -> ModulatedConv:
            return ModulatedConv(self.features, self.resolution, up=up, clamp=self.clamp, name=name)

        if self.first:
            shape = (self.resolution, self.resolution, self.features)
            const = self.param("const", nn.initializers.normal(1.0), shape, jnp.float32)
            x = jnp.broadcast_to(const.astype(self.dtype), (ws.shape[0], *const.shape))
        else:
            x = conv("conv0", self.up)(jnp.asarray(x, self.dtype), ws[:, 0], noise_mode, keys[0])
        x = conv("conv1")(x, ws[:, self.num_convs - 1], noise_mode, keys[1])
        rgb = ToRGB(self.image_features, clamp=self.clamp, name="torgb")(x, ws[:, self.num_convs])
        if image is not None:
            rgb = rgb.astype(jnp.float32) + (upsample(image) if self.up else image)
        return x, rgb.astype(jnp.float32)


class Synthesis(nn.Module):
    """From ws (N, num_ws, w_dim) to every block's output; the last image has `image_features` channels."""

    resolution: int
    image_features: int
    channel_base: int
    channel_max: int
    clamp: float | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, ws: jax.Array, noise_mode: str = "const", key: jax.Array | None = None) -> BlockOutputs:
        if noise_mode not in NOISE_MODES:
            raise ValueError(f"noise_mode must be one of {NOISE_MODES}; got {noise_mode!r}.")
        if noise_mode == "random" and key is None:
            raise ValueError("noise_mode='random' needs a key.")
        x = image = None
        outputs = BlockOutputs({}, {})
        first_w = 0
        for resolution in block_resolutions(self.resolution):
            name = f"b{resolution}"
            block = SynthesisBlock(
                features=min(self.channel_base // resolution, self.channel_max),
                resolution=resolution,
                image_features=self.image_features,
                first=resolution == 4,
                clamp=self.clamp,
                dtype=self.dtype,
                name=name,
            )
            block_ws = ws[:, first_w : first_w + block.num_convs + 1]
            block_key = None if key is None else jax.vmap(lambda k, r=resolution: jax.random.fold_in(k, r))(key)
            x, image = block(x, image, block_ws, noise_mode, block_key)
            outputs.hidden[name], outputs.skip[name] = x, image
            first_w += block.num_convs
        return outputs


def _noise(key: jax.Array, size: tuple[int, int]) -> jax.Array:
    return jax.random.normal(key, size, jnp.float32)


def block_resolutions(resolution: int) -> list[int]:
    """The resolutions 4, 8, ... of the synthesis blocks."""
    return [2**i for i in range(2, int(np.log2(resolution)) + 1)]


def num_ws(resolution: int) -> int:
    """How many latents a synthesis network consumes: one per convolution, and the last toRGB's."""
    return 2 * len(block_resolutions(resolution))
