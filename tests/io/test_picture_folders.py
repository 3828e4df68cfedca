"""Folders of pictures and masks by anybody: read when their turn has come, and refused with what to do."""

import numpy as np
import pytest

from dnerf_jax.io import files, picture_folders, png
from dnerf_jax.ops.labels import LabelMap

LABELS = LabelMap(("background", "skin", "eye"), ((0, 0, 0), (200, 100, 0), (0, 0, 255)))


@pytest.fixture
def folder(tmp_path):
    """Three pairs: of a PNG, of a JPEG, and of another size."""
    draws = np.random.default_rng(0)
    for name, size in (("a.png", 8), ("b.jpg", 8), ("c.png", 12)):
        png.save_image(tmp_path / "images" / name, draws.integers(0, 256, (size, size, 3), np.uint8))
        png.save_mask(tmp_path / "masks" / f"{name[0]}.png", draws.integers(0, 3, (size, size)), LABELS)
    png.save_label_map(tmp_path / "labelmap.json", LABELS)
    return tmp_path


def test_pairs_are_those_of_equal_names(folder):
    assert picture_folders.is_one(folder) and not picture_folders.is_one(folder / "images")
    known = picture_folders.load(folder)
    assert len(known) == 3 and known.label_map == LABELS
    image, mask = known.read(2)
    np.testing.assert_array_equal(image, png.load_image(folder / "images" / "c.png"))
    np.testing.assert_array_equal(mask, png.load_mask(folder / "masks" / "c.png", LABELS))
    assert known.read(1)[0].shape == (8, 8, 3)


def test_names_of_classes_one_a_line_will_do(folder):
    (folder / "labelmap.json").unlink()
    with pytest.raises(ValueError, match=r"has no labelmap.json or labelmap.txt, which say what .* one a line"):
        picture_folders.load(folder)
    files.write_text(folder / "labelmap.txt", "background\nskin\neye\n")
    assert picture_folders.load(folder).label_map.names == LABELS.names


def test_another_folder_has_another_content(folder):
    before = picture_folders.load(folder).content()
    assert picture_folders.load(folder).content() == before
    mask = png.load_mask(folder / "masks" / "a.png", LABELS)
    for corrected in (np.roll(mask, 1, axis=0), mask):  # files of equal size
        png.save_mask(folder / "masks" / "a.png", corrected, LABELS)
        assert (picture_folders.load(folder).content() == before) == (corrected is mask)
    png.save_image(folder / "images" / "d.png", np.zeros((8, 8, 3), np.uint8))
    png.save_mask(folder / "masks" / "d.png", np.zeros((8, 8), np.uint8), LABELS)
    assert picture_folders.load(folder).content() != before


def test_what_has_no_partner_is_named(folder):
    (folder / "images" / "a.png").unlink()
    with pytest.raises(ValueError, match=r"images has no a, which the other folder has: every image has a mask"):
        picture_folders.load(folder)
    (folder / "masks" / "a.png").unlink()
    (folder / "masks" / "c.png").unlink()
    with pytest.raises(ValueError, match="masks has no c"):
        picture_folders.load(folder)
    png.save_image(folder / "images" / "b.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"images has b.jpg and b.png: expected one of each name"):
        picture_folders.load(folder)
    for path in [*folder.glob("images/*"), *folder.glob("masks/*")]:
        path.unlink()
    with pytest.raises(ValueError, match="images has no pictures .* expected at least one"):
        picture_folders.load(folder)


def test_what_does_not_fit_is_named_when_it_is_read(folder):
    known = picture_folders.load(folder)
    png.save_mask(folder / "masks" / "a.png", np.zeros((8, 9), np.uint8), LABELS)
    with pytest.raises(ValueError, match=r"a.png has 9 x 8 pixels, .*a.png 8 x 8: expected equal sizes"):
        known.read(0)
    png.save_image(folder / "images" / "a.png", np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(ValueError, match=r"a.png has 9 x 8 pixels, expected a square: crop it and its mask"):
        known.read(0)
    png.save_image(folder / "masks" / "c.png", np.full((12, 12), 3, np.uint8))
    with pytest.raises(ValueError, match=r"c.png has the unknown ids \[3\]"):
        known.read(2)
