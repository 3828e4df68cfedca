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


def test_table_refuses_ragged_rows_and_missing_colors():
    with pytest.raises(ValueError, match="row 1 of the table has 1 values for 2 columns"):
        reports.table(["a", "b"], [[1, 2], [3]])
    with pytest.raises(ValueError, match="needs as many colours"):
        reports.table(["a"], [[1], [2]], colors=[(0, 0, 0)])
