"""An encoder: from an image of any scene of a generator to a guess at its latent and its camera.

A residual network of four scales with group normalisation and a dense head that sees where things are (no average over
the image: a pose is about places). Inverting a photo starts from its guess (see `training.inversion`).
"""

import dataclasses

import jax
from flax import linen as nn

from dnerf_jax.ops.ranges import Count, Layers

POSE = ("yaw", "pitch", "roll", "right", "down", "zoom")  # what the last six outputs are


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """The architecture of an encoder.

    Attributes:
      resolution: side of the images that it sees; a multiple of 16.
      widths: channels at a half of that resolution, at a quarter, an eighth and a sixteenth.
      blocks: residual blocks at each scale.
      hidden: width of the dense head.
      z_dim: numbers of the generator's latents.
    """

    resolution: Count = 64
    widths: tuple[Count, Count, Count, Count] = (32, 64, 128, 192)
    blocks: Layers = 2
    hidden: Count = 512
    z_dim: Count = 512

    def __post_init__(self) -> None:
        if self.resolution % 16:
            raise ValueError(f"resolution is {self.resolution}, expected a multiple of 16: four blocks halve it")


class Encoder(nn.Module):
    """From images (N, R, R, 3) in [-1, 1] to (N, z_dim + 6): the latent, and the pose in the units of its training."""

    config: EncoderConfig

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        config = self.config
        x = nn.Conv(config.widths[0], (4, 4), strides=(2, 2), name="stem")(image)
        for scale, width in enumerate(config.widths):
            for block in range(config.blocks):
                x = _Residual(width, stride=2 if scale and not block else 1, name=f"block{scale}_{block}")(x)
        x = nn.silu(_normalized(x, "norm"))
        x = nn.Conv(max(1, config.widths[-1] // 3), (1, 1), name="squeeze")(x)
        x = nn.silu(nn.Dense(config.hidden, name="hidden")(x.reshape((len(x), -1))))
        return nn.Dense(config.z_dim + len(POSE), name="out", kernel_init=nn.initializers.zeros)(x)


class _Residual(nn.Module):
    """Two 3 x 3 convolutions, normalised before each, beside a shortcut."""

    width: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        strides, shortcut = (self.stride, self.stride), x
        if self.stride > 1:
            shortcut = nn.avg_pool(shortcut, strides, strides=strides)
        if x.shape[-1] != self.width:
            shortcut = nn.Conv(self.width, (1, 1), use_bias=False, name="shortcut")(shortcut)
        x = nn.Conv(self.width, (3, 3), strides=strides, name="conv0")(nn.silu(_normalized(x, "norm0")))
        return shortcut + nn.Conv(self.width, (3, 3), name="conv1")(nn.silu(_normalized(x, "norm1")))


def _normalized(x: jax.Array, name: str) -> jax.Array:
    return nn.GroupNorm(num_groups=None, group_size=8 if x.shape[-1] % 8 == 0 else x.shape[-1], name=name)(x)
