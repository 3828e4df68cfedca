"""Rounds of labels in small: who chooses what, what is shared and kept, what runs of equal seeds say."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dnerf_jax import reproduce
from dnerf_jax.experiments import ablations, rounds
from dnerf_jax.io import label_folders, packs
from dnerf_jax.io.packs import Annotations
from dnerf_jax.labelling import proposing
from dnerf_jax.training import branch
from dnerf_jax.worlds import views


@pytest.fixture
def painter(monkeypatch):
    """A world that paints a class by the sign of a latent's first number, in the left half of every picture."""

    def render(z, cam2world, intrinsics, resolution):
        mask = np.zeros((resolution, resolution), np.uint8)
        mask[:, : resolution // 2] = 1 if z[0] > 0 else 2
        return SimpleNamespace(mask=mask)

    monkeypatch.setattr(views, "of_classes", lambda label_map: SimpleNamespace(build=lambda z: z, render=render))


@pytest.fixture
def proposed(bench, painter, tiny_pack, monkeypatch):
    """A bench whose proposals are told in a list, with the model that they were asked of: new latents every time."""
    asked = []

    def propose(model, label_map, request, path):
        there = packs.load(path, unlabelled=True) if path.exists() else None
        asked.append((path.parent.name, request, model))
        at = 0 if there is None else len(there)
        z = np.random.default_rng((request.seed, at)).standard_normal((request.num, 8)).astype(np.float32)
        names = ("images", "cam2world", "intrinsics")
        some = {name: getattr(tiny_pack, name)[: request.num] for name in names}
        blank = np.full_like(tiny_pack.masks[: request.num], 255)
        new = {"z": z, "masks": blank, "latent_id": np.arange(at, at + request.num), "name": "labels"}
        made = dataclasses.replace(tiny_pack, **some, **new)
        if there is not None:
            return label_folders.extend(path, made)
        packs.save(path, made, unlabelled=True)
        return made

    monkeypatch.setattr(proposing, "propose", propose)
    monkeypatch.setattr(rounds, "ROUND", 2)
    monkeypatch.setattr(rounds, "COUNTS", (2, 4, 6))
    return bench, asked


@pytest.mark.slow
def test_every_arm_chooses_as_it_says_and_what_is_done_is_kept(proposed, tiny_semantic_model, monkeypatch, capsys):
    bench, asked = proposed
    taught: list[tuple[str, str, Annotations]] = []

    def train(settings, model, pack, workdir):
        steps = rounds.QUICK if workdir.name.endswith("_quick") else bench.base.steps
        assert settings.annotations == str(workdir.parent / "labels") and settings.steps == steps
        taught.append((workdir.parent.name, workdir.name, pack))
        return model.replace(semantic=len(taught), label_map=tiny_semantic_model.label_map)

    def measure(bench, model, name):
        assert len(packs.load(name)) == 2  # every second of three
        return {"miou": 0.5 + model.semantic / 100, "accuracy": 0.9}

    monkeypatch.setattr(branch, "train", train)
    monkeypatch.setattr(ablations, "measure", measure)
    result = rounds.make_figure(bench, [1])
    # The first round of two arms is one, and what the active arm's rounds are asked of is the branch of the one before.
    told = [(where, request.by, request.candidates, request.seed) for where, request, _ in asked]
    assert sorted(told, key=lambda x: x[0]) == [
        *[("active_seed1", "uncertainty", None, 1)] * 2,
        *[("latents_seed1", "latents", None, 1)] * 3,
        *[("random_seed1", "latents", 2, 1)] * 3,
    ]
    assert all((model.semantic is not None) == where.startswith("active") for where, _, model in asked)
    assert [one[1] for one in taught if one[0] == "latents_seed1"] == ["2", "2_quick", "4", "6"]
    assert [one[1] for one in taught if one[0] == "active_seed1"] == ["4", "4_quick", "6"]
    assert [one[1] for one in taught if one[0] == "random_seed1"] == ["2", "4", "6"]
    active, latents = ({x[1]: x[2] for x in taught if x[0] == f"{arm}_seed1"} for arm in ("active", "latents"))
    np.testing.assert_array_equal(active["4"].z[:2], latents["2"].z)
    np.testing.assert_array_equal(active["6"].z[:4], active["4"].z)
    for pack in (*active.values(), *latents.values()):
        np.testing.assert_array_equal(pack.masks[:, 0, 0], np.where(pack.z[:, 0] > 0, 1, 2))
    # Written, printed, and read rather than made again.
    assert json.loads((bench.out / "choosing.json").read_text()) == json.loads(json.dumps(result))
    text = (bench.out / "choosing.md").read_text()
    assert text in capsys.readouterr().out and "active is better than random, 6 labels" in text
    with Image.open(bench.out / "choosing.png") as picture:
        assert picture.width > 500
    monkeypatch.setattr(branch, "train", None)
    monkeypatch.setattr(proposing, "propose", None)
    assert rounds.make_figure(bench, [1]) == result
    some = rounds.make_figure(bench, [1], ("active", "random"), (4, 6))
    assert {claim: list(by_count) for claim, by_count in some["claims"].items()} == {
        "active is better than random": ["4", "6"]
    }


def test_what_was_stopped_before_it_was_painted_is_painted(proposed):
    bench, _ = proposed
    path = bench.out / "choosing" / "random_seed0" / "labels"
    proposing.propose(bench.model, None, proposing.Request(num=2, candidates=2), path)
    assert not label_folders.has_labels(packs.load(path, unlabelled=True)).any()
    assert len(rounds.labelled(bench, "random", 0, 4)) == 4
    assert label_folders.has_labels(packs.load(path, unlabelled=True)).all()


def test_an_arm_is_better_only_beyond_the_spread():
    def runs(*values):
        return {"10": [{"miou": value, "accuracy": value} for value in values]}

    found = {"active": runs(0.6, 0.62, 0.61), "random": runs(0.5, 0.51, 0.52), "latents": runs(0.5, 0.6, 0.45)}
    said = rounds.summary(found, 400)
    words = {claim: by_count["10"]["verdict"] for claim, by_count in said["claims"].items()}
    assert words == {
        "active is better than random": "yes",
        "latents is better than random": "undecided",
        "active is better than latents": "yes",
    }
    swapped = {"active": found["random"], "random": found["active"]}
    assert "no, worse" in rounds.markdown(rounds.summary(swapped, 400))


def test_the_door_makes_it(in_small, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(rounds, "make_figure", lambda bench, seeds: asked.append((bench.out, list(seeds))))
    reproduce.main(str(tmp_path), figure="choosing", seeds=2)
    assert asked == [(tmp_path, [0, 1])]
