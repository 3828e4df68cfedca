"""Whether a branch knows where it is wrong, in small: what ranks, whose labels count, what is written."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dnerf_jax import reproduce
from dnerf_jax.experiments import ablations, confidence
from dnerf_jax.io import files
from dnerf_jax.models import semantic
from dnerf_jax.models.semantic import Selected
from dnerf_jax.training import frozen
from dnerf_jax.training.frozen import Frozen


def test_ranking_is_the_share_of_pairs_in_order():
    draws = np.random.default_rng(0)
    sure, wrong = draws.integers(0, 7, 200) / 7, draws.random(200) < 0.3
    pairs = np.sign(sure[~wrong][:, None] - sure[wrong][None])  # right against wrong; equal ones count half
    found = confidence.ranking(sure, wrong)
    assert found["auroc"] == pytest.approx((pairs.mean() + 1) / 2) and found["wrong"] == wrong.mean()


def test_what_is_found_is_among_the_least_sure():
    sure = np.linspace(0, 1, 100)
    first = confidence.ranking(sure, sure < 0.095)  # the ten least sure are the wrong ones
    assert first["auroc"] == 1 and first["found"] == pytest.approx(
        {"0.01": 0.1, "0.02": 0.2, "0.05": 0.5, "0.1": 1.0, "0.2": 1.0, "0.3": 1.0}
    )
    last = confidence.ranking(-sure, sure < 0.095)
    assert last["auroc"] == 0 and max(last["found"].values()) == 0
    none = confidence.ranking(np.ones(100), sure < 0.095)
    assert none["auroc"] == pytest.approx(0.5) and none["found"]["0.2"] == pytest.approx(0.2)
    assert confidence.ranking(sure, sure > 2)["found"]["0.3"] == 0


@pytest.fixture
def known(bench, tiny_pack):
    """Two views of random features, and random samples on their rays, in the place of a generator's."""
    draws, config = np.random.default_rng(1), bench.model.generator.config
    semantics, side = bench.base.semantic, config.neural_rendering_resolution
    sizes, widths = semantic.feature_resolutions(semantics, config), semantic.feature_widths(semantics, config)
    features = [draws.normal(size=(2, r, r, c)).astype(np.float32) for r, c in zip(sizes, widths, strict=True)]
    points = draws.uniform(-0.3, 0.3, (2, side, side, semantics.samples_kept, 3)).astype(np.float32)
    weights = np.full(points.shape[:-1], 1 / semantics.samples_kept, np.float32)
    masks, rarity = tiny_pack.masks[:2], np.ones(tiny_pack.label_map.num_classes, np.float32)
    known = Frozen(features, np.arange(2), Selected(points, weights), masks, rarity)
    return jax.tree.map(jnp.asarray, known)


@pytest.mark.slow
def test_the_figure_is_of_what_is_measured(bench, known, tiny_pack, monkeypatch, capsys):
    config = bench.model.generator.config

    def trained(bench, row, seed):
        made = semantic.init(bench.base.semantic, config, jax.random.key(seed))
        return bench.model.replace(semantic=made, label_map=tiny_pack.label_map)

    monkeypatch.setattr(ablations, "trained", trained)
    monkeypatch.setattr(frozen, "freeze", lambda *_, **__: known)
    bench.out.mkdir()
    result = confidence.make_figure(bench, range(2))
    text = (bench.out / "confidence.md").read_text()
    assert text in capsys.readouterr().out and "| video | ensemble |" in text
    assert json.loads((bench.out / "confidence.json").read_text()) == result
    with Image.open(bench.out / "confidence.png") as picture:
        assert picture.width > 500

    # An ensemble of equals is the branch itself; of others, it is of all.
    rate = bench.base.coarse_dropout  # not 0: what is compiled is compiled
    one, two = (trained(bench, None, seed).semantic for seed in range(2))
    alike = confidence.measure([one, one], config, known, tiny_pack.label_map, rate)
    assert alike["own"][0]["miou"] == alike["own"][1]["miou"]
    assert alike["ensemble"][0]["auroc"] == pytest.approx(alike["own"][0]["auroc"], abs=1e-3)
    both = confidence.measure([one, two], config, known, tiny_pack.label_map, rate)
    assert both == result["packs"]["single"] == result["packs"]["video"]
    assert both["own"][0] == alike["own"][0] != both["own"][1]
    assert both["ensemble"][0]["miou"] == both["ensemble"][1]["miou"]
    assert both["ensemble"][0]["found"] != both["ensemble"][1]["found"], "of the labels of either"
    assert both["dropout"][0] != both["own"][0]


def test_one_branch_is_no_ensemble(in_small, tmp_path):
    with pytest.raises(ValueError, match="at least two branches, so give --seeds 2"):
        reproduce.main(str(tmp_path / "out"), figure="confidence", seeds=1)
    assert not list((tmp_path / "out").glob("confidence*"))
    assert files.read_json(tmp_path / "out" / "settings.json", "settings")
