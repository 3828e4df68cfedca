"""Reports: one self-contained page whose pictures and numbers are those that went in."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from dnerf_jax.viz import reports


class Page(HTMLParser):
    """Collects tags and text, and checks that tags are closed in order."""

    VOID = frozenset({"meta", "img", "!doctype"})

    def __init__(self, source: str):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(source)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_page_is_complete_and_loads_nothing(tmp_path):
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    path = reports.write(
        tmp_path / "new" / "report.html",
        "Faces & <heads>",
        [
            reports.heading("Scores"),
            reports.text("a < b", "second"),
            reports.command("make demo"),
            reports.facts({"mIoU": 0.64159}),
            reports.table(["class", "IoU"], [["skin", 0.5]]),
            reports.figure(picture, 'a "quoted" caption', width=60),
        ],
    )
    source = path.read_text()
    page = Page(source)
    assert not re.search(r"https?://|<script|<link|@import", source)
    assert "Faces & <heads>" in page.words and "a < b" in page.words
    assert "0.642" in page.words and "0.500" in page.words
    image = next(attributes for tag, attributes in page.tags if tag == "img")
    assert image["alt"] == 'a "quoted" caption' and image["width"] == "60"
    stored = Image.open(io.BytesIO(base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))))
    np.testing.assert_array_equal(np.asarray(stored), picture)


def test_table_formats_numbers_bars_and_swatches():
    source = reports.table(
        ["class", "IoU", "pixels"],
        [["skin", 0.25, 1200], ["eye", float("nan"), None]],
        colors=[(1, 2, 3), (4, 5, 6)],
        bar=1,
    )
    page = Page(source)
    assert page.words.count("–") == 2 and "1200" in page.words and "0.250" in page.words
    styles = [attributes["style"] for _, attributes in page.tags if "style" in attributes]
    assert styles == ["background: rgb(1, 2, 3)", "width: 25.0%", "background: rgb(4, 5, 6)"]


def test_shares_are_shown_in_percent_as_wide_as_each_other():
    page = Page(
        reports.table(["class", "pixels"], [["skin", 0.5], ["eye", 0.00254], ["ear", None]], percent=[1], bar=1)
    )
    assert [word.replace("\u2007", "_") for word in page.words if "%" in word] == ["_50.00 %", "__0.25 %"]
    assert "–" in page.words


def test_terms_hold_any_text():
    page = Page(reports.terms([("<b>", "a & b"), ("x", None)]))
    assert page.words == ["<b>", "a & b", "x", "–"]


def test_scatter_places_points_in_one_scale():
    page = Page(
        reports.gallery([reports.scatter(np.array([[1.0, 0.0], [0.0, 2.0]]), "a <plot>", axes=("x", "y"), around=[1])])
    )
    circles = [attributes for tag, attributes in page.tags if tag == "circle"]
    assert [circle["class"] for circle in circles] == ["subject", "mark", "mark"]
    right, up = ([float(circle[side]) - 150 for side in ("cx", "cy")] for circle in circles[1:])
    assert right[1] == up[0] == 0 and up[1] == pytest.approx(-2 * right[0], abs=0.2) and right[0] > 0
    assert float(circles[0]["r"]) == pytest.approx(right[0], abs=0.1) and abs(up[1]) <= 130
    assert next(attributes for tag, attributes in page.tags if tag == "svg")["aria-label"] == "a <plot>"


def test_table_refuses_ragged_rows_and_missing_colors():
    with pytest.raises(ValueError, match="row 1 of the table has 1 values for 2 columns"):
        reports.table(["a", "b"], [[1, 2], [3]])
    with pytest.raises(ValueError, match="needs as many colours"):
        reports.table(["a"], [[1], [2]], colors=[(0, 0, 0)])
