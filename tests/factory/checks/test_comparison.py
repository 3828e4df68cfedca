"""Rendering again: the sound set is identical, what was consistently forged is found, other stacks have bounds."""

import dataclasses
import math
import re

import numpy as np
import pytest

from dnerf_jax import verify
from dnerf_jax.factory import plan as plans
from dnerf_jax.factory import record, shards
from dnerf_jax.factory.checks import comparison, rerendering, verification
from dnerf_jax.factory.record import Form
from dnerf_jax.io import checkpoints, encoding, ply
from dnerf_jax.io.workers import threads
from tests.factory import forging
from tests.factory.forging import edit_json, forge, of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    """The model of the dataset."""
    return checkpoints.load(tiny_checkpoint)


@pytest.fixture
def copy(tiny_dataset, tmp_path):
    """A copy to forge."""
    return forging.copied(tiny_dataset, tmp_path / "copy")


def compare(out, model, samples=100, **options):
    """What is found by rendering, once the files alone are found to be sound."""
    findings = verification.Findings()
    verification.check(out, findings)
    assert findings.total == 0, findings.listed
    compared = comparison.compare(out, model, findings, samples=samples, **options)
    return compared, [str(finding) for finding in findings.listed]


def elsewhere(out):
    """Has the views come from another stack."""
    for path in out.glob("*/*.json"):
        path.write_text(
            re.sub(r'"threads": \d+(.*?)"fingerprint": "\w+"', r'"threads": 99\1"fingerprint": "0"', path.read_text())
        )


def test_the_sound_set_is_identical(tiny_dataset, model):
    seen = []
    compared, problems = compare(tiny_dataset, model, on_group=lambda compared: seen.append(compared.views))
    assert problems == [] and (compared.views, compared.identical, compared.stacks) == (12, 12, set())
    assert seen == [2, 4, 6, 8, 10, 12]
    names = ("image", "mask", "depth_z", "distance", "normal", "opacity", "confidence", "logits", "points")
    assert compared.worst == {name: math.inf if name == "image" else 1.0 for name in names}
    assert str(compared) == "12 views rendered again, all identical"


def test_a_subset_is_whole_identities_by_the_seed(tiny_plan):
    chosen = [list(comparison._chosen(tiny_plan, 3, seed)) for seed in (0, 0, *range(1, 20))]
    assert chosen[0] == chosen[1] and all(len(groups) == 2 for groups in chosen)
    assert len({(shard.name, start) for groups in chosen for shard, start in groups}) == 6
    assert len(list(comparison._chosen(tiny_plan, 10**9, 0))) == 6
    # Groups of several are chosen whole, each once; the last of a shard may be smaller.
    large = dataclasses.replace(tiny_plan, batch=2, num_identities=30, shard_size=5)
    groups = [(shard.name, start) for shard, start in comparison._chosen(large, 10**9, 0)]
    assert len(set(groups)) == len(groups) == 18 and {start for _, start in groups} == {0, 2, 4}
    made = {shard.name: shard for shard in plans.shards(large)}
    assert all(made[shard.name] == shard for shard, _ in comparison._chosen(large, 8, 3))


def _a_label(sample, members):
    mask = encoding.decode_png(members["mask.png"]).copy()
    mask[3, 4] = (mask[3, 4] + 1) % 5
    palette = np.zeros((256, 3), np.uint8)
    palette[:5] = [(40 * i, 20 * i, 255 - 40 * i) for i in range(5)]
    members["mask.png"] = encoding.encode_png(mask, palette=palette)


def _a_pixel(sample, members):
    image = encoding.decode_png(members["image.png"]).copy()
    image[0, 0, 0] ^= 1
    members["image.png"] = encoding.encode_png(image)


def _a_shifted_camera(sample, members):
    def shift(said):
        said["cam2world"][0][3] = record.numbers_of([said["cam2world"][0][3] + 0.05])[0]

    forging.own(shift)(sample, members)


def _another_latent(sample, members):
    if sample["identity"] == 2:
        forging.own(lambda said: said.update(z=[0.25] * 8))(sample, members)


def _a_moved_point(sample, members):
    cloud = ply.decode_cloud(members["cloud.ply"])
    members["cloud.ply"] = ply.encode_cloud(dataclasses.replace(cloud, points=cloud.points[::-1] + 0.1))


FORGED = {
    "a label": (
        of("00000002_01", _a_label),
        "data",
        r"train-000000.tar: 00000002_01.mask.png: .*\(99.6094 % agree",
    ),
    "a pixel": (of("00000002_01", _a_pixel), "data", r"tar: 00000002_01.image.png: it is not what the checkpoint"),
    "a camera": (of("00000002_01", _a_shifted_camera), "data", r"tar: 00000002_01.image.png: .* on the same stack"),
    "a latent": (_another_latent, "data", r"tar: 00000002_00.image.png: it is not what the checkpoint renders"),
    "a cloud": (of("00000002", _a_moved_point), "clouds", r"clouds/train-000000.tar: 00000002: it is not what"),
}


@pytest.mark.parametrize("forged", FORGED)
def test_what_is_consistently_forged_is_found(copy, model, forged):
    change, folder, expected = FORGED[forged]
    forge(copy, "train-000000", change, folder)
    compared, problems = compare(copy, model)
    assert any(re.search(expected, problem) for problem in problems), problems
    assert compared.identical < 12 or folder == "clouds"
    assert all("00000002" in problem for problem in problems), "nothing else is blamed"


def test_clouds_that_are_swapped_are_found(copy, model):
    """Each is whole, of this dataset, and said by its sidecar to be what it is."""
    samples = shards.read_sidecar(copy, "test-000000", "clouds")["samples"]
    with open(copy / "clouds" / "test-000000.tar", "rb") as file:
        data = {sample["key"]: shards.read_members(file, sample) for sample in samples}
    other = dict(zip(data, reversed(data.values()), strict=True))
    forge(copy, "test-000000", lambda sample, members: members.update(other[sample["key"]]), "clouds")
    _, problems = compare(copy, model)
    assert [re.search(r"test-000000.tar: (\d+): it is not", problem)[1] for problem in problems] == list(data)


def test_across_stacks_there_are_bounds(copy, model):
    elsewhere(copy)
    compared, problems = compare(copy, model)
    assert problems == [] and compared.identical == 12
    assert compared.stacks == {f"threads 99 (here {threads()})"}
    assert "all identical across stacks, which differ in threads 99" in str(compared)
    forge(copy, "train-000000", of("00000002_01", _a_pixel))
    compared, problems = compare(copy, model)
    assert problems == [] and compared.identical == 11 and 60 < compared.worst["image"] < math.inf
    assert f"at worst image {compared.worst['image']:.1f} dB" in str(compared)
    # One label of 256 pixels is more than a thousandth.
    forge(copy, "train-000000", of("00000002_01", _a_label))
    forge(copy, "train-000000", of("00000002", _a_moved_point), "clouds")
    _, problems = compare(copy, model)
    assert any("mask.png: " in problem and "expected 99.9 % at least across stacks" in problem for problem in problems)
    assert any("clouds" in problem and "expected 99 % at least" in problem for problem in problems)


def test_what_the_description_says_is_the_checkpoints(copy, model):
    edit_json(copy / "dataset.json", lambda said: said.update(box_side=2.0, license="mine"))
    edit_json(copy / "dataset.json", lambda said: said["forms"]["depth_z"].update(scale=1e-3))
    _, problems = compare(copy, model, samples=1)
    told = "\n".join(problems)
    assert "box_side is 2.0, of the plan and the checkpoint 1" in told and "forms is" in told


def test_what_breaks_a_rule_of_the_plan_is_found(copy, model):
    rules = {"min_area": [["skin", 1.0]]}
    edit_json(copy / "dataset.json", lambda said: said["plan"]["drops"].update(rules))
    _, problems = compare(copy, model, samples=1)
    assert len(problems) == 1 and "it is kept, though it breaks the rule min_area skin with 0." in problems[0]


def test_scores_by_hand():
    mask, depth = Form("mask.png", "uint8"), Form("depth_z.png", "uint16", 1e-3)
    a = np.array([[1, 2], [3, 4]], np.uint8)
    assert comparison.score("mask", mask, a, a + np.uint8([[0, 0], [0, 1]])) == 0.75
    assert comparison.score("depth_z", depth, np.uint16([0, 2000, 2000]), np.uint16([0, 2001, 0])) == 2 / 3
    image = np.zeros((4, 4, 3), np.uint8)
    assert comparison.score("image", Form("image.png", "uint8"), image, image) == math.inf
    assert comparison.score("image", Form("image.png", "uint8"), image, image + 255) == pytest.approx(0.0)
    here = {"versions": {"jax": "2"}, "threads": 1, "fingerprint": "b"}
    assert comparison.difference({"versions": {"jax": "1"}, "threads": 1, "fingerprint": "a"}, here) == "jax 1 (here 2)"


def test_the_door_renders_again(copy, tiny_checkpoint, capsys, monkeypatch):
    """The work is called here, not in a process of its own."""
    monkeypatch.setattr(rerendering.engines, "in_a_worker", lambda function, *arguments: function(*arguments))
    assert verify.main(str(copy), str(tiny_checkpoint), samples=4) == 0
    assert "4 views rendered again, all identical\nnothing is wrong" in capsys.readouterr().out
    forge(copy, "train-000000", _a_label)
    assert verify.main(str(copy), str(tiny_checkpoint)) == 1
    assert "00000000_00.mask.png: it is not what the checkpoint renders" in capsys.readouterr().out
