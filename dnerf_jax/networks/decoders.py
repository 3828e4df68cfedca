"""The small network that turns a tri-plane feature into density and colour features."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from numpy.polynomial import Chebyshev, Polynomial

from dnerf_jax.networks.stylegan2 import FullyConnected

# log(1 + e) / e for e in (0, 1], to 3e-8, as a polynomial: a logarithm takes three times as long.
_LOG1P_SLOPE = (
    Chebyshev.interpolate(lambda e: np.log1p(e) / e, 9, [0, 1]).convert(kind=Polynomial).coef[::-1].astype(np.float32)
)


@jax.custom_jvp
def softplus(x: jax.Array) -> jax.Array:
    """log(1 + exp(x)), to 2e-7 of its value as JAX's own, which takes several times as long."""
    small = jnp.exp(-jnp.abs(x))
    return jnp.maximum(x, 0) + small * jnp.polyval(_LOG1P_SLOPE, small)


@softplus.defjvp
def _softplus_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    y = softplus(*primals)
    return y, -jnp.expm1(-y) * tangents[0]  # the sigmoid, from the value alone: nothing else need be kept


class ShapeDecoder(nn.Module):
    """What a w (..., W) says of a template's shape (..., S)."""

    shapes: int
    hidden: int

    @nn.compact
    def __call__(self, w: jax.Array) -> jax.Array:
        return FullyConnected(self.shapes, name="fc1")(softplus(FullyConnected(self.hidden, name="fc0")(w)))


class Decoder(nn.Module):
    """EG3D's decoder: mean features of the planes (..., N, C) -> raw density (..., N) and features (..., N, F).

    Density is raw (`volume.weights_from_density` activates it); features lie in [-0.001, 1.001], the first three are
    the colour.
    """

    features: int = 32
    hidden: int = 64
    lr_multiplier: float = 1.0

    @nn.compact
    def __call__(self, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = softplus(FullyConnected(self.hidden, self.lr_multiplier, name="fc0")(features))
        x = FullyConnected(1 + self.features, self.lr_multiplier, name="fc1")(x)
        return x[..., 0], jax.nn.sigmoid(x[..., 1:]) * 1.002 - 0.001
