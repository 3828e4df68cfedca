"""Images, masks and label maps on disk: round trips, and refusal of what is none, with the file named."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dnerf_jax.io import png
from dnerf_jax.ops.labels import LabelMap

LABELS = LabelMap(("background", "skin", "hair"), ((0, 0, 0), (230, 180, 150), (90, 60, 20)))
MASK = np.array([[0, 1, 2, 1], [255, 2, 1, 0]], np.uint8)


def test_images_return_as_they_were(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    for optimize in (False, True):
        png.save_image(tmp_path / "new" / "image.png", image, optimize=optimize)
        np.testing.assert_array_equal(png.load_image(tmp_path / "new" / "image.png"), image)
    smooth = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None], (64, 64, 3))
    png.save_image(tmp_path / "image.jpg", smooth)
    np.testing.assert_allclose(png.load_image(tmp_path / "image.jpg").astype(int), smooth, atol=4)
    assert {entry.name for entry in tmp_path.iterdir()} == {"new", "image.jpg"}


def test_what_is_no_image_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"image\.png is float64 .*images\.to_uint8"):
        png.save_image(tmp_path / "image.png", np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match=r"uint8 \(4, 4, 4\), expected"):
        png.save_image(tmp_path / "image.png", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"suffix '\.tif'"):
        png.save_image(tmp_path / "image.tif", np.zeros((4, 4, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_what_is_no_image_is_not_read(tmp_path):
    png.save_image(tmp_path / "grey.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "text.png").write_text("no picture")
    for name, message in {
        "grey.png": "mode L, expected",
        "text.png": "cannot be read",
        "absent.png": "No such",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            png.load_image(tmp_path / name)
        assert name in str(caught.value)


GREYS = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)  # of 16 bits; their bytes are 0 to 255


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_photos_are_turned_as_their_exif_data_say(tmp_path, suffix):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 255
    # What a camera stores that was held so: turned back, viewers see `upright`.
    turns = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.swapaxes(0, 1)}
    turns |= {6: np.rot90(upright), 7: np.rot90(upright, 2).swapaxes(0, 1), 8: np.rot90(upright, -1)}
    for orientation, stored in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.{suffix}"
        Image.fromarray(stored).save(path, exif=exif)
        seen = png.read_picture(path, white=False)
        assert seen.shape == upright.shape
        np.testing.assert_allclose(seen.astype(int), upright, atol=8)


def test_greys_of_all_depths_are_scaled(tmp_path):
    expected = np.repeat(np.arange(256).reshape(16, 16, 1), 3, axis=-1)
    for name, image in {
        "deep.png": Image.fromarray(GREYS),
        "deep.tif": Image.fromarray(GREYS.astype(">u2")),
        "deep.pgm": Image.fromarray(GREYS),
        "deeper.tif": Image.fromarray(GREYS.astype(np.int32)),
        "shallow.png": Image.fromarray(expected[..., 0].astype(np.uint8)),
    }.items():
        image.save(tmp_path / name)
        np.testing.assert_array_equal(png.read_picture(tmp_path / name, white=True), expected, err_msg=name)
    Image.fromarray(GREYS.astype(np.int32) * 9).save(tmp_path / "32.tif")
    Image.fromarray(GREYS.astype(np.float32)).save(tmp_path / "float.tif")
    for name, message in {"32.tif": "more than 16 bits", "float.tif": "floats of an unknown range"}.items():
        with pytest.raises(ValueError, match=rf"{name} cannot be read as a picture: .*{message}"):
            png.read_picture(tmp_path / name, white=True)


def test_what_is_transparent_shows_the_ground(tmp_path):
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:4] = (200, 100, 50, 255)
    rgba[4:6] = (200, 100, 50, 128)
    layers = Image.fromarray(rgba)
    color, grey = layers.convert("RGB"), layers.convert("L")
    layers.save(tmp_path / "rgba.png")
    layers.save(tmp_path / "rgba.webp", lossless=True)
    layers.convert("LA").save(tmp_path / "la.png")
    layers.quantize(4).save(tmp_path / "palette.png")
    color.save(tmp_path / "rgb_key.png", transparency=(0, 0, 0))
    grey.save(tmp_path / "grey_key.png", transparency=0)
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(tmp_path / "deep_key.png", transparency=0)
    layers.save(tmp_path / "first.gif", save_all=True, append_images=[Image.new("L", (8, 8), 77)])
    for path in sorted(tmp_path.iterdir()):
        for white in (False, True):
            seen = png.read_picture(path, white=white)
            assert seen.shape == (8, 8, 3) and (seen[6:] == 255 * white).all(), path
            assert (seen[:4] == seen[0, 0]).all() and 90 < seen[0, 0, 0] < 210, path
    half = png.read_picture(tmp_path / "rgba.png", white=True)[5, 0]
    np.testing.assert_allclose(half, [227, 177, 152], atol=1)


def test_other_modes_are_converted(tmp_path):
    image = Image.new("RGB", (8, 8), (200, 100, 50))
    image.convert("CMYK").save(tmp_path / "cmyk.jpg")
    image.quantize(2).save(tmp_path / "palette.png")
    image.save(tmp_path / "plain.bmp")
    for path in tmp_path.iterdir():
        np.testing.assert_allclose(png.read_picture(path, white=True)[0, 0], [200, 100, 50], atol=3)
    Image.new("1", (8, 8), 1).save(tmp_path / "one_bit.png")
    assert (png.read_picture(tmp_path / "one_bit.png", white=False) == 255).all()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width, height, *chunks):
    """A PNG of a few bytes that claims a size, its pixels left out."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


@pytest.mark.parametrize(
    "read", [lambda path: png.read_picture(path, white=True), png.load_image, lambda path: png.load_mask(path, LABELS)]
)
def test_no_file_harms_its_reader(tmp_path, read):
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 2**26))
    for name, content in {
        "wide.png": bomb(100_000, 1_000),
        "huge.png": bomb(2**31 - 1, 2**31 - 1),
        "text.png": bomb(4, 4, text),
        "cut.png": bomb(4, 4)[:-20],
        "empty.png": b"",
        "drawing.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
    }.items():
        (tmp_path / name).write_bytes(content)
    for name in ["absent.png", *(path.name for path in tmp_path.iterdir())]:
        with pytest.raises(ValueError, match=rf"{name} cannot be read as a") as caught:
            read(tmp_path / name)
        assert len(str(caught.value)) < 400
    with pytest.raises(ValueError, match="100000 x 1000 pixels, at most 64 million"):
        read(tmp_path / "wide.png")


def test_label_map_round_trip(tmp_path):
    path = tmp_path / "labelmap.json"
    png.save_label_map(path, LABELS)
    assert png.load_label_map(path) == LABELS
    assert path.read_text(encoding="utf-8") == LABELS.to_json() + "\n"
    other = LabelMap(("background", "Haar – schön"), ((0, 0, 0), (1, 2, 3)))
    png.save_label_map(path, other)
    assert png.load_label_map(path) == other and "schön" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["{", "[]", None])
def test_unreadable_label_maps_are_refused_with_the_file_named(tmp_path, text):
    path = tmp_path / "labelmap.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=r"labelmap\.json cannot be read as a label map"):
        png.load_label_map(path)


def test_mask_round_trip_is_a_palette_png(tmp_path):
    path = tmp_path / "mask.png"
    png.save_mask(path, MASK, LABELS)
    loaded = png.load_mask(path, LABELS)
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, MASK)
    with Image.open(path) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), LABELS.colorize(MASK))


def test_greyscale_masks_of_other_tools_load(tmp_path):
    Image.fromarray(MASK).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(png.load_mask(tmp_path / "mask.png", LABELS), MASK)


def test_masks_that_an_editor_numbered_anew_are_read_by_their_colours(tmp_path):
    path = tmp_path / "mask.png"
    png.save_mask(path, MASK, LABELS)
    Image.open(path).convert("RGB").quantize(4, dither=0).save(path)
    assert not np.array_equal(np.asarray(Image.open(path)), MASK)
    with pytest.warns(UserWarning, match=r"the palette of .*mask\.png is numbered anew") as caught:
        np.testing.assert_array_equal(png.load_mask(path, LABELS), MASK)
    assert caught[0].filename == __file__
    names = []
    np.testing.assert_array_equal(png.load_mask(path, LABELS, renumbered=names), MASK)
    assert names == ["mask.png"]
    Image.fromarray(MASK).quantize(4).save(path)  # a greyscale mask, made smaller
    np.testing.assert_array_equal(png.load_mask(path, LABELS, renumbered=names), MASK)
    image = Image.fromarray(MASK)
    image.putpalette([200, 0, 0, *LABELS.colors[2], *LABELS.colors[1]])
    image.save(path)
    with pytest.raises(ValueError, match=r"mask\.png has indices in the colours of other ids.*1 \(90, 60, 20\)"):
        png.load_mask(path, LABELS)


def test_the_size_is_checked_before_a_picture_is_decoded(tmp_path):
    (tmp_path / "mask.png").write_bytes(bomb(7_000, 7_000))
    for read in (png.load_image, lambda path, size: png.load_mask(path, LABELS, size=size)):
        with pytest.raises(ValueError, match="it is 7000 x 7000 pixels, expected 16 x 16"):
            read(tmp_path / "mask.png", size=16)


def test_masks_that_hold_no_ids_are_refused(tmp_path):
    Image.fromarray(LABELS.colorize(MASK)).save(tmp_path / "rgb.png")
    Image.fromarray(MASK).save(tmp_path / "lossy.jpg")
    Image.fromarray(MASK.astype(np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "text.png").write_text("no picture")
    whole = tmp_path / "whole.png"
    png.save_mask(whole, np.random.default_rng(0).integers(0, 3, (64, 64)), LABELS)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:-600])
    for name, message in {
        "rgb.png": "mode RGB, expected",
        "lossy.jpg": "is a JPEG",
        "deep.png": "I;16",
        "text.png": "cannot be read as a mask",
        "cut.png": "cannot be read as a mask",
        "absent.png": "No such file",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            png.load_mask(tmp_path / name, LABELS)
        assert name in str(caught.value)


def test_unknown_ids_in_a_file_are_listed_with_the_file(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(np.array([[0, 9], [4, 255]], np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"mask\.png has the unknown ids \[4, 9\].*found: \[0, 4, 9, 255\]"):
        png.load_mask(path, LABELS)


def test_bad_masks_are_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"unknown ids \[3\]"):
        png.save_mask(tmp_path / "a.png", np.full((2, 2), 3), LABELS)
    with pytest.raises(ValueError, match=r"shape \(1, 2, 4\)"):
        png.save_mask(tmp_path / "a.png", MASK[None], LABELS)
    assert not list(tmp_path.iterdir())
