"""Label maps: colours, JSON, and refusal of ids and maps that make no sense."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

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


def test_masks_without_a_class_are_refused():
    np.testing.assert_array_equal(LABELS.counts(MASK), [2, 3, 2])
    LABELS.require_classes(MASK)
    LabelMap(("all",), ((0, 0, 0),)).require_classes(np.zeros((2, 2), int))
    for values in ([0, 255], [0], [255]):
        with pytest.raises(ValueError, match=r"a\.png have no pixel of a class beside 'background'.*Black-and-white"):
            LABELS.require_classes(np.array([values, values]), "a.png")


RED, WHITE = (255, 0, 0), (255, 255, 255)
BLACK, SKIN, HAIR = LABELS.colors


@pytest.mark.parametrize(
    ("palette", "expected"),
    [
        ([BLACK, SKIN, HAIR], [0, 1, 2]),  # as we write it
        ([BLACK, HAIR, SKIN], [0, 2, 1]),
        ([SKIN, IGNORE_COLOR, BLACK], [1, 255, 0]),
        ([BLACK, RED, WHITE], [0, 1, 2]),  # of another tool: nothing of ours is wrong
        ([BLACK, SKIN, RED], [0, 1, 2]),
        ([RED], [0, 1, 2]),  # indices beyond a palette have no colour
        ([BLACK, (1, 1, 1), (2, 2, 2)], [0, 1, 2]),
        ([(1, 1, 1), BLACK, WHITE], [1, 0, 255]),  # greys, numbered anew
        ([BLACK, WHITE, RED], [0, 1, 2]),
        ([WHITE, BLACK, BLACK], None),
        ([BLACK, HAIR, RED], None),
        ([HAIR, SKIN, RED], None),
    ],
)
def test_palettes_say_ids_only_where_they_are_numbered_anew(palette, expected):
    mask = np.array([[0, 1], [2, 1]], np.uint8)
    if expected is None:
        with pytest.raises(ValueError, match="a.png has indices in the colours of other ids.*greyscale"):
            LABELS.read_palette(mask, palette, "a.png")
    else:
        read = LABELS.read_palette(mask, palette)
        np.testing.assert_array_equal(read, np.array(expected, np.uint8)[mask])
        assert (read is mask) == (expected == [0, 1, 2])


def test_two_indices_of_one_colour_are_one_class_and_two_classes_of_one_colour_are_none():
    mask = np.array([0, 3, 4], np.uint8)
    np.testing.assert_array_equal(LABELS.read_palette(mask, [BLACK, RED, RED, SKIN, SKIN]), [0, 1, 1])
    alike = LabelMap(("background", "left", "right"), (BLACK, SKIN, SKIN))
    with pytest.raises(ValueError, match="not all of its colours say one id"):
        alike.read_palette(mask, [BLACK, RED, RED, SKIN, SKIN])
    np.testing.assert_array_equal(alike.read_palette(mask[:1] + 1, [BLACK, SKIN]), [1])


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
        (("a" * 101,), ((0, 0, 0),), "at most 100 characters"),
        (("a",), ((True, False, 0),), "integers"),
        (("a",), ([0] * 10**6,), r"got \[0, 0.{0,80}$"),
    ],
)
def test_bad_label_maps_are_refused(names, colors, message):
    with pytest.raises(ValueError, match=message):
        LabelMap(names, colors)


def test_json_round_trip():
    data = json.loads(LABELS.to_json())
    assert data["ignore"] == 255 and data["classes"][2] == {"id": 2, "name": "hair", "color": [90, 60, 20]}
    data["classes"].reverse()
    assert LabelMap.from_data(data) == LABELS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(ignore=0), "ignore = 0"),
        (lambda data: data["classes"].pop(1), r"0 to 1, each once, got \[0, 2\]"),
        (lambda data: data["classes"][1].pop("color"), "needs the keys"),
        (lambda data: data.pop("classes"), "a label map is"),
        (lambda data: data["classes"][1].update(name="hair"), "unique"),
        (lambda data: data.update(ignore=255.0), "ignore = 255.0"),
        (lambda data: data["classes"][1].update(id=True), r"got \[0, True, 2\]"),
        (lambda data: data["classes"][1].update(id=[[1] * 10**6]), r"got \[0, \[\[1, 1.{0,40}$"),
    ],
)
def test_bad_json_is_refused(change, message):
    data = json.loads(LABELS.to_json())
    change(data)
    with pytest.raises(ValueError, match=message):
        LabelMap.from_data(data)


def test_a_world_can_use_labels_without_jax():
    program = "import sys; from dnerf_jax.ops import labels; assert not {'jax', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_sides_change_places_in_a_mirror():
    names = ("background", "left_hand", "leftover", "right_hand", "Right foot", "Left foot", "copyright")
    mirrored = LabelMap(names, ((0, 0, 0),) * len(names)).mirrored
    assert mirrored[: len(names)].tolist() == [0, 3, 2, 1, 5, 4, 6]
    assert mirrored.dtype == np.uint8 and (mirrored[len(names) :] == np.arange(len(names), 256)).all()
    with pytest.raises(ValueError, match="has 'left_hand' but no 'right_hand'.*do not flip images"):
        LabelMap(names[:3], ((0, 0, 0),) * 3).mirrored  # noqa: B018
