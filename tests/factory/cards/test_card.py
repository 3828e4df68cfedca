"""Cards: everything is said, the same of the same data, in YAML and Markdown that no name breaks; loaders read it."""

import re
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from dnerf_jax import factory
from dnerf_jax.factory import description
from dnerf_jax.factory.cards import card, card_sections, statistics
from dnerf_jax.factory.checks import relabelling
from dnerf_jax.factory.plan import Plan
from dnerf_jax.io import files
from tests.factory.trimming import renamed, trimmed

ODD = ("back|ground", 'a "quoted" <b>skin</b>', "`eye` \\ [x](y)", "Mund: *größer* #1", "毛 & ~~hair~~ 🙂 $x$")


@pytest.fixture(scope="module")
def finished(tiny_dataset, tmp_path_factory):
    """The tiny dataset with its card."""
    out = shutil.copytree(tiny_dataset, tmp_path_factory.mktemp("card") / "data")
    card.write(out)
    return out


def text_of(out):
    return (out / card.NAME).read_text()


def front(out):
    _, head, _ = text_of(out).split("---\n", 2)
    return yaml.safe_load(head)


def shown(markdown):
    """What a line of Markdown shows, all of whose characters are escaped where they mean something."""
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]<>|~$&]", markdown)
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown)


@pytest.mark.slow
def test_front_matter_names_the_files_of_every_split(finished):
    head = front(finished)
    assert (head["license"], head["license_name"]) == ("other", "none") and head["size_categories"] == ["n<1K"]
    assert {"image-segmentation", "depth-estimation"} <= set(head["task_categories"])
    configs = {config["config_name"]: config for config in head["configs"]}
    assert list(configs) == ["default", "clouds"] and configs["default"]["default"] is True
    for folder, config in (("data", configs["default"]), ("clouds", configs["clouds"])):
        for entry in config["data_files"]:
            found = sorted(finished.glob(entry["path"]))
            assert found == sorted((finished / folder).glob(f"{entry['split']}-*.tar")) and found
        assert [entry["split"] for entry in config["data_files"]] == ["train", "test"]


@pytest.mark.slow
def test_all_is_said(finished):
    text, counts = text_of(finished), statistics.collect(finished)
    told = description.read(finished)
    for name in (
        *told.plan.modalities,
        "train",
        "test",
        told.checkpoint["fingerprint"],
        next(iter(counts.stacks))[:16],
    ):
        assert name in text
    rows = re.findall(r"^\| (\S+) \| (\d+) \| `(#\w{6})` \| ([\d.]+) % \|", text, re.MULTILINE)
    assert [row[0] for row in rows] == list(counts.label_map.names)
    assert [int(row[2][1:], 16) for row in rows] == [r << 16 | g << 8 | b for r, g, b in counts.label_map.colors]
    assert sum(float(row[3]) for row in rows) == pytest.approx(100, abs=0.05)
    agreement = statistics.agreement(finished)
    assert f"**{100 * agreement['agreement']:.2f} %**" in text


@pytest.mark.slow
def test_the_picture_shows_the_samples(finished):
    path = finished / card.PICTURE
    assert f"]({card.PICTURE})" in text_of(finished) and path.stat().st_size < 10**6
    picture = np.asarray(Image.open(path))
    np.testing.assert_array_equal(picture[4:20, 4:20], factory.load(finished)[0]["image"])


@pytest.mark.slow
def test_the_same_data_have_the_same_card_wherever_they_are(finished, tiny_dataset, tmp_path):
    again = shutil.copytree(tiny_dataset, tmp_path / "somewhere else")
    (again / "run").mkdir()
    (again / "run" / "log.jsonl").write_text('{"host": "here"}\n')
    card.write(again)
    card.write(again)  # and once more, over what is there
    for name in (card.NAME, card.PICTURE, "croissant.json"):
        assert (again / name).read_bytes() == (finished / name).read_bytes()
    for told in (str(tmp_path), "somewhere", "here\n"):
        assert told not in text_of(again)


@pytest.mark.slow
def test_odd_names_and_licences_break_nothing(tiny_dataset, tmp_path):
    out = renamed(tiny_dataset, tmp_path / "odd", ODD)
    content = files.read_json(out / description.NAME)
    terms = 'No "use" | at <all>: \u2028 #see\n- license: mit\x07'
    content["checkpoint"] |= {"license": terms, "origin": "x | y\n\n# z"}
    files.write_json(out / description.NAME, content)
    card.write(out)
    assert front(out)["license"] == "other" and front(out)["license_name"] == "no-use-at-all"
    lines = text_of(out).splitlines()
    start = lines.index("## Classes")
    rows = [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in lines[start + 4 : start + 9]]
    assert [shown(row[0]) for row in rows] == list(ODD)
    assert len({len(row) for row in rows}) == 1 and "# z" not in lines
    assert files.read_json(out / "croissant.json")["license"] == terms


@pytest.mark.slow
@pytest.mark.parametrize(
    "modalities, views, missing",
    [
        (("image",), 1, ["## Classes", "## Consistency", "depth-estimation", "image-segmentation", "clouds"]),
        (("image", "distance"), None, ["## Classes", "image-segmentation", "depth_z.png"]),
        (("image", "mask", "points"), None, ["## Consistency", "depth-estimation"]),
    ],
)
def test_datasets_that_lack_something_have_cards(tiny_dataset, tmp_path, modalities, views, missing):
    out = trimmed(tiny_dataset, tmp_path / "less", modalities=modalities, views=views)
    card.write(out)
    text = text_of(out)
    assert not [name for name in missing if name in text] and front(out)["configs"]


@pytest.mark.slow
def test_a_relabelled_dataset_says_what_its_labels_were(tiny_dataset, tmp_path):
    relabelling.relabel(tiny_dataset, tmp_path / "new", names={"eye": "face|part", "mouth": "face|part"})
    card.write(tmp_path / "new")
    text, before = text_of(tmp_path / "new"), description.read(tiny_dataset).checkpoint["semantic_fingerprint"]
    assert f"| relabelled; the branch before | `{before}` |" in text and "eye → face\\|part" in text
    assert "; labels by " in text and "skin →" not in text


@pytest.mark.slow
def test_what_is_not_finished_has_no_card(tiny_dataset, tmp_path):
    out = shutil.copytree(tiny_dataset, tmp_path / "half")
    for lost in (card.NAME, "data/test-000000.json"):
        (out / lost).unlink()
    with pytest.raises(ValueError, match="test-000000"):
        card.write(out)
    assert not (out / card.NAME).exists()


@pytest.mark.slow
@pytest.mark.forms
def test_what_the_card_says_of_loading_works(finished, monkeypatch, hugging_face):
    monkeypatch.chdir(finished)
    known, image = {}, factory.load(finished, split="train")[0]
    blocks = re.findall(r"```python\n(.*?)```", text_of(finished), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, known)
        names = re.search(r"view = .*  # (.*)", block)
        assert not names or set(re.findall('"(.*?)"', names[1])) <= set(known["view"])
        pixels = known["view"].get("image.png", known["view"].get("image"))
        np.testing.assert_array_equal(np.asarray(pixels), image["image"])
        depth = known["view"].get("depth_z.png")
        assert depth is None or np.asarray(depth).dtype == np.uint16
    assert known["batch"]["mask"].shape == (8, 16, 16)
    every = hugging_face.load_dataset(str(finished))
    assert {name: split.num_rows for name, split in every.items()} == {"train": 8, "test": 4}


@pytest.mark.parametrize(
    "terms, expected",
    [
        ("Apache-2.0", ["license: apache-2.0"]),
        ("CC-BY-NC-4.0", ["license: cc-by-nc-4.0"]),
        ("", ["license: unknown"]),
        ("MIT; but not on Sundays", ["license: other", 'license_name: "mit"', "license_link: README.md"]),
        ("???", ["license: other", 'license_name: "of-the-checkpoint"', "license_link: README.md"]),
    ],
)
def test_licences_are_spdx_or_other(terms, expected):
    assert card._license(terms) == expected


@pytest.mark.parametrize("text", [*ODD, "a: b", "- x", "\\", "\x00\x7f\x85\ufeff\u2028", "yes", "{a}", "\U0001f642"])
def test_quoted_texts_are_read_back(text):
    assert yaml.safe_load(f"key: {card.quoted(text)}") == {"key": text}


def test_escaped_texts_are_on_one_line():
    assert [shown(card_sections.escaped(name)) for name in ODD] == list(ODD)
    assert "\n" not in card_sections.escaped("a\n# b") and card_sections.escaped(" a\n\tb ") == "a b"


def counts_of(**views):
    """Statistics of splits of one view for each identity."""
    splits = {name: statistics.SplitCounts(number, np.zeros(0), np.zeros(0), number) for name, number in views.items()}
    return statistics.Statistics(splits, None, {}, 0, {}, ())


def test_sizes_are_in_powers_of_ten_and_empty_splits_have_no_files():
    told = description.Description(Plan(modalities=("image",)), {}, {}, 16, {})
    for views, name in ((999, "n<1K"), (1000, "1K<n<10K"), (10**7, "10M<n<100M")):
        assert f"- {name}\n" in card.front_matter(told, counts_of(train=views))
    assert "test" not in card.front_matter(told, counts_of(train=1, test=0))
