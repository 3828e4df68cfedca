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


def test_images_whose_range_is_not_clear_need_a_span():
    image = np.array([0.0, 0.25, 1.0], np.float32)
    for unclear in (image, image * 255, image - 1e-5, image + 0.3, np.zeros((2, 2))):
        with pytest.raises(ValueError, match=r"values from .* to .*span=\(-1, 1\).*span=\(0, 1\)"):
            images.to_uint8(unclear)
    np.testing.assert_array_equal(images.to_uint8(image, span=(0, 1)), [0, 64, 255])
    np.testing.assert_array_equal(images.to_uint8(image, span=(-1, 1)), [128, 159, 255])
    np.testing.assert_array_equal(images.to_uint8(image * 255, span=(0, 255)), [0, 64, 255])
    for clear in (image * 2 - 1, np.ones((2, 2)), np.full((2, 2), -1.0), np.zeros((0, 3))):
        np.testing.assert_array_equal(images.to_uint8(clear), images.to_uint8(clear, span=(-1, 1)))
    with pytest.raises(ValueError, match=r"span is \(1, 0\), expected .* the smaller first"):
        images.to_uint8(image, span=(1, 0))


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
