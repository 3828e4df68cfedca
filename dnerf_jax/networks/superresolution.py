"""EG3D's super-resolution: two synthesis blocks on the rendered feature image, all fed the last latent."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from dnerf_jax.networks.stylegan2 import SynthesisBlock
from dnerf_jax.ops.ranges import Count, Positive
from dnerf_jax.ops.resizing import resize


@dataclasses.dataclass(frozen=True)
class SuperresolutionConfig:
    """What tells EG3D's super-resolution variants apart.

    Attributes:
      input_resolution: feature images of another size are resized to this one first.
      widths: channels of the two blocks.
      upsample: whether each block doubles the resolution.
      resize_larger: whether images larger than `input_resolution` are resized too; otherwise they are refused.
      antialias: filter when shrinking.
      clamp: bound on activations, or None.
      noise_mode: "none" in published models.
    """

    input_resolution: Count = 128
    widths: tuple[Count, Count] = (256, 128)
    upsample: tuple[bool, bool] = (True, True)
    resize_larger: bool = True
    antialias: bool = True
    clamp: Positive | None = 256.0
    noise_mode: Literal["random", "const", "none"] = "none"

    @property
    def resolutions(self) -> tuple[int, int]:
        """The resolutions of the two blocks; the second is the final image's."""
        first = self.input_resolution * (2 if self.upsample[0] else 1)
        return first, first * (2 if self.upsample[1] else 1)


# By the names of EG3D's classes.
PRESETS = {
    "SuperresolutionHybrid8XDC": SuperresolutionConfig(),
    "SuperresolutionHybrid8X": SuperresolutionConfig(widths=(128, 64)),
    "SuperresolutionHybrid4X": SuperresolutionConfig(widths=(128, 64), upsample=(False, True), resize_larger=False),
    "SuperresolutionHybrid2X": SuperresolutionConfig(input_resolution=64, widths=(128, 64), upsample=(False, True)),
    "SuperresolutionHybridDeepfp32": SuperresolutionConfig(
        widths=(128, 64), upsample=(False, True), resize_larger=False, antialias=False
    ),
}


class Superresolution(nn.Module):
    """From a feature image (N, h, w, channels) and the last latent (N, w_dim) to the image (N, R, R, 3).

    The first three channels of the features are its starting image. Values are about [-1, 1].
    """

    config: SuperresolutionConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, w: jax.Array, key: jax.Array | None = None) -> jax.Array:
        config = self.config
        size = features.shape[-2]
        if size > config.input_resolution and not config.resize_larger:
            raise ValueError(
                f"This super-resolution takes feature images of at most {config.input_resolution} pixels; got {size}. "
                "Render at a lower resolution."
            )
        if size != config.input_resolution:
            features = resize(features, config.input_resolution, antialias=config.antialias)
        x, image = features, features[..., :3]
        ws = jnp.broadcast_to(w[:, None, :], (w.shape[0], 3, w.shape[-1]))
        if config.noise_mode == "random" and key is None:
            raise ValueError("This super-resolution has noise_mode='random' and needs a key (N,).")
        for i, resolution in enumerate(config.resolutions):
            block_key = None if key is None else jax.vmap(lambda k, r=resolution: jax.random.fold_in(k, r))(key)
            block = SynthesisBlock(
                features=config.widths[i],
                resolution=resolution,
                image_features=3,
                up=config.upsample[i],
                clamp=config.clamp,
                dtype=self.dtype,
                name=f"block{i}",
            )
            x, image = block(x, image, ws, config.noise_mode, block_key)
        return image
