"""Arrays as bytes: every PNG is what other readers see, in fewer bytes than plain; damaged bytes are refused."""

import io

import numpy as np
import pytest
from PIL import Image

from dnerf_jax.io.encoding import decode_npy, decode_png, encode_npy, encode_png


def arrays(rng):
    """A picture of every kind that is written, odd sizes among them."""
    return {
        "RGB": rng.integers(0, 256, (7, 5, 3), dtype=np.uint8),
        "L": rng.integers(0, 256, (1, 9), dtype=np.uint8),
        "I;16": rng.integers(0, 65536, (6, 4), dtype=np.uint16),
    }


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_pillow_sees_what_was_written(generator, mode):
    image = arrays(generator)[mode]
    data = encode_png(image)
    with Image.open(io.BytesIO(data)) as opened:
        opened.verify()
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.mode == mode
        np.testing.assert_array_equal(np.asarray(opened), image)
    found = decode_png(data)
    assert found.dtype == image.dtype
    np.testing.assert_array_equal(found, image)


def test_a_palette_leaves_the_ids(generator):
    ids, palette = generator.integers(0, 4, (8, 8), dtype=np.uint8), np.arange(12, dtype=np.uint8).reshape(4, 3)
    data = encode_png(ids, palette=palette)
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.mode == "P"
        np.testing.assert_array_equal(np.asarray(opened), ids)
        np.testing.assert_array_equal(np.asarray(opened.convert("RGB")), palette[ids])
    np.testing.assert_array_equal(decode_png(data), ids)


def test_other_layouts_of_memory_are_the_same_picture(generator):
    image = generator.integers(0, 65536, (6, 8), dtype=np.uint16)
    np.testing.assert_array_equal(decode_png(encode_png(image.T)), image.T)
    np.testing.assert_array_equal(decode_png(encode_png(image[::2, ::2])), image[::2, ::2])


def test_smooth_pictures_are_small(generator):
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint16)[:, None] * 300, (128, 128)).copy()
    assert len(encode_png(ramp)) < ramp.nbytes / 20


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.uint16)])
def test_what_has_no_form_is_refused(image):
    with pytest.raises(ValueError, match="expected uint8"):
        encode_png(image)


def test_damaged_pngs_are_refused(generator):
    data = encode_png(arrays(generator)["RGB"])
    for wrong in (b"", b"no picture", data[:-20], data[:40] + bytes([data[40] ^ 1]) + data[41:]):
        with pytest.raises(ValueError, match="the PNG is damaged"):
            decode_png(wrong)
    with pytest.raises(ValueError, match="damaged, or not one of these"):
        buffer = io.BytesIO()
        Image.new("RGBA", (2, 2)).save(buffer, "PNG")
        decode_png(buffer.getvalue())


def test_arrays_come_back_and_damaged_ones_are_refused(generator):
    array = generator.standard_normal((3, 4, 2)).astype(np.float16)
    data = encode_npy(array)
    np.testing.assert_array_equal(decode_npy(data), array)
    np.testing.assert_array_equal(np.load(io.BytesIO(data)), array)
    np.testing.assert_array_equal(decode_npy(encode_npy(array.T)), array.T)
    for wrong in (b"", data[:-1], data + b"x", data[:8] + b"\xff" + data[9:]):
        with pytest.raises(ValueError, match="the NPY is damaged"):
            decode_npy(wrong)
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="the NPY is damaged"):
        decode_npy(buffer.getvalue())
