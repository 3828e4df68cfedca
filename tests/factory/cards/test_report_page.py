"""The page about a dataset: all of it is there, from any dataset, and it loads nothing."""

import html
import importlib
import json
import re
import shutil

import pytest

from dnerf_jax.factory.cards import card, report_page, statistics
from tests.factory.trimming import renamed, trimmed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tiny_dataset, tmp_path_factory):
    """The page of the tiny dataset."""
    return report_page.write(tiny_dataset, tmp_path_factory.mktemp("page") / "report.html").read_text()


def sections(page):
    return re.findall("<h2>(.*?)</h2>", page)


def words(page):
    text = re.sub(r"<style.*?</style>|<script.*?</script>", "", page, flags=re.DOTALL)
    return html.unescape(re.sub("<.*?>", " ", text)).replace("\u2007", "")


def test_all_parts_are_there_and_nothing_is_loaded(page, tiny_dataset):
    assert sections(page) == [
        "Splits",
        "Samples",
        "In space",
        "Classes",
        "Consistency in 3D",
        "Cameras",
        "Drops",
        "Provenance",
    ]
    assert not re.search(r"https?://(?!www\.w3\.org)|<link|@import", page)
    sources = re.findall(r'src="(.{10})', page)
    assert len(sources) == 6 and set(sources) == {"data:image"}  # a sheet for every identity
    counts = statistics.collect(tiny_dataset)
    for c, name in enumerate(counts.label_map.names):
        assert re.search(rf"{name} +{100 * counts.splits['train'].shares[c]:.2f}", words(page))
    assert page.count('class="mark"') == 2 * counts.views and "<canvas" in page
    agreement = statistics.agreement(tiny_dataset)
    assert f"{100 * agreement['agreement']:.2f} %" in words(page)


def test_odd_names_are_shown_as_they_are(tiny_dataset, tmp_path):
    names = ("back|ground", 'a "quoted" <b>', "</script>", "Mund & Ähnliches", "毛 🙂")
    page = report_page.write(renamed(tiny_dataset, tmp_path / "odd", names), tmp_path / "odd.html").read_text()
    assert all(name in words(page) for name in names) and "<b>" not in page
    assert page.count("</script>") == 2


@pytest.mark.parametrize(
    "modalities, views, gone",
    [
        (("image",), 1, {"Classes", "Consistency in 3D", "In space"}),
        (("image", "distance"), None, {"Classes", "Consistency in 3D"}),
        (("image", "mask"), None, {"Consistency in 3D", "In space"}),
    ],
)
def test_datasets_that_lack_something_have_pages(tiny_dataset, page, tmp_path, modalities, views, gone):
    out = trimmed(tiny_dataset, tmp_path / "less", modalities=modalities, views=views)
    assert set(sections(page)) - set(sections(report_page.write(out, tmp_path / "page.html").read_text())) == gone


def test_rates_come_from_the_log_of_the_runs(tiny_dataset, tmp_path):
    out = shutil.copytree(tiny_dataset, tmp_path / "data")
    (out / "run").mkdir(exist_ok=True)
    line = {"shard": "train-000000", "views": 6, "seconds": 4.0, "render_seconds": 3.0, "host": "a<b", "process": 1}
    lines = [
        json.dumps(line),
        json.dumps(line | {"process": 2}),
        json.dumps(line | {"host": "c", "views": 1}),
        "[1]",
        '{"sh',
    ]
    (out / "run" / "log.jsonl").write_text("\n".join(lines))
    page = report_page.write(out, out / "run" / "report.html").read_text()
    rows = re.findall(r"<tr>(.*?)</tr>", page.partition("How it was made")[2])
    cells = [
        [html.unescape(cell).replace("\u2007", "") for cell in re.findall("<td>(.*?)</td>", row)] for row in rows[1:]
    ]
    assert cells == [["a<b", "2", "2", "12", "1.500", "75.00 %"], ["c", "1", "1", "1", "0.250", "75.00 %"]]


def test_the_door_writes_beside_what_runs_tell(tiny_dataset, tmp_path, capsys):
    out, report = shutil.copytree(tiny_dataset, tmp_path / "data"), importlib.import_module("dnerf_jax.report")
    report.main(str(out))
    assert capsys.readouterr().out == f"{out / 'run' / 'report.html'}\n"
    report.main(str(out), str(tmp_path / "mine.html"))
    assert (tmp_path / "mine.html").read_bytes() == (out / "run" / "report.html").read_bytes()
    card.write(out)  # takes no notice of the page
    with pytest.raises(ValueError, match="is no dataset"):
        report.main(str(tmp_path))
