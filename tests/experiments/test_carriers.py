"""Which features carry the labels, in small: who is silenced, what is kept, what is written."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from dnerf_jax import reproduce
from dnerf_jax.experiments import ablations, carriers
from dnerf_jax.models import semantic
from dnerf_jax.training import frozen
from dnerf_jax.worlds import labelled


def test_the_strongest_channels_are_kept():
    strength = [np.array([0.1, 0.9], np.float32), np.array([0.5, 0.2, 0.8], np.float32)]
    found = carriers.keep(strength, 3)
    assert [x.tolist() for x in found] == [[False, True], [True, False, True]]
    assert all(x.all() for x in carriers.keep(strength, 5))


@pytest.fixture
def branches(bench, tiny_pack, monkeypatch):
    """Random branches in the place of the trained ones: of "sparse" half of the channels have no weight."""
    config = bench.model.generator.config
    made = semantic.init(bench.base.semantic, config, jax.random.key(1))
    norms = np.concatenate(semantic.channel_norms(made, config))
    branches = {"default": made, "sparse": semantic.shrink_channels(made, config, float(np.median(norms)))}

    def trained(bench, row, seed):
        return bench.model.replace(semantic=branches[row.name], label_map=tiny_pack.label_map)

    monkeypatch.setattr(ablations, "trained", trained)
    monkeypatch.setattr(labelled, "make", lambda recipe, model, resolution: tiny_pack[:2])
    return bench


@pytest.mark.slow
def test_silent_channels_are_their_means_and_only_some_are_missed(branches, tiny_pack, capsys):
    result = carriers.make_figure(branches, [0])
    text = (branches.out / "features.md").read_text()
    assert text in capsys.readouterr().out and "| without last |" in text and "| the strongest |" in text
    assert json.loads((branches.out / "features.json").read_text()) == result
    for name in carriers.BRANCHES:
        (one,) = result["branches"][name]
        total = sum(one["channels"].values())
        assert list(one["without"]) == list(one["channels"]) == list(one["weight"]) == ["4", "8", "16", "last"]
        assert abs(sum(one["weight"].values()) - 1) < 1e-6
        assert (sum(one["used"].values()) < total) == (name == "sparse")
        counts = [round(share * total) for share in carriers.SHARES]
        assert [sum(x["of_scales"].values()) for x in one["strongest"].values()] == counts
    (sparse,), (default,) = result["branches"]["sparse"], result["branches"]["default"]
    assert next(iter(sparse["strongest"].values()))["miou"] == sparse["all"]["miou"], "what has no weight is not missed"
    assert default["without"]["16"] != default["all"]
    with Image.open(branches.out / "features.png") as picture:
        assert picture.width > 500

    model = ablations.trained(branches, carriers.TABLES["features"][0], 0)
    known = frozen.freeze(model.semantic.config, model, tiny_pack[:2])
    strength = carriers.strengths(model, known)
    norms = semantic.channel_norms(model.semantic, model.generator.config)
    kept = carriers.keep(strength, 9)
    silent = carriers.silence(known, kept).features
    for i, (x, after) in enumerate(zip(map(np.asarray, known.features), map(np.asarray, silent), strict=True)):
        np.testing.assert_allclose(strength[i], norms[i] * np.std(x, axis=(0, 1, 2)), rtol=1e-4)
        np.testing.assert_array_equal(after[..., kept[i]], x[..., kept[i]])
        means = np.broadcast_to(np.mean(x, axis=(0, 1, 2)), x.shape)
        np.testing.assert_allclose(after[..., ~kept[i]], means[..., ~kept[i]], atol=1e-5)


@pytest.mark.slow
def test_what_is_scored_is_kept(branches, monkeypatch):
    """Written by the door, and read again."""
    folder = branches.out / "default_30x3_seed0"
    folder.mkdir(parents=True)
    kept = {
        "channels": {"4": 2, "last": 2},
        "all": {"miou": 0.5},
        "without": {},
        "strongest": {},
        "weight": {},
        "used": {},
    }
    (folder / "features.json").write_text(json.dumps(kept))
    monkeypatch.setattr(ablations, "trained", None)
    assert carriers.score(branches, carriers.TABLES["features"][0], 0) == kept
    asked = []
    monkeypatch.setattr(carriers, "make_figure", lambda bench, seeds: asked.append(list(seeds)))
    reproduce.main(str(branches.out.parent / "door"), figure="features", seeds=2)
    assert asked == [[0, 1]]
