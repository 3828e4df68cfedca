"""IR-SE50, the network of ArcFace (Deng et al. 2019) in its usual PyTorch form: from 112 x 112 pixels to 512 numbers.

    conv 3x3 -> norm -> prelu
    blocks: norm -> conv 3x3 -> prelu -> conv 3x3 (/2 in a stage's first) -> norm -> squeeze and excite, added to
            every second place of what they got, or to a 1 x 1 convolution of it and norm where the width changes
    norm -> all 7 x 7 x 512 numbers by one matrix -> norm

"Norm" is batch normalisation as it is after training: a scale and an offset of every channel.
"""

import dataclasses

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from dnerf_jax.ops.ranges import Count


@dataclasses.dataclass(frozen=True)
class ArcFaceConfig:
    """Sizes, those of IR-SE50 unless a test wants fewer.

    Attributes:
      widths: channels of the stages; the first convolution has those of the first stage.
      depths: blocks of the stages.
      reduction: by which the excitation's hidden layer is narrower.
      features: length of the embedding.
    """

    widths: tuple[Count, ...] = (64, 128, 256, 512)
    depths: tuple[Count, ...] = (3, 4, 14, 3)
    reduction: Count = 16
    features: Count = 512

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.depths) or not self.widths:
            raise ValueError(f"widths are {self.widths} and depths {self.depths}, expected one of each per stage")


class Norm(nn.Module):
    """Scale and offset of the channels of (..., C)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        return x * scale + self.param("bias", nn.initializers.zeros, x.shape[-1:])


class PReLU(nn.Module):
    """What is negative in (..., C) times the channel's slope."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, x, x * self.param("slope", nn.initializers.constant(0.25), x.shape[-1:]))


class Block(nn.Module):
    """A block of (N, h, w, C), to `width` channels and every `stride`-th place."""

    width: int
    stride: int
    reduction: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = _conv(self.width, 3, name="conv0")(Norm(name="norm0")(x))
        y = _conv(self.width, 3, self.stride, name="conv1")(PReLU(name="prelu")(y))
        y = Norm(name="norm1")(y)
        hidden = nn.relu(_conv(self.width // self.reduction, 1, name="squeeze")(jnp.mean(y, (1, 2), keepdims=True)))
        y = y * nn.sigmoid(_conv(self.width, 1, name="excite")(hidden))
        if x.shape[-1] == self.width:
            return y + x[:, :: self.stride, :: self.stride]
        return y + Norm(name="shortcut_norm")(_conv(self.width, 1, self.stride, name="shortcut")(x))


class ArcFace(nn.Module):
    """From faces (N, H, W, 3), RGB as the weights want them scaled, to embeddings (N, features), not normalised."""

    config: ArcFaceConfig = ArcFaceConfig()

    @nn.compact
    def __call__(self, faces: jax.Array) -> jax.Array:
        config = self.config
        x = PReLU(name="prelu")(Norm(name="norm")(_conv(config.widths[0], 3, name="conv")(faces)))
        for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            for block in range(depth):
                stride = 2 if block == 0 else 1
                x = Block(width, stride, config.reduction, name=f"stage{stage}_{block}")(x)
        flat = rearrange(Norm(name="last_norm")(x), "n h w c -> n (h w c)")
        return Norm(name="embedding_norm")(nn.Dense(config.features, name="embedding")(flat))


def _conv(width: int, size: int, stride: int = 1, *, name: str) -> nn.Conv:
    """A convolution without a bias that keeps the size, or takes every `stride`-th place."""
    return nn.Conv(width, (size, size), strides=stride, padding=size // 2, use_bias=False, name=name)
