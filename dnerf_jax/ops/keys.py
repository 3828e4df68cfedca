"""Random keys of a batch: one for each of its entries, so that no entry depends on the others."""

import jax
import jax.numpy as jnp


def typed(key: jax.Array) -> jax.Array:
    """Keys (...) as `jax.random.key` makes them; numbers (..., 2), as `jax.random.PRNGKey` does, are wrapped."""
    key = jnp.asarray(key)
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)


def of_batch(key: jax.Array | None, batch: tuple[int, ...], *, entry: str) -> jax.Array | None:
    """Typed keys of a batch, or none for none.

    Raises ValueError: they have another shape. An `entry` is what has a key: a view, say.
    """
    if key is None:
        return None
    key = typed(key)
    if key.shape != batch:
        raise ValueError(f"key has shape {key.shape}, expected one key for every {entry}, {batch}: split it.")
    return key
