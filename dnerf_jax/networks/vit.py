"""Vision transformers as DINOv2 has them (Oquab et al. 2023), without registers: features of patches of 14 pixels.

    patch_embed 14x14 /14         a token for each patch; cls_token before them
    + pos_embed                   learned on a grid of `grid` x `grid` patches, and interpolated to others
    block0 ... : x + ls1 attn(norm1 x), x + ls2 mlp(norm2 x)      ls scales every channel, and GELU is the exact one
    norm                          layer norm, of epsilon 1e-6 as all here

DINOv2 interpolates bicubically (a = -0.75, edges repeated) by a factor that is 0.1 patches too large, which its weights
were published with, and so is it here. Images whose sides are no multiples of 14 are resized to the next ones.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dnerf_jax.ops.ranges import Count, Layers

_EXCESS = 0.1  # patches by which the factor of the interpolation is too large
_SHARPNESS = -0.75  # a of the cubic


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """Sizes, those of DINOv2's ViT-S/14 unless told.

    Attributes:
      width: channels of a token.
      depth: blocks.
      heads: of the attention.
      grid: side in patches of the images whose positions were learned.
      output_stride: pixels of the image for one of the features: a patch's.
    """

    width: Count = 384
    depth: Layers = 12
    heads: Count = 6
    grid: Count = 37
    output_stride: Literal[14] = 14

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}, expected a multiple of {self.heads}, the heads")


class ViT(nn.Module):
    """From images (N, H, W, 3) to features (N, ceil(H / 14), ceil(W / 14), width).

    train: as of the other backbones; nothing here depends on it. levels: whether the features come as a list, alone.
    """

    config: ViTConfig

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False, levels: bool = False) -> Any:
        config, size = self.config, self.config.output_stride
        number, *sides, _ = images.shape
        rows, columns = (-(-side // size) for side in sides)
        images = jax.image.resize(images, (number, rows * size, columns * size, 3), "linear", antialias=False)
        x = nn.Conv(config.width, (size, size), strides=size, padding="VALID", name="patch_embed")(images)
        first = self.param("cls_token", nn.initializers.zeros, (1, 1, config.width))
        places = self.param("pos_embed", nn.initializers.normal(0.02), (1, 1 + config.grid**2, config.width))
        learned = places[0, 1:].reshape(config.grid, config.grid, config.width)
        here = jnp.einsum("ri,cj,ijd->rcd", *(_between(config.grid, count) for count in (rows, columns)), learned)
        x = (x + here).reshape(number, rows * columns, config.width)
        x = jnp.concatenate([jnp.broadcast_to(first + places[:, :1], (number, 1, config.width)), x], axis=1)
        for index in range(config.depth):
            x = Block(config.heads, name=f"block{index}")(x)
        x = _norm("norm")(x)[:, 1:].reshape(number, rows, columns, config.width)
        return [x] if levels else x


class Block(nn.Module):
    """Attention among tokens (N, T, C), then a layer of four times the width for each alone."""

    heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]

        def scaled(y: jax.Array, name: str) -> jax.Array:
            return y * self.param(f"{name}_gamma", nn.initializers.constant(1e-5), (width,))

        queries_keys_values = nn.Dense(3 * width, name="qkv")(_norm("norm1")(x))
        q, k, v = jnp.split(queries_keys_values.reshape(*x.shape[:2], 3 * self.heads, -1), 3, axis=-2)
        seen = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
        x = x + scaled(nn.Dense(width, name="proj")(seen), "ls1")
        y = nn.gelu(nn.Dense(4 * width, name="fc1")(_norm("norm2")(x)), approximate=False)
        return x + scaled(nn.Dense(width, name="fc2")(y), "ls2")


def _norm(name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-6, name=name)


def _between(size: int, count: int) -> np.ndarray:
    """The weights (count, size) of what was learned at `size` places at each of `count`, by PyTorch's bicubic."""
    if count == size:
        return np.eye(size, dtype=np.float32)
    place = (np.arange(count) + 0.5) * size / (count + _EXCESS) - 0.5
    near = np.floor(place).astype(int)
    weights = np.zeros((count, size))
    for step in range(-1, 3):
        away = np.abs(place - near - step)
        close = ((_SHARPNESS + 2) * away - (_SHARPNESS + 3)) * away**2 + 1
        far = _SHARPNESS * (((away - 5) * away + 8) * away - 4)
        weights[np.arange(count), np.clip(near + step, 0, size - 1)] += np.where(away <= 1, close, far)
    return weights.astype(np.float32)
