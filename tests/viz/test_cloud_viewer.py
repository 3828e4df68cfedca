"""The viewer of clouds: the points are in the page, by any name, and nothing is loaded."""

import base64
import html
import json
import re

import numpy as np
import pytest

from dnerf_jax.ops.clouds import PointCloud
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.viz import cloud_viewer

NAMES = ("back|ground", "</script><b>", 'a "quoted" 毛')
LABELS = LabelMap(NAMES, ((0, 0, 0), (10, 20, 30), (200, 100, 50)))
ODD = '</script> & "x" 🙂'


def cloud(label_map=LABELS, labels=(1, 2, 2, 255)):
    points = np.array([[1.0, 2, 3], [1, 2, 5], [3, 2, 4], [-1, 2, 4]], np.float32)
    return PointCloud(points, np.arange(12, dtype=np.uint8).reshape(4, 3), np.array(labels, np.uint8), label_map)


def data_of(source):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', source)[1])


def test_points_colours_and_labels_are_in_the_page():
    data = data_of(cloud_viewer.piece([("one", cloud())]))
    stored = base64.b64decode(data["clouds"][0])
    assert len(stored) == 10 * 4
    # Around the middle of the box, (1, 2, 4), divided by the distance of the farthest, 2.
    places = np.frombuffer(stored[:24], "<i2").reshape(4, 3) / 32767
    np.testing.assert_allclose(places, (cloud().points - [1, 2, 4]) / 2, atol=1e-4)
    np.testing.assert_array_equal(np.frombuffer(stored[24:36], np.uint8), np.arange(12))
    np.testing.assert_array_equal(np.frombuffer(stored[36:], np.uint8), [1, 2, 2, 255])
    assert data["palette"] == {"1": [10, 20, 30], "2": [200, 100, 50], "255": [224, 224, 192]}


def test_the_legend_names_what_is_there_and_no_name_breaks_out():
    source = cloud_viewer.piece([(ODD, cloud()), ("other", cloud())])
    legend = re.search(r'<fieldset class="classes">(.*?)</fieldset>', source)[1]
    labels = re.findall(
        r'value="(\d+)" checked><span class="swatch" style="background: (.*?)"></span>(.*?)</label>', legend
    )
    shown = [(int(index), color, html.unescape(name)) for index, color, name in labels]
    assert shown[:2] == [(1, "rgb(10, 20, 30)", NAMES[1]), (2, "rgb(200, 100, 50)", NAMES[2])]
    assert shown[2][2] == "unknown" and len(shown) == 3
    assert html.escape(ODD) in source and "<b>" not in source
    assert source.count("<script") == source.count("</script>") == 2


def test_a_cloud_without_a_label_map_is_shown_in_its_colours():
    source = cloud_viewer.piece([("plain", cloud(None, (255,) * 4))])
    assert "<fieldset" not in source and data_of(source)["palette"] == {}


def test_it_is_reached_by_keys_and_loads_nothing():
    source = cloud_viewer.piece([("one", cloud())])
    assert re.search(r'<canvas tabindex="0" role="application" aria-label="[^"]{20,}"', source)
    assert source.count('<button type="button"') == 3 and "<output>" in source and "<noscript>" in source
    assert not re.search(r"https?://|\bsrc=|@import|\bfetch\(|import\(", source + cloud_viewer.STYLE)


def test_one_point_is_a_cloud_and_none_is_not():
    one = PointCloud(np.ones((1, 3), np.float32), np.zeros((1, 3), np.uint8), np.zeros(1, np.uint8))
    assert base64.b64decode(data_of(cloud_viewer.piece([("dot", one)]))["clouds"][0])[:6] == bytes(6)
    empty = PointCloud(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0, np.uint8))
    for clouds in ([], [("empty", empty)]):
        with pytest.raises(ValueError, match="needs clouds with points"):
            cloud_viewer.piece(clouds)
