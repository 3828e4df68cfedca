"""Keys of a batch: typed or older ones, and as many as there are entries."""

import jax
import numpy as np
import pytest

from dnerf_jax.ops import keys


def test_older_keys_are_wrapped():
    for make in (lambda key: key, jax.random.split):
        typed, older = make(jax.random.key(3)), make(jax.random.PRNGKey(3))
        wrapped = keys.typed(older)
        assert wrapped.shape == typed.shape
        np.testing.assert_array_equal(jax.random.key_data(wrapped), jax.random.key_data(typed))


def test_there_is_one_key_for_every_entry():
    assert keys.of_batch(None, (4,), entry="view") is None
    assert keys.of_batch(jax.random.split(jax.random.PRNGKey(0), 4), (4,), entry="view").shape == (4,)
    for key in (jax.random.key(0), jax.random.PRNGKey(0), jax.random.split(jax.random.key(0), 3)):
        with pytest.raises(
            ValueError, match=r"key has shape \(.*\), expected one key for every view, \(4,\): split it"
        ):
            keys.of_batch(key, (4,), entry="view")


def test_a_key_that_is_drawn_from_twice_is_an_error(key):
    """In the tests of all that draws, of which this is one: `conftest.DRAWING`."""
    jax.random.normal(key)
    with pytest.raises(jax.errors.KeyReuseError):
        jax.random.normal(key)
