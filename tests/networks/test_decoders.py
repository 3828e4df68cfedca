"""The decoder's activation against its definition in double precision."""

import jax
import numpy as np

from dnerf_jax.networks.decoders import softplus


def test_softplus_and_its_gradient_are_the_definition():
    x = np.concatenate([np.linspace(-30, 30, 601), [-1e4, 1e4]]).astype(np.float32)
    exact = np.logaddexp(x.astype(np.float64), 0)
    np.testing.assert_allclose(jax.jit(softplus)(x), exact, rtol=3e-7, atol=1e-37)
    gradient = jax.jit(jax.vmap(jax.grad(softplus)))(x)
    np.testing.assert_allclose(gradient, 1 / (1 + np.exp(-np.clip(x.astype(np.float64), -500, 500))), atol=3e-7)
