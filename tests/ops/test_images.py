"""Images to bytes and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.ops import images

LEVELS = np.arange(256, dtype=np.uint8)


def test_to_uint8_rounds_clips_and_refuses():
    image = np.array([-1.0, -0.999, 0.0, 1.0, 1.7, -3.0], np.float32).reshape(1, 2, 3)
    np.testing.assert_array_equal(images.to_uint8(image).ravel(), [0, 0, 128, 255, 255, 0])
    np.testing.assert_array_equal(images.to_uint8(jnp.asarray(image)), images.to_uint8(image))
    with pytest.raises(ValueError, match="type uint8"):
        images.to_uint8(LEVELS)
    with pytest.raises(ValueError, match="1 values that are not finite"):
        images.to_uint8(np.array([0.0, np.nan]))


def test_bytes_return_as_they_were():
    values = images.from_uint8(LEVELS)
    assert values.dtype == np.float32 and values[0] == -1 and values[-1] == 1
    np.testing.assert_array_equal(values, LEVELS.astype(np.float32) / 127.5 - 1)
    np.testing.assert_array_equal(images.to_uint8(values), LEVELS)
    for wrong in (values, LEVELS.astype(int)):
        with pytest.raises(ValueError, match="expected uint8"):
            images.from_uint8(wrong)


def test_both_are_of_the_host():
    with pytest.raises(jax.errors.TracerArrayConversionError):
        jax.jit(images.to_uint8)(jnp.zeros((2, 2, 3)))
