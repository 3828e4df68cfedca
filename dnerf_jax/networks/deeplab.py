"""DeepLabV3 (Chen et al. 2017) as torchvision has it: a backbone's features, seen at several scales, to classes.

    backbone                                                 features at 1/16 or 1/8 of the side (`backbones`)
    aspp0 1x1 | aspp1..3 3x3, dilated | pool: image mean     five views of them, concatenated
    project 1x1 -> dropout -> head 3x3 -> classifier 1x1     logits, resized to the image

The dilations are 6, 12, 18 at an output stride of 16, and twice that at 8. Every convolution but the last is followed
by batch norm and a ReLU. Of width 0 all between the features and the dropout is left out, and the head too: classes
are then linear in the backbone's features.

What is small needs finer features. With a pyramid (Lin et al. 2017) those are taken from the backbone on its way, down
to 1/4 of the side, narrowed, and added to what is coarser, resized; a head 3x3 then sees them. The backbone keeps all
of its strides, as it was trained, which takes a small part of the time.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from dnerf_jax.networks.backbones import Backbone, backbone
from dnerf_jax.networks.efficientnet import EfficientNetConfig, centred
from dnerf_jax.networks.resnet import batch_norm, convolution
from dnerf_jax.networks.vit import ViTConfig
from dnerf_jax.ops.ranges import Classes, Fraction, Natural

LAST = "classifier"  # the layer that transfer learning trains


@dataclasses.dataclass(frozen=True)
class DeepLabConfig:
    """A DeepLabV3.

    Attributes:
      backbone: a ResNet or an EfficientNet, with an output stride of 16 or 8, or of 32 with a pyramid; or a ViT, of
        width 0.
      num_classes: logits of a pixel; for a training 0 leaves it to the labels.
      width: channels of each of the five views, and of the head; 0 has neither.
      dropout: share of the channels before the last layers that a training step leaves out.
      pyramid: channels of a pyramid of the backbone's features, and of its head; 0 has none.
    """

    backbone: Backbone
    num_classes: Classes = 0
    width: Natural = 256
    dropout: Fraction = 0.5
    pyramid: Natural = 0

    def __post_init__(self) -> None:
        if isinstance(self.backbone, ViTConfig) and (self.width or self.pyramid):
            raise ValueError(
                f"width is {self.width} and pyramid {self.pyramid}: expected 0, classes linear in the features of a ViT"
            )
        stride = self.backbone.output_stride
        if (stride == 32) != (self.pyramid > 0):
            raise ValueError(
                f"backbone.output_stride is {stride} and pyramid {self.pyramid}: expected 16 or 8 without a pyramid, "
                "since DeepLab dilates in place of strides, or 32 with one"
            )
        if self.pyramid and self.width:
            raise ValueError(f"width is {self.width} and pyramid {self.pyramid}: expected one of them to be 0")

    @property
    def dilations(self) -> tuple[int, int, int]:
        """Of the three dilated views."""
        unit = 96 // self.backbone.output_stride
        return unit, 2 * unit, 3 * unit


class DeepLab(nn.Module):
    """From images (N, H, W, 3), normalised as the weights want them, to logits (N, H, W, num_classes).

    train: whether batch norm takes the batch's own averages (see `resnet`), and channels are dropped, for which there
    has to be a key "dropout".
    """

    config: DeepLabConfig

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        config = self.config
        x = images
        if isinstance(config.backbone, EfficientNetConfig):
            x = centred(images, config.backbone.output_stride)
        *finer, x = backbone(config.backbone)(x, train=train, levels=True)

        def view(x: jax.Array, name: str, size: int = 1, dilation: int = 1, width: int = config.width) -> jax.Array:
            x = convolution(width, size, dilation=dilation, name=f"{name}_conv")(x)
            return nn.relu(batch_norm(train=train, name=f"{name}_bn")(x))

        if config.width:
            views = [view(x, "aspp0")]
            views += [view(x, f"aspp{i}", 3, dilation) for i, dilation in enumerate(config.dilations, start=1)]
            pooled = view(jnp.mean(x, axis=(1, 2), keepdims=True), "pool")
            views.append(jnp.broadcast_to(pooled, views[0].shape))
            x = view(jnp.concatenate(views, axis=-1), "project")
        if config.pyramid:
            narrow = functools.partial(view, width=config.pyramid)
            x = narrow(x, f"pyramid{len(finer)}")
            for level in reversed(range(len(finer))):
                fine = narrow(finer[level], f"pyramid{level}")
                x = fine + jax.image.resize(x, fine.shape, "linear", antialias=False)
        x = nn.Dropout(config.dropout, deterministic=not train)(x)
        head = config.pyramid or config.width
        x = view(x, "head", 3, width=head) if head else x
        x = nn.Conv(config.num_classes, (1, 1), name=LAST)(x)
        shape = (*images.shape[:3], config.num_classes)
        # Between pixel centres, edges repeated; sharpened edges would move with less precise products.
        return jax.image.resize(x, shape, "linear", antialias=False, precision=jax.lax.Precision.HIGHEST)
