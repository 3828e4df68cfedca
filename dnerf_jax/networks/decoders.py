"""The small network that turns a tri-plane feature into density and colour features."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from dnerf_jax.networks.stylegan2 import FullyConnected


def add_planes(plane_features):
    """The sum over planes of features (..., P, N, C).

    Written as additions: as a reduction, XLA runs it and the sampling before it on one core of a CPU, ten times slower.
    """
    return functools.reduce(jnp.add, (plane_features[..., p, :, :] for p in range(plane_features.shape[-3])))


class Decoder(nn.Module):
    """EG3D's decoder: features of the planes (..., P, N, C) -> raw density (..., N) and features (..., N, F).

    The planes' features are averaged. Density is raw (`volume.weights_from_density` activates it); features lie in
    [-0.001, 1.001], the first three are the colour.
    """

    features: int = 32
    hidden: int = 64
    lr_multiplier: float = 1.0

    @nn.compact
    def __call__(self, plane_features):
        x = add_planes(plane_features) / plane_features.shape[-3]
        x = jax.nn.softplus(FullyConnected(self.hidden, self.lr_multiplier, name="fc0")(x))
        x = FullyConnected(1 + self.features, self.lr_multiplier, name="fc1")(x)
        return x[..., 0], jax.nn.sigmoid(x[..., 1:]) * 1.002 - 0.001
