"""DatasetGAN's classifier of single pixels (Zhang et al. 2021): three dense layers, batch norm behind two of them."""

import jax
from flax import linen as nn

from dnerf_jax.networks.resnet import batch_norm

FIRST = "dense0"  # the first layer's name


class PixelClassifier(nn.Module):
    """From features (P, F) of pixels to logits (P, num_classes).

    train: see `deeplab.DeepLab`. projected: what is given has been through the first layer already, `FIRST`.
    """

    num_classes: int
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False, projected: bool = False) -> jax.Array:
        for number, width in enumerate(self.widths):
            if number or not projected:
                x = nn.Dense(width, name=f"dense{number}")(x)
            x = nn.relu(x)
            x = batch_norm(train=train, name=f"bn{number}")(x)
        return nn.Dense(self.num_classes, name="last")(x)
