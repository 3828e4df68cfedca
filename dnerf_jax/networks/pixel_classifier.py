"""DatasetGAN's classifier of single pixels (Zhang et al. 2021): three dense layers, batch norm behind two of them."""

import jax
from flax import linen as nn

from dnerf_jax.networks.resnet import batch_norm


class PixelClassifier(nn.Module):
    """From features (P, F) of pixels to logits (P, num_classes). train: see `deeplab.DeepLab`."""

    num_classes: int
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        for number, width in enumerate(self.widths):
            x = nn.relu(nn.Dense(width, name=f"dense{number}")(x))
            x = batch_norm(train=train, name=f"bn{number}")(x)
        return nn.Dense(self.num_classes, name="last")(x)
