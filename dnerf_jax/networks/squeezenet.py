"""SqueezeNet 1.1 (Iandola et al. 2016) without its classifier: the feature maps that perceptual losses compare.

    conv 3x3 /2 -> relu                                 features 0, 64 channels
    pool -> fire2, fire3                                features 1, 128
    pool -> fire4, fire5                                features 2, 256
    pool -> fire6 | fire7 | fire8 | fire9               features 3 to 6, 384, 384, 512, 512

A "fire" squeezes by a 1 x 1 convolution, then expands by one of 1 x 1 and one of 3 x 3 whose channels are concatenated;
each is followed by a ReLU. Pools take the maximum of 3 x 3 every 2 pixels and look over the last row and column where
these are left over, as Caffe's do. These seven maps are those that LPIPS takes of this network.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from dnerf_jax.ops.ranges import Count

SMALLEST = 17  # pixels, for which the last map has one


@dataclasses.dataclass(frozen=True)
class SqueezeNetConfig:
    """Sizes, those of SqueezeNet 1.1 unless a test wants fewer.

    Attributes:
      stem: channels of the first convolution.
      fires: for fire2 to fire9, channels of the squeezing convolution; each of the two that expand has four times as
        many.
    """

    stem: Count = 64
    fires: tuple[Count, ...] = (16, 16, 32, 32, 48, 48, 64, 64)

    def __post_init__(self) -> None:
        if len(self.fires) != 8:
            raise ValueError(f"fires are {self.fires}, expected 8 numbers of channels: of fire2 to fire9")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the feature maps."""
        return (self.stem, *(8 * self.fires[i] for i in (1, 3, 4, 5, 6, 7)))


class Fire(nn.Module):
    """Squeezes features (N, h, w, C) to `squeezed` channels and expands these to eight times as many."""

    squeezed: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(self.squeezed, (1, 1), name="squeeze1x1")(x))
        sizes = {"expand1x1": (1, 1), "expand3x3": (3, 3)}
        parts = [nn.Conv(4 * self.squeezed, size, name=name)(x) for name, size in sizes.items()]
        return nn.relu(jnp.concatenate(parts, axis=-1))


class SqueezeNet(nn.Module):
    """From images (N, H, W, 3), RGB as the weights want them scaled, to seven feature maps (N, h, w, channels).

    Raises ValueError: an image has less than SMALLEST pixels along a side.
    """

    config: SqueezeNetConfig = SqueezeNetConfig()

    @nn.compact
    def __call__(self, images: jax.Array) -> list[jax.Array]:
        if min(images.shape[1:3]) < SMALLEST:
            raise ValueError(f"images have {images.shape[1:3]} pixels, expected at least {SMALLEST} along each side")
        stem = nn.Conv(self.config.stem, (3, 3), strides=2, padding="VALID", name="conv1")
        x = nn.relu(stem(images))
        features = [x]
        for number, squeezed in enumerate(self.config.fires, start=2):
            if number in (2, 4, 6):
                x = pool(x)
            x = Fire(squeezed, name=f"fire{number}")(x)
            if number in (3, 5) or number > 5:
                features.append(x)
        return features


def pool(x: jax.Array) -> jax.Array:
    """The maximum of 3 x 3 places of (N, h, w, C), every 2, the last ones over the edge where h or w is even."""
    over = [(0, (size + 1) % 2) for size in x.shape[1:3]]
    return nn.max_pool(x, (3, 3), strides=(2, 2), padding=over)
