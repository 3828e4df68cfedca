"""Images, masks and label maps on disk: round trips, and refusal of what is none, with the file named."""

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
