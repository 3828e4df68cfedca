"""StyleGAN2's generator, as EG3D uses it: a mapping from z to w and a synthesis network from w to feature planes.

Parameters are stored unscaled, as in PyTorch; each layer multiplies by its gain when it is used (equalised learning
rates). Images are NHWC. Modules and parameters carry PyTorch's names, so that a converted checkpoint is the same
tree. Everything here treats the samples of a batch independently.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import linen as nn
from flax import struct

_SQRT2 = np.float32(np.sqrt(2))
_UPSAMPLING_TAPS = np.array([1, 3, 3, 1], np.float32) / 4  # [1, 3, 3, 1] / 8 per axis, times the gain of 2
NOISE_MODES = ("const", "random", "none")


@struct.dataclass
class BlockOutputs:
    """What every synthesis block puts out, by the block's name "b4", "b8", ...

    hidden: activations (N, R, R, channels). skip: the accumulated image (N, R, R, image channels); the last block's
    are the planes.
    """

    hidden: dict[str, jax.Array]
    skip: dict[str, jax.Array]

    @property
    def last(self):
        """The last block's image: EG3D's planes, plane-major channels."""
        return self.skip[max(self.skip, key=lambda name: int(name[1:]))]


def normalize_second_moment(x):
    """Scales the last axis to unit mean square."""
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-8)


def leaky_relu(x, clamp=None):
    """Leaky ReLU with slope 0.2 and gain sqrt(2), then an optional clamp to [-clamp, clamp]."""
    x = jax.nn.leaky_relu(x, 0.2) * _SQRT2.astype(x.dtype)
    return x if clamp is None else jnp.clip(x, -clamp, clamp)


def upsample(image):
    """Doubles the size of images (..., H, W, C) with the normalised [1, 3, 3, 1] filter.

    Even outputs are (1 x[i-1] + 3 x[i]) / 4 and odd ones (3 x[i] + 1 x[i+1]) / 4 along each axis, zero outside.
    """
    for axis in (-3, -2):
        axis = image.ndim + axis
        ends = [(0, 0)] * image.ndim
        ends[axis] = (1, 1)
        padded = jnp.pad(image, ends)
        size = image.shape[axis]
        before, here, after = (jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(3))
        pair = jnp.stack([(before + 3 * here) / 4, (3 * here + after) / 4], axis=axis + 1)
        image = pair.reshape(image.shape[:axis] + (2 * size,) + image.shape[axis + 1 :])
    return image


@jax.custom_vjp
def convolve(x, weight):
    """Correlates x (N, H, W, I) with weight (k, k, I, O), k odd, same size, zero padding.

    The gradient in the weight is written as one matrix product per entry of the kernel: XLA's own takes nearly twice
    the time on CPUs. Being custom, it serves reverse-mode differentiation of any order, but not forward mode.
    """
    return jax.lax.conv_general_dilated(
        x, weight, window_strides=(1, 1), padding="SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _convolve_forward(x, weight):
    return convolve(x, weight), (x, weight)


def _convolve_backward(kept, out):
    x, weight = kept
    size, (_, height, width, inputs) = weight.shape[0], x.shape
    ends = (size // 2, size // 2)
    padded, flat = jnp.pad(x, ((0, 0), ends, ends, (0, 0))), out.reshape(-1, out.shape[-1])
    entry = lambda i, j: padded[:, i : i + height, j : j + width].reshape(-1, inputs).T @ flat  # noqa: E731
    in_weight = jnp.stack([jnp.stack([entry(i, j) for j in range(size)]) for i in range(size)])
    return convolve(out, weight[::-1, ::-1].swapaxes(2, 3)), in_weight


convolve.defvjp(_convolve_forward, _convolve_backward)


def convolve_upsampling(x, weight):
    """Transposed convolution of stride 2 with weight (3, 3, I, O), then the [1, 3, 3, 1] filter: (N, 2H, 2W, O).

    The transposed convolution is written by output parity: y[2i] = x[i] w[0] + x[i-1] w[2] and y[2i+1] = x[i] w[1]
    along each axis. So four shifted copies of the input, each times the kernel entries that it meets, make all of
    it by plain matrix products. XLA runs dilated and even-sized convolutions slowly on CPUs: the gradient of the same
    sum written as one 2 x 2 convolution takes forty times as long.
    """
    chex.assert_shape(weight, (3, 3, x.shape[-1], None))
    n, height, width, inputs = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    parity = {(py, px): 0 for py in range(2) for px in range(2)}
    for dy in range(2):
        for dx in range(2):
            # A shift of 1 is x[i], which meets kernel entries 0 and 1 (parities 0 and 1); a shift of 0 is x[i-1].
            shifted = padded[:, dy : dy + height + 1, dx : dx + width + 1].reshape(-1, inputs)
            rows = ((0, 0), (1, 1)) if dy else ((0, 2),)
            cols = ((0, 0), (1, 1)) if dx else ((0, 2),)
            met = [(py, px, weight[ky, kx]) for py, ky in rows for px, kx in cols]
            product = shifted @ jnp.concatenate([entry for _, _, entry in met], axis=1)
            for (py, px, _), part in zip(met, jnp.split(product, len(met), axis=1), strict=True):
                parity[py, px] = parity[py, px] + part
    y = jnp.stack([parity[key] for key in sorted(parity)], axis=1)
    y = rearrange(y, "(n h w) (py px) c -> n (h py) (w px) c", n=n, h=height + 1, py=2)
    # Row 2H + 1 is beyond the transposed convolution's 2H + 1 rows and zero, which serves as the filter's padding.
    y = jnp.pad(y, ((0, 0), (1, 0), (1, 0), (0, 0)))
    for axis, size in ((1, 2 * height), (2, 2 * width)):
        y = sum(
            tap.astype(y.dtype) * jax.lax.slice_in_dim(y, i, i + size, axis=axis)
            for i, tap in enumerate(_UPSAMPLING_TAPS)
        )
    return y


class FullyConnected(nn.Module):
    """A linear layer (..., I) -> (..., O) with equalised learning rate; optionally leaky ReLU."""

    features: int
    lr_multiplier: float = 1.0
    bias_init: float = 0.0
    activate: bool = False

    @nn.compact
    def __call__(self, x):
        fan_in = x.shape[-1]
        weight = self.param("weight", nn.initializers.normal(1 / self.lr_multiplier), (fan_in, self.features))
        bias = self.param("bias", nn.initializers.constant(self.bias_init), (self.features,))
        gain = self.lr_multiplier / np.sqrt(fan_in)
        x = x @ (weight * gain).astype(x.dtype) + (bias * self.lr_multiplier).astype(x.dtype)
        return leaky_relu(x) if self.activate else x


class Mapping(nn.Module):
    """From z (N, z_dim) and the conditioning camera c (N, c_dim) to w (N, w_dim); c_dim may be 0."""

    z_dim: int
    c_dim: int
    w_dim: int
    num_layers: int

    @nn.compact
    def __call__(self, z, c=None):
        x = normalize_second_moment(z)
        if self.c_dim:
            embedded = FullyConnected(self.w_dim, name="embed")(c)
            x = jnp.concatenate([x, normalize_second_moment(embedded)], axis=-1)
        self.variable("buffers", "w_avg", jnp.zeros, (self.w_dim,))
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
    def __call__(self, x, w, noise_mode="const", key=None):
        """x (N, H, W, I), w (N, w_dim) -> (N, resolution, resolution, features); key (N,) for random noise."""
        inputs = x.shape[-1]
        weight = self.param("weight", nn.initializers.normal(1.0), (3, 3, inputs, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        strength = self.param("noise_strength", nn.initializers.zeros, ())
        size = (self.resolution, self.resolution)
        stored = self.variable("buffers", "noise_const", lambda: jax.random.normal(self.make_rng("params"), size))
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
            noise = jax.vmap(lambda k: jax.random.normal(k, size))(key)
            x = x + (noise * strength)[..., None].astype(x.dtype)
        return leaky_relu(x + bias.astype(x.dtype), self.clamp)


class ToRGB(nn.Module):
    """A modulated 1 x 1 convolution without demodulation: (N, R, R, I) -> (N, R, R, features)."""

    features: int
    clamp: float | None = None

    @nn.compact
    def __call__(self, x, w):
        inputs = x.shape[-1]
        weight = self.param("weight", nn.initializers.normal(1.0), (1, 1, inputs, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        style = FullyConnected(inputs, bias_init=1.0, name="affine")(w) / np.sqrt(inputs)
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
    dtype: jnp.dtype = jnp.float32

    @property
    def num_convs(self):
        return 1 if self.first else 2

    @nn.compact
    def __call__(self, x, image, ws, noise_mode="const", key=None):
        """x (N, R', R', I), image (N, R', R', image_features) or None, ws (N, num_convs + 1, w_dim)."""
        keys = [None] * 2 if key is None else [jax.vmap(lambda k, i=i: jax.random.fold_in(k, i))(key) for i in range(2)]
        conv = lambda name, up=False: ModulatedConv(  # noqa: E731
            self.features, self.resolution, up=up, clamp=self.clamp, name=name
        )
        if self.first:
            const = self.param("const", nn.initializers.normal(1.0), (self.resolution, self.resolution, self.features))
            x = jnp.broadcast_to(const.astype(self.dtype), (ws.shape[0],) + const.shape)
        else:
            x = conv("conv0", self.up)(x.astype(self.dtype), ws[:, 0], noise_mode, keys[0])
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
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, ws, noise_mode="const", key=None):
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
            outputs.hidden[name], outputs.skip[name] = x.astype(jnp.float32), image
            first_w += block.num_convs
        return outputs


def block_resolutions(resolution):
    """The resolutions 4, 8, ... of the synthesis blocks."""
    return [2**i for i in range(2, int(np.log2(resolution)) + 1)]


def num_ws(resolution):
    """How many latents a synthesis network consumes: one per convolution, and the last toRGB's."""
    return 2 * len(block_resolutions(resolution))
