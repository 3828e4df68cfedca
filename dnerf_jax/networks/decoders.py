"""The small network that turns a tri-plane feature into density and colour features."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from dnerf_jax.networks.stylegan2 import FullyConnected


@jax.custom_jvp
def softplus(x):
    """log(1 + exp(x)), to 1e-7: several times as fast as JAX's own, which keeps all digits far below 0."""
    return jnp.maximum(x, 0) + jnp.log(1 + jnp.exp(-jnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(primals, tangents):
    y = softplus(*primals)
    return y, -jnp.expm1(-y) * tangents[0]  # the sigmoid, from the value alone: nothing else need be kept


class Decoder(nn.Module):
    """EG3D's decoder: mean features of the planes (..., N, C) -> raw density (..., N) and features (..., N, F).

    Density is raw (`volume.weights_from_density` activates it); features lie in
    [-0.001, 1.001], the first three are the colour.
    """

    features: int = 32
    hidden: int = 64
    lr_multiplier: float = 1.0

    @nn.compact
    def __call__(self, features):
        x = softplus(FullyConnected(self.hidden, self.lr_multiplier, name="fc0")(features))
        x = FullyConnected(1 + self.features, self.lr_multiplier, name="fc1")(x)
        return x[..., 0], jax.nn.sigmoid(x[..., 1:]) * 1.002 - 0.001
