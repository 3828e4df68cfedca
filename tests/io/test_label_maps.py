"""Label maps in the forms of tools: the background first, colours of VOC where there are none, lines that are none."""

import pytest
from random_pack import LABELS

from dnerf_jax.io import label_maps
from dnerf_jax.ops.labels import LabelMap


def test_every_form_is_read(tmp_path):
    json, txt, names = (tmp_path / name for name in ("labelmap.json", "labelmap.txt", "names.txt"))
    json.write_text(LABELS.to_json())
    assert label_maps.read(json) == LABELS
    txt.write_text(f"{label_maps.HEAD}\nhair:10,20,30::\nBackground:0,0,0::\nleft eye: 1, 2, 3:a,b:c\n")
    expected = LabelMap(("Background", "hair", "left eye"), ((0, 0, 0), (10, 20, 30), (1, 2, 3)))
    assert label_maps.read(txt) == expected
    txt.write_text(label_maps.to_txt(expected.names, expected.colors))
    assert label_maps.read(txt) == expected
    names.write_text("﻿background\n\nskin\nhair\n", encoding="utf-8")
    assert label_maps.read(names) == LabelMap(("background", "skin", "hair"), ((0, 0, 0), (128, 0, 0), (0, 128, 0)))


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "has 0 names, expected 1 to 4096"),
        ("hair:1,2::", None),
        ("hair:1,2,300::", "from 0 to 255"),
        ("hair:red::", "expected name:red,green,blue"),
        ("hair\nhair", "line 2 of .* once more"),
        ("\n".join(f"n{i}" for i in range(300)), "1 to 255 classes"),
    ],
)
def test_what_is_none_is_refused(text, message, tmp_path):
    path = tmp_path / "labelmap.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        label_maps.read(path)
    assert str(path) in str(caught.value)
