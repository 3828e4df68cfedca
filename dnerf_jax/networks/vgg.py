"""VGG16 (Simonyan and Zisserman 2015) without its classifier: the feature maps that perceptual losses compare.

Five blocks of 3 x 3 convolutions, each followed by a ReLU; before each block but the first, the maximum of 2 x 2 places
halves the size. The feature maps are the blocks' ends (relu1_2, relu2_2, relu3_3, relu4_3, relu5_3), as LPIPS takes
them.
"""

import dataclasses

import jax
from flax import linen as nn

from dnerf_jax.ops.ranges import Count

SMALLEST = 16  # pixels, for which the last map has one


@dataclasses.dataclass(frozen=True)
class VGGConfig:
    """Sizes, those of VGG16 unless a test wants fewer.

    Attributes:
      widths: channels of the blocks.
      depths: convolutions of the blocks.
    """

    widths: tuple[Count, ...] = (64, 128, 256, 512, 512)
    depths: tuple[Count, ...] = (2, 2, 3, 3, 3)

    def __post_init__(self) -> None:
        if not len(self.widths) == len(self.depths) == 5:
            raise ValueError(f"widths are {self.widths} and depths {self.depths}, expected 5 of each: one per block")


class VGG(nn.Module):
    """From images (N, H, W, 3), RGB as the weights want them scaled, to five feature maps (N, h, w, channels).

    Convolutions are called conv1_1 to conv5_3. Raises ValueError: an image has less than SMALLEST pixels along a side.
    """

    config: VGGConfig = VGGConfig()

    @nn.compact
    def __call__(self, images: jax.Array) -> list[jax.Array]:
        if min(images.shape[1:3]) < SMALLEST:
            raise ValueError(f"images have {images.shape[1:3]} pixels, expected at least {SMALLEST} along each side")
        x, features = images, []
        for block, (width, depth) in enumerate(zip(self.config.widths, self.config.depths, strict=True), start=1):
            if block > 1:
                x = nn.max_pool(x, (2, 2), strides=(2, 2))
            for layer in range(1, depth + 1):
                x = nn.relu(nn.Conv(width, (3, 3), name=f"conv{block}_{layer}")(x))
            features.append(x)
        return features
