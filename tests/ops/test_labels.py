"""Label maps and masks of ids: round trips, and refusal of what is no mask."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from dnerf_jax.ops.labels import IGNORE_COLOR, LabelMap

LABELS = LabelMap(("background", "skin", "hair"), ((0, 0, 0), (230, 180, 150), (90, 60, 20)))
MASK = np.array([[0, 1, 2, 1], [255, 2, 1, 0]], np.uint8)


def test_colorize_paints_classes_and_ignore():
    picture = LABELS.colorize(MASK[None])
    assert picture.shape == (1, 2, 4, 3) and picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[0, 0, 1], LABELS.colors[1])
    np.testing.assert_array_equal(picture[0, 1, 0], IGNORE_COLOR)


def test_colorize_lists_unknown_ids():
    with pytest.raises(ValueError, match=r"unknown ids \[3, 7\]"):
        LABELS.colorize(np.array([[0, 7], [3, 255]]))
    with pytest.raises(ValueError, match=r"unknown ids \[-1\]"):
        LABELS.colorize(np.array([[0, -1]]))
    with pytest.raises(ValueError, match="float"):
        LABELS.colorize(np.zeros((2, 2)))


def test_label_map_is_hashable_whatever_it_was_made_from():
    same = LabelMap(list(LABELS.names), np.array(LABELS.colors))
    assert same == LABELS and hash(same) == hash(LABELS)
    assert jax.jit(lambda x, labels: x * labels.num_classes, static_argnums=1)(2, LABELS) == 6


@pytest.mark.parametrize(
    ("names", "colors", "message"),
    [
        (("a", "a"), ((0, 0, 0),) * 2, r"unique.*\['a'\]"),
        (("a", ""), ((0, 0, 0),) * 2, "non-empty"),
        (("a", "b\n"), ((0, 0, 0),) * 2, "printable"),
        (("a", "b"), ((0, 0, 0),), "2 names but 1 colours"),
        (("a",), ((0, 0, 256),), "0 to 255"),
        (("a",), ((0.5, 0, 0),), "integers"),
        ((), (), "1 to 255 classes"),
        (tuple(str(i) for i in range(256)), ((0, 0, 0),) * 256, "got 256"),
        ("abc", ((0, 0, 0),) * 3, "single string"),
    ],
)
def test_bad_label_maps_are_refused(names, colors, message):
    with pytest.raises(ValueError, match=message):
        LabelMap(names, colors)


def test_json_round_trip(tmp_path):
    path = tmp_path / "labelmap.json"
    LABELS.save(path)
    assert LabelMap.load(path) == LABELS
    data = json.loads(path.read_text())
    assert data["ignore"] == 255 and data["classes"][2] == {"id": 2, "name": "hair", "color": [90, 60, 20]}
    data["classes"].reverse()
    assert LabelMap.from_json(json.dumps(data)) == LABELS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(ignore=0), "ignore = 0"),
        (lambda data: data["classes"].pop(1), r"0 to 1, each once, got \[0, 2\]"),
        (lambda data: data["classes"][1].pop("color"), "needs the keys"),
        (lambda data: data.pop("classes"), "a label map is"),
        (lambda data: data["classes"][1].update(name="hair"), "unique"),
    ],
)
def test_bad_json_is_refused_with_the_file_named(tmp_path, change, message):
    data = json.loads(LABELS.to_json())
    change(data)
    path = tmp_path / "labelmap.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=message) as caught:
        LabelMap.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", None])
def test_unreadable_json_is_refused_with_the_file_named(tmp_path, text):
    path = tmp_path / "labelmap.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match="labelmap.json"):
        LabelMap.load(path)


def test_mask_round_trip_is_a_palette_png(tmp_path):
    path = tmp_path / "mask.png"
    LABELS.save_mask(path, MASK)
    loaded = LABELS.load_mask(path)
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, MASK)
    with Image.open(path) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), LABELS.colorize(MASK))


def test_greyscale_masks_of_other_tools_load(tmp_path):
    Image.fromarray(MASK).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(LABELS.load_mask(tmp_path / "mask.png"), MASK)


def test_masks_that_hold_no_ids_are_refused(tmp_path):
    Image.fromarray(LABELS.colorize(MASK)).save(tmp_path / "rgb.png")
    Image.fromarray(MASK).save(tmp_path / "lossy.jpg")
    Image.fromarray(MASK.astype(np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "text.png").write_text("no picture")
    whole = tmp_path / "whole.png"
    LABELS.save_mask(whole, np.random.default_rng(0).integers(0, 3, (64, 64)))
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
            LABELS.load_mask(tmp_path / name)
        assert name in str(caught.value)


def test_unknown_ids_in_a_file_are_listed_with_the_file(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(np.array([[0, 9], [4, 255]], np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"mask.png has the unknown ids \[4, 9\].*found: \[0, 4, 9, 255\]"):
        LABELS.load_mask(path)


def test_bad_masks_are_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"unknown ids \[3\]"):
        LABELS.save_mask(tmp_path / "a.png", np.full((2, 2), 3))
    with pytest.raises(ValueError, match=r"shape \(1, 2, 4\)"):
        LABELS.save_mask(tmp_path / "a.png", MASK[None])
    assert not list(tmp_path.iterdir())
