"""EfficientNet-Lite (Liu 2020, after Tan and Le 2019), without its classifier: a small backbone of pretrained weights.

    stem 3x3 /2                                          1/2 of the side
    stage 1 3x3 | 2 3x3 /2 | 3 5x5 /2 | 4 3x3 /2         1/2, 1/4, 1/8, 1/16
    stage 5 5x5 | 6 5x5 /2 | 7 3x3 | head 1x1            1/16, 1/32

A block widens by 1 x 1, looks around channel by channel, and narrows by 1 x 1 without a nonlinearity; where sizes stay,
what came in is added. Lite means: ReLU6 everywhere, no squeeze and excitation. Images are padded as TensorFlow does it,
at a stride of 2 and an even side at the right and at the bottom only.

Each convolution is followed by batch norm of epsilon 1e-3, whose running averages keep 0.9 of themselves. Its authors
have 0.99, but trainings here are of some hundred steps: too much was left of ImageNet's averages after them.

An output stride of 16 or 8 replaces strides by dilation, as in `resnet`.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from dnerf_jax.ops.ranges import Count, Layers

_KERNELS = (3, 3, 5, 3, 5, 5, 3)
_STRIDES = (1, 2, 2, 2, 1, 2, 1)


@dataclasses.dataclass(frozen=True)
class EfficientNetConfig:
    """Sizes, those of EfficientNet-Lite0 unless a test wants fewer.

    Attributes:
      repeats: blocks of each of the seven stages.
      widths: channels of each stage.
      stem, head: channels of the first and of the last convolution.
      expansion: how much wider a block is inside; those of the first stage are not.
      output_stride: pixels of the image for one of the last features.
    """

    repeats: tuple[Layers, Layers, Layers, Layers, Layers, Layers, Layers] = (1, 2, 2, 3, 3, 4, 1)
    widths: tuple[Count, Count, Count, Count, Count, Count, Count] = (16, 24, 40, 80, 112, 192, 320)
    stem: Count = 32
    head: Count = 1280
    expansion: Count = 6
    output_stride: Literal[32, 16, 8] = 32


class EfficientNet(nn.Module):
    """From images (N, H, W, 3) to features (N, H / s, W / s, head), s the output stride, sides rounded up.

    train, levels: as in `resnet`.
    """

    config: EfficientNetConfig

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False, levels: bool = False) -> Any:
        config, found = self.config, {}
        x = nn.Conv(config.stem, (3, 3), strides=2, use_bias=False, name="stem_conv")(images)
        x = nn.relu6(_norm(train, "stem_bn")(x))
        stride_so_far, dilation, number = 2, 1, 0
        for stage, count in enumerate(config.repeats):
            stride, before = _STRIDES[stage], dilation
            if stride * stride_so_far > config.output_stride:
                stride, dilation = 1, 2 * dilation
            stride_so_far *= stride
            for index in range(count):
                block = Block(
                    width=config.widths[stage],
                    expansion=config.expansion if stage else 1,
                    size=_KERNELS[stage],
                    stride=1 if index else stride,
                    dilation=dilation if index else before,
                    shortcut=bool(index) or _STRIDES[stage] == 1,
                    name=f"block{number}",
                )
                x, number = block(x, train=train), number + 1
            found[stride_so_far] = x
        x = nn.Conv(config.head, (1, 1), use_bias=False, name="head_conv")(x)
        x = nn.relu6(_norm(train, "head_bn")(x))
        return [*(found[stride] for stride in (4, 8, 16) if stride < stride_so_far), x] if levels else x


def centred(images: jax.Array, output_stride: int) -> jax.Array:
    """Images (N, H, W, 3) moved left and up by half of what dilation saved, edges repeated, what leaves them cut off.

    A feature at the full stride of 32 is about the middle of its 32 pixels: a stride's kernel has learned to weigh what
    it steps over evenly. Where dilation takes the stride's place, that feature stands last among those that share its
    pixels (at 8, number 4 k + 3 is number k of 32, to the last digit), so that each shows what lies half of
    32 - output_stride pixels before it.
    """
    shift = (32 - output_stride) // 2
    return jnp.pad(images, ((0, 0), (0, shift), (0, shift), (0, 0)), mode="edge")[:, shift:, shift:]


class Block(nn.Module):
    """An inverted bottleneck. shortcut: whether what came in is added, where it has as many channels."""

    width: int
    expansion: int
    size: int
    stride: int
    dilation: int
    shortcut: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y, inner = x, x.shape[-1] * self.expansion
        if self.expansion > 1:
            y = nn.Conv(inner, (1, 1), use_bias=False, name="expand_conv")(y)
            y = nn.relu6(_norm(train, "expand_bn")(y))
        y = Depthwise(self.size, self.stride, self.dilation, name="depthwise_conv")(y)
        y = nn.relu6(_norm(train, "depthwise_bn")(y))
        y = nn.Conv(self.width, (1, 1), use_bias=False, name="project_conv")(y)
        y = _norm(train, "project_bn")(y)
        return x + y if self.shortcut and x.shape[-1] == self.width else y


class Depthwise(nn.Module):
    """A convolution of each channel alone."""

    size: int
    stride: int
    dilation: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
        kernel = self.param("kernel", init, (self.size, self.size, 1, x.shape[-1]))
        return depthwise(x, kernel, self.stride, self.dilation)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise(x: jax.Array, kernel: jax.Array, stride: int, dilation: int) -> jax.Array:
    """Convolves each channel of x (N, H, W, C) with its own kernel (k, k, 1, C), padded as TensorFlow does it.

    As a sum over the places of the kernel: XLA's own of so many groups takes three to twenty times as long on a CPU.
    """
    spans = [_span(side, len(kernel), stride, dilation) for side in x.shape[1:3]]
    padded = jnp.pad(x, ((0, 0), *(pads for _, pads in spans), (0, 0)))
    parts = _parts(padded, len(kernel), [count for count, _ in spans], stride, dilation)
    return sum(kernel[i, j, 0] * part for i, j, part in parts)  # type: ignore[return-value]


def _forward(x: jax.Array, kernel: jax.Array, stride: int, dilation: int) -> tuple[jax.Array, tuple]:
    return depthwise(x, kernel, stride, dilation), (x, kernel)


def _backward(stride: int, dilation: int, seen: tuple, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same sums: of the cotangent, zeros in its strides, with the kernel turned; and of its products with x."""
    (x, kernel), sides, size = seen, seen[0].shape[1:3], len(seen[1])
    spans = [_span(side, size, stride, dilation) for side in sides]
    reach = (size - 1) * dilation
    edges = [
        (reach - pads[0], side + pads[0] - (count - 1) * stride - 1, stride - 1)
        for side, (count, pads) in zip(sides, spans, strict=True)
    ]
    spread = jax.lax.pad(cotangent, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    of_x = sum(kernel[-1 - i, -1 - j, 0] * part for i, j, part in _parts(spread, size, sides, 1, dilation))
    padded = jnp.pad(x, ((0, 0), *(pads for _, pads in spans), (0, 0)))

    def add(sums: list[jax.Array], image: tuple[jax.Array, jax.Array]) -> tuple[list[jax.Array], None]:
        parts = _parts(image[0][None], size, [count for count, _ in spans], stride, dilation)
        return [total + part[0] * image[1] for total, (_, _, part) in zip(sums, parts, strict=True)], None

    # One image after the other: to sum over all places at once took XLA three times as long.
    nothing = [jnp.zeros_like(cotangent[0])] * size**2
    sums, _ = jax.lax.scan(add, nothing, (padded, cotangent))
    of_kernel = jnp.stack([jnp.sum(total, axis=(0, 1)) for total in sums])
    return of_x, of_kernel.reshape(kernel.shape)  # type: ignore[return-value]


depthwise.defvjp(_forward, _backward)


def _span(side: int, size: int, stride: int, dilation: int) -> tuple[int, tuple[int, int]]:
    """How many places a side has after a convolution, and how much is padded before and behind it."""
    count = -(-side // stride)
    missing = max((count - 1) * stride + (size - 1) * dilation + 1 - side, 0)
    return count, (missing // 2, missing - missing // 2)


def _parts(
    x: jax.Array, size: int, counts: Sequence[int], stride: int, dilation: int
) -> Iterator[tuple[int, int, jax.Array]]:
    """What each place (i, j) of a kernel sees."""
    for i in range(size):
        for j in range(size):
            rows, columns = (
                slice(at * dilation, at * dilation + (count - 1) * stride + 1, stride)
                for at, count in zip((i, j), counts, strict=True)
            )
            yield i, j, x[:, rows, columns]


def _norm(train: bool, name: str) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-3, name=name)
