"""Photos and masks as people have them: turned, transparent, deep, grey, cut, and refused with what to do."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dnerf_jax.io import photos, png
from dnerf_jax.ops.labels import LabelMap

LABELS = LabelMap(("background", "skin", "hair"), ((0, 0, 0), (230, 180, 150), (90, 60, 20)))
SIZE = 64
QUARTERS = np.kron([[0, 85], [170, 255]], np.ones((SIZE // 2, SIZE // 2))).astype(np.uint8)
RGB = np.stack([QUARTERS, 255 - QUARTERS, QUARTERS // 2], -1)
MASK = np.kron([[0, 1], [2, 255]], np.ones((SIZE // 2, SIZE // 2))).astype(np.uint8)


def saved(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def read(path, resolution=SIZE, **options):
    return photos.read_photo(path, resolution, **({"white": True} | options))


def in_bytes(photo):
    return np.round((photo.image + 1) * 127.5)


def deep_png(path, array):
    """A PNG of 16 bits per channel, which Pillow does not write."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[array.shape[2]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    framed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))
    return path


def test_a_photo_becomes_an_image(tmp_path):
    photo = read(saved(tmp_path / "photo.png", RGB))
    assert photo.image.dtype == np.float32 and photo.weights is None and photo.notes == ()
    np.testing.assert_array_equal(in_bytes(photo), RGB)
    small = read(tmp_path / "photo.png", 16)
    np.testing.assert_array_equal(in_bytes(small)[1, 1], RGB[0, 0])  # away from edges it is what it was
    assert small.image.shape == (16, 16, 3) and abs(small.image.mean() - photo.image.mean()) < 0.01


def test_reducing_does_not_alias(tmp_path):
    checks = np.indices((SIZE, SIZE)).sum(axis=0) % 2 * np.uint8(255)
    checks[:8] = 0
    photo = read(saved(tmp_path / "checks.png", np.stack([checks.astype(np.uint8)] * 3, -1)), 16)
    np.testing.assert_allclose(photo.image[6:], 0, atol=0.02)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_scaled(tmp_path, channels):
    deep = np.stack([QUARTERS, QUARTERS.T, QUARTERS[::-1], QUARTERS], -1)[..., :channels].astype(np.uint16) * 257
    if channels in (2, 4):
        deep[..., -1] = 65535
    photo = read(deep_png(tmp_path / "deep.png", deep))
    wanted = deep[..., :3] if channels > 2 else np.repeat(deep[..., :1], 3, axis=-1)
    np.testing.assert_array_equal(in_bytes(photo), wanted // 257)


def test_what_is_done_is_said(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = read(saved(tmp_path / "turned.jpg", np.rot90(RGB).copy(), exif=exif, quality=98))
    assert "EXIF" in turned.notes[0] and np.abs(in_bytes(turned)[8, 8] - RGB[8, 8]).max() < 4
    alpha = np.dstack([RGB, np.where(QUARTERS == 85, 0, 255).astype(np.uint8)])
    for white in (True, False):
        over = read(saved(tmp_path / "alpha.png", alpha), white=white)
        assert f"over {'white' if white else 'black'}" in over.notes[0]
        np.testing.assert_array_equal(in_bytes(over)[0, -1], 255.0 * white)
    assert "grey" in read(saved(tmp_path / "grey.png", QUARTERS)).notes[0]
    frames = [Image.fromarray(x) for x in (RGB, 255 - RGB)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    moving = read(tmp_path / "moving.gif")
    assert "2 frames" in moving.notes[0] and np.abs(in_bytes(moving)[8, 8] - RGB[8, 8]).max() < 8
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "print.tif")
    assert "CMYK" in read(tmp_path / "print.tif").notes[0]
    Image.fromarray(RGB).convert("P").save(tmp_path / "palette.png")
    assert read(tmp_path / "palette.png").notes == ()
    assert "64 pixels is enlarged to 128" in read(saved(tmp_path / "photo.png", RGB), 128).notes[0]


def test_squares_are_cut(tmp_path):
    wide = np.concatenate([np.full((SIZE, 16, 3), 9, np.uint8), RGB, np.full((SIZE, 16, 3), 9, np.uint8)], axis=1)
    path = saved(tmp_path / "wide.png", wide)
    with pytest.raises(ValueError, match=r"wide\.png is 96 x 64 pixels, expected a square.*--crop centre"):
        read(path)
    for crop in ("centre", (16, 0, 80, 64)):
        photo = read(path, crop=crop)
        assert photo.box == (16, 0, 80, 64)
        np.testing.assert_array_equal(in_bytes(photo), RGB)
    nearly = read(saved(tmp_path / "nearly.png", wide[:, 16:81]))
    assert nearly.box == (0, 0, 64, 64) and "65 x 64" in nearly.notes[0]


def test_a_box_may_reach_beyond_the_edges(tmp_path):
    photo = read(saved(tmp_path / "photo.png", RGB), 32, crop=(-20, -12, 60, 68))
    assert photo.weights[:4].max() == 0 and photo.weights[5:30, 8:].min() == 1 and photo.image.shape == (32, 32, 3)
    assert (photo.image[photo.weights == 0] == 1).all() and "40% of the square" in photo.notes[-1]
    mask = photos.read_mask(saved(tmp_path / "mask.png", MASK), LABELS, 32, crop=(-20, -12, 60, 68))
    assert (mask[photo.weights == 0] == 255).all() and set(np.unique(mask)) == {0, 1, 2, 255}


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        ("middle", "crop is 'middle', expected none, centre"),
        ((0, 0, 50, 40), "is 50 x 40 pixels, expected a square"),
        ((0, 0, 50), "not four whole numbers"),
        ((0.5, 0, 50.5, 50), "not four whole numbers"),
        ((60, 60, 120, 120), "lie within .*photo.png.*at least 50%"),
        ((0, 0, 20, 20), "20 pixels wide, expected at least 32"),
        ((0, 0, 32, 32), "one colour only"),
    ],
)
def test_what_cannot_be_cut_is_refused(tmp_path, crop, message):
    with pytest.raises(ValueError, match=message):
        read(saved(tmp_path / "photo.png", RGB), crop=crop)


def test_what_is_no_photo_is_refused(tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    clear = saved(tmp_path / "clear.png", np.dstack([RGB, np.zeros((SIZE, SIZE), np.uint8)]))
    bomb = tmp_path / "bomb.png"
    one = deep_png(bomb, np.zeros((1, 1, 1))).read_bytes()
    bomb.write_bytes(one.replace(bytes([0, 0, 0, 1] * 2), bytes([0, 0, 255, 255] * 2), 1))
    for path, message in {
        tmp_path / "text.jpg": "of another kind",
        tmp_path: "it is a folder",
        tmp_path / "absent.png": "No such file",
        clear: "one colour only",
        bomb: "cannot be read as a picture",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_masks_of_ids_and_of_colours_are_the_same(tmp_path):
    png.save_mask(tmp_path / "palette.png", MASK, LABELS)
    saved(tmp_path / "grey.png", MASK)
    saved(tmp_path / "colours.png", LABELS.colorize(MASK))
    saved(tmp_path / "opaque.png", np.dstack([LABELS.colorize(MASK), np.full_like(MASK, 255)]))
    for name in ("palette", "grey", "colours", "opaque"):
        for resolution in (SIZE, 16, 128, 48):
            mask = photos.read_mask(tmp_path / f"{name}.png", LABELS, resolution)
            index = (np.arange(resolution) + 0.5) * SIZE // resolution
            assert mask.dtype == np.uint8
            np.testing.assert_array_equal(mask, MASK[np.ix_(index.astype(int), index.astype(int))])


def test_reduced_masks_have_the_class_of_most_pixels(tmp_path):
    fine = np.zeros((64, 64), np.uint8)
    fine[1:4, 0:4] = 2  # three quarters of the first pixel of 16
    fine[:, 32:] = 1
    mask = photos.read_mask(saved(tmp_path / "mask.png", fine), LABELS, 16)
    assert mask[0, 0] == 2 and mask[0, 1] == 0 and mask[5, 9] == 1 and set(np.unique(mask)) == {0, 1, 2}


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.where(MASK == 2, np.uint8(7), MASK), r"unknown ids \[7\]"),
        (np.full_like(MASK, 255), "no label at all"),
        (np.where(MASK == 1, MASK, np.uint8(255)), r"one class only, 'skin' \(id 1\)"),
        (MASK[:32], "is 64 x 32 pixels, expected a square"),
        (
            LABELS.colorize(MASK) + np.uint8(1),
            r"of the label map: the first is \(1, 1, 1\) in row 0, column 0",
        ),
        (np.dstack([LABELS.colorize(MASK), MASK]), "partly transparent"),
        (np.dstack([MASK, MASK]), "of mode LA, expected a PNG with one channel"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path, mask, message):
    path = saved(tmp_path / "mask.png", mask)
    with pytest.raises(ValueError, match=message) as caught:
        photos.read_mask(path, LABELS, 32)
    assert "mask.png" in str(caught.value)


def test_colours_that_are_not_unique_say_nothing(tmp_path):
    twice = LabelMap(("a", "b", "c"), ((0, 0, 0), (9, 9, 9), (9, 9, 9)))
    with pytest.raises(ValueError, match="share a colour"):
        photos.read_mask(saved(tmp_path / "mask.png", LABELS.colorize(MASK)), twice, 32)
    saved(tmp_path / "mask.jpg", LABELS.colorize(MASK))
    with pytest.raises(ValueError, match="JPEG of mode RGB, expected a PNG"):
        photos.read_mask(tmp_path / "mask.jpg", LABELS, 32)


def test_a_background_that_the_generator_does_not_know_is_said():
    white = np.ones((64, 64, 3), np.float32)
    white[20:] = -0.5
    assert photos.framing_notes(white, white=True) == ()
    (note,) = photos.framing_notes(white, white=False)
    assert "black background" in note and "upper left and upper right corner" in note
    white[:8, 60:] = 0.2
    (note,) = photos.framing_notes(white, white=True)
    assert "(upper right corner)" in note and "--mask" in note


def test_frames_that_are_broken_do_not_matter(tmp_path):
    """Only the first is used, and counting the others may fail in any way."""
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    frames[0].save(tmp_path / "two.tif", save_all=True, append_images=frames[1:])
    whole = bytearray((tmp_path / "two.tif").read_bytes())
    first = int.from_bytes(whole[4:8], "little")
    link = first + 2 + 12 * int.from_bytes(whole[first : first + 2], "little")  # to the second frame's directory
    whole[link : link + 4] = len(whole).to_bytes(4, "little")
    (tmp_path / "two.tif").write_bytes(whole + bytes(8))  # which has no entries
    with Image.open(tmp_path / "two.tif") as image, pytest.raises(TypeError):
        assert image.n_frames
    np.testing.assert_array_equal(in_bytes(read(tmp_path / "two.tif")), RGB)
