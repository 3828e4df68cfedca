"""One rule for products whose rounding would move geometry: full float32 on every backend.

GPUs and TPUs compute float32 matrix products in lower precision unless told otherwise.
"""

import functools

import jax
import jax.numpy as jnp

einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
