"""2D generators: a StyleGAN2 whose image depends on a latent and a camera, and what it knows of every pixel.

    z, c -> w -> synthesis -> image, and the activations of every block -> features of every pixel

It is what DatasetGAN (Zhang et al. 2021) needs of a generator, made of the same modules as EG3D's backbone. The camera
is a condition like the latent: nothing but its training makes two cameras see one head.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from dnerf_jax.models import semantic
from dnerf_jax.networks import stylegan2
from dnerf_jax.networks.semantic_head import SemanticConfig
from dnerf_jax.networks.stylegan2 import BlockOutputs
from dnerf_jax.ops.ranges import Count, Layers, Positive
from dnerf_jax.ops.resizing import resize

C_DIM = 25  # of EG3D's cameras
_HIDDEN = SemanticConfig(features="hidden")


@dataclasses.dataclass(frozen=True)
class ImageGeneratorConfig:
    """A StyleGAN2 of images.

    Attributes:
      z_dim, w_dim: sizes of the latents.
      mapping_layers: of the mapping network, which sees z and the camera.
      resolution: of the images in pixels, a power of two from 4.
      channel_base, channel_max: a block of R x R pixels has min(channel_base // R, channel_max) channels.
      conv_clamp: what activations are clipped to, or None.
    """

    z_dim: Count = 512
    w_dim: Count = 512
    mapping_layers: Layers = 2
    resolution: Count = 256
    channel_base: Count = 32768
    channel_max: Count = 512
    conv_clamp: Positive | None = 256.0

    def __post_init__(self) -> None:
        size = self.resolution
        if size < 4 or size & (size - 1):
            raise ValueError(f"resolution is {size}, expected a power of two from 4: blocks double it")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of every block, coarse to fine; their sum is the number of a pixel's features."""
        resolutions = stylegan2.block_resolutions(self.resolution)
        return tuple(min(self.channel_base // resolution, self.channel_max) for resolution in resolutions)


@struct.dataclass
class ImageGenerator:
    """A 2D generator: its configuration, static under `jit`, and its collections {"params", "buffers"}."""

    config: ImageGeneratorConfig = struct.field(pytree_node=False)
    params: Mapping[str, Any]


class Networks(nn.Module):
    """Mapping and synthesis, under the names that EG3D's have (`generator.Networks`)."""

    config: ImageGeneratorConfig

    def setup(self) -> None:
        config = self.config
        self.mapping = stylegan2.Mapping(config.z_dim, C_DIM, config.w_dim, config.mapping_layers)
        self.synthesis = stylegan2.Synthesis(
            config.resolution, 3, config.channel_base, config.channel_max, config.conv_clamp
        )

    def __call__(self, z: jax.Array, c: jax.Array) -> BlockOutputs:
        """Block outputs of latents z (N, z_dim) and cameras c (N, 25)."""
        w = self.mapping(z, c)
        ws = jnp.broadcast_to(w[:, None], (len(w), stylegan2.num_ws(self.config.resolution), w.shape[-1]))
        return self.synthesis(ws)


@functools.partial(jax.jit, static_argnums=0)
def init(config: ImageGeneratorConfig, key: jax.Array) -> ImageGenerator:
    """A generator with random parameters."""
    z, c = jnp.zeros((1, config.z_dim), jnp.float32), jnp.zeros((1, C_DIM), jnp.float32)
    made = Networks(config).init(key, z, c)
    return ImageGenerator(config, {"params": made["params"], "buffers": made["buffers"]})


def abstract(config: ImageGeneratorConfig) -> ImageGenerator:
    """A generator of shapes and dtypes instead of arrays."""
    return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def synthesize(generator: ImageGenerator, z: jax.Array, c: jax.Array, *, resolution: int | None = None) -> BlockOutputs:
    """Block outputs of latents z (N, z_dim) and cameras c (N, 25, see `cameras.to_eg3d`); `last` is the image.

    Images (N, R, R, 3) are in [-1, 1] but for what was not learned. resolution: that of the finest block to be run, for
    coarse images in less time; None is all of them.

    Raises ValueError: z or c has another size.
    """
    config = generator.config
    for name, given, size in (("z", z, config.z_dim), ("c", c, C_DIM)):
        if given.ndim != 2 or given.shape[-1] != size or len(given) != len(z):
            raise ValueError(f"{name} has shape {given.shape}, expected ({len(z)}, {size})")
    made: Any = Networks(dataclasses.replace(config, resolution=resolution or config.resolution)).apply(
        generator.params, z, c
    )
    return made


def block_features(outputs: BlockOutputs) -> list[jax.Array]:
    """The activations (N, R, R, channels) of all blocks, coarse to fine, whose channels are features of pixels.

    Each block's are scaled to unit mean square per sample, as those of our semantic branch are. DatasetGAN takes both
    layers of a block; here it is the second alone, since the paper wants as many features as the branch has.
    """
    return semantic.select_features(_HIDDEN, outputs)


def pixel_features(outputs: BlockOutputs, resolution: int) -> jax.Array:
    """Features (N, resolution, resolution, F) of pixels: those of all blocks, enlarged and side by side."""
    enlarged = [resize(x, resolution, antialias=False) for x in block_features(outputs)]
    return jnp.concatenate(enlarged, axis=-1)
