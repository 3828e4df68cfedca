"""ResNet (He et al. 2015) as torchvision has it, without its classifier: the backbone of segmentation networks.

    conv 7x7 /2 -> bn -> relu -> max pool 3x3 /2            1/4 of the side
    layer1 | layer2 /2 | layer3 /2 | layer4 /2              1/4, 1/8, 1/16, 1/32; widths W, 2W, 4W, 8W

A basic block has two 3 x 3 convolutions; a bottleneck 1 x 1, 3 x 3, 1 x 1, the last four times as wide as its layer
says. The stride is that of the first 3 x 3. An output stride of 16 or 8 replaces the strides of the last one or two
layers by dilation: their first block keeps the dilation that came before, all others have twice that for each stride
replaced. torchvision dilates bottlenecks only; here basic blocks are dilated in both of their convolutions.

Batch norm: epsilon 1e-5, and running averages that keep 0.9 of themselves (torch's momentum of 0.1). Torch averages
variances divided by n - 1, Linen by n, n the places of a batch: after training they differ by a factor n / (n - 1), at
evaluation with given averages not at all.
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
from flax import linen as nn

from dnerf_jax.ops.ranges import Count, Layers


@dataclasses.dataclass(frozen=True)
class ResNetConfig:
    """Sizes; (2, 2, 2, 2) of basic blocks is ResNet-18, (3, 4, 6, 3) and (3, 4, 23, 3) of bottlenecks are 50 and 101.

    Attributes:
      blocks: in each of the four layers.
      bottleneck: whether blocks are bottlenecks.
      width: channels of the first convolution.
      output_stride: pixels of the image for one of the last layer.
    """

    blocks: tuple[Layers, Layers, Layers, Layers] = (2, 2, 2, 2)
    bottleneck: bool = False
    width: Count = 64
    output_stride: Literal[32, 16, 8] = 32

    @property
    def channels(self) -> int:
        """Of the last layer."""
        return 8 * self.width * (4 if self.bottleneck else 1)


class ResNet(nn.Module):
    """From images (N, H, W, 3) to features (N, H / s, W / s, channels) of the last layer, s the output stride.

    train: whether batch norm takes the batch's own averages, and updates the running ones ("batch_stats").
    levels: whether to return a list of features instead: the last of every size, from 1/4 of the side on.
    """

    config: ResNetConfig

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False, levels: bool = False) -> Any:
        config, found = self.config, {}
        x = convolution(config.width, 7, stride=2, name="conv1")(images)
        x = nn.relu(batch_norm(train=train, name="bn1")(x))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        stride_so_far, dilation = 4, 1
        for layer, count in enumerate(config.blocks):
            stride, before = 2 if layer else 1, dilation
            if stride * stride_so_far > config.output_stride:
                stride, dilation = 1, 2 * dilation
            stride_so_far *= stride
            for index in range(count):
                block = Block(
                    width=config.width * 2**layer,
                    bottleneck=config.bottleneck,
                    stride=1 if index else stride,
                    dilation=dilation if index else before,
                    name=f"layer{layer + 1}_{index}",
                )
                x = block(x, train=train)
            found[stride_so_far] = x
        return list(found.values()) if levels else x


class Block(nn.Module):
    """Two or three convolutions beside a shortcut, which is a 1 x 1 convolution where sizes change."""

    width: int
    bottleneck: bool
    stride: int
    dilation: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        norm = functools.partial(batch_norm, train=train)
        strided = functools.partial(convolution, self.width, 3, stride=self.stride, dilation=self.dilation)
        if self.bottleneck:
            parts = [convolution(self.width, 1, name="conv1"), strided(name="conv2")]
            parts.append(convolution(4 * self.width, 1, name="conv3"))
        else:
            parts = [strided(name="conv1"), convolution(self.width, 3, dilation=self.dilation, name="conv2")]
        y = x
        for number, part in enumerate(parts, start=1):
            y = norm(name=f"bn{number}")(part(y))
            y = y if number == len(parts) else nn.relu(y)
        if self.stride > 1 or x.shape[-1] != y.shape[-1]:
            x = convolution(y.shape[-1], 1, stride=self.stride, name="downsample_conv")(x)
            x = norm(name="downsample_bn")(x)
        return nn.relu(x + y)


def convolution(features: int, size: int, *, stride: int = 1, dilation: int = 1, name: str) -> nn.Conv:
    """A convolution as torch pads it, by half the dilated kernel on every side, without a bias."""
    pad = dilation * (size // 2)
    return nn.Conv(
        features,
        (size, size),
        strides=stride,
        padding=((pad, pad), (pad, pad)),
        kernel_dilation=dilation,
        use_bias=False,
        kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
        name=name,
    )


def batch_norm(*, train: bool, name: str) -> nn.BatchNorm:
    """Batch norm as torchvision's networks have it; see above."""
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, name=name)
