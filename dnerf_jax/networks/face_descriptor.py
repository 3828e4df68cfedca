"""dlib's face descriptor (King 2017): a residual network of 29 layers, from a face of 150 x 150 pixels to 128 numbers.

    conv 7x7 /2 -> relu -> pool                                        35 x 35
    residual blocks, in stages of growing width; the first block of every stage but the first halves the size
    mean over places -> a matrix without a bias

A block adds what it gets to two 3 x 3 convolutions of it. Where it halves, its first convolution takes every second
place, and what it adds is the mean of 2 x 2 places; what is smaller of the two, in size or in channels, is filled up
with zeros behind. Convolutions of stride 2 and pools see nothing beyond the edge. In dlib each convolution is followed
by a scale and an offset of every channel: `converters.dlib_face` multiplies these into its weights.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from dnerf_jax.ops.ranges import Count


@dataclasses.dataclass(frozen=True)
class FaceDescriptorConfig:
    """Sizes, those of dlib's network unless a test wants fewer.

    Attributes:
      widths: channels of the stages; the first convolution has those of the first stage.
      depths: blocks of the stages.
      features: length of the descriptor.
    """

    widths: tuple[Count, ...] = (32, 64, 128, 256, 256)
    depths: tuple[Count, ...] = (3, 4, 3, 3, 1)
    features: Count = 128

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.depths) or not self.widths:
            raise ValueError(f"widths are {self.widths} and depths {self.depths}, expected one of each per stage")


class Block(nn.Module):
    """A residual block of (N, h, w, C), to `width` channels, and to half the size where it `halves`."""

    width: int
    halves: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        first = nn.Conv(self.width, (3, 3), strides=2 if self.halves else 1, padding=0 if self.halves else 1, name="a")
        y = nn.Conv(self.width, (3, 3), padding=1, name="b")(nn.relu(first(x)))
        if self.halves:
            x = nn.avg_pool(x, (2, 2), strides=(2, 2))
        return nn.relu(_filled(x, y.shape) + _filled(y, x.shape))


class FaceDescriptor(nn.Module):
    """From faces (N, H, W, 3), RGB as the weights want them scaled, to descriptors (N, features)."""

    config: FaceDescriptorConfig = FaceDescriptorConfig()

    @nn.compact
    def __call__(self, faces: jax.Array) -> jax.Array:
        config = self.config
        stem = nn.Conv(config.widths[0], (7, 7), strides=2, padding=0, name="stem")
        x = nn.max_pool(nn.relu(stem(faces)), (3, 3), strides=(2, 2))
        for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            for block in range(depth):
                x = Block(width, halves=stage > 0 and block == 0, name=f"stage{stage}_{block}")(x)
        return nn.Dense(config.features, use_bias=False, name="descriptor")(jnp.mean(x, axis=(1, 2)))


def _filled(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """x (N, h, w, C) with zeros behind, so that no dimension is smaller than in `shape`."""
    return jnp.pad(x, [(0, max(wanted - have, 0)) for have, wanted in zip(x.shape, shape, strict=True)])
