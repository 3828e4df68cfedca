"""The ablations in small: rows are trained once, what they share is computed once, other generators stay apart."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from dnerf_jax import reproduce
from dnerf_jax.experiments import ablations, rows
from dnerf_jax.experiments.ablations import Bench
from dnerf_jax.experiments.rows import Row
from dnerf_jax.io import checkpoints, packs
from dnerf_jax.models import semantic
from dnerf_jax.training import branch, frozen, scoring
from dnerf_jax.worlds import labelled

pytestmark = pytest.mark.slow  # all render or train


def test_a_table_is_trained_once_and_printed(in_small, tmp_path, monkeypatch, capsys):
    table = rows.TABLES["4"]
    monkeypatch.setitem(rows.TABLES, "4", table[:2])
    monkeypatch.setitem(rows.CLAIMS, "4", {"multiscale features help": ("hidden", "last")})
    reproduce.main(str(tmp_path), table="4", seeds=2)
    text = (tmp_path / "table4.md").read_text()
    assert text in capsys.readouterr().out
    result = json.loads((tmp_path / "table4.json").read_text())
    assert [row["name"] for row in result["rows"]] == ["last", "hidden"]
    values = [found["single"]["miou"] for found in result["rows"][0]["seeds"]]
    assert f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" in text and "0.401, 0.707" in text
    form = checkpoints.load(tmp_path / "last_30x3_seed1" / "model").semantic.config
    assert (form.features, form.aggregation) == ("last", "sum")
    assert form.density_prior
    assert checkpoints.load(tmp_path / "hidden_30x3_seed0" / "model").semantic.config.features == "hidden"
    assert not (tmp_path / "last_30x3_seed1" / "checkpoints").exists()

    def trained(*_, **__):
        raise AssertionError("what is there was trained again")

    monkeypatch.setattr(branch, "train", trained)
    shutil.rmtree(tmp_path / "last_30x3_seed1" / "model")  # scores alone are enough
    reproduce.main(str(tmp_path), table="4", seeds=2)
    assert json.loads((tmp_path / "table4.json").read_text()) == result
    reproduce.main(str(tmp_path), table="4", seeds=2, rows="last")
    some = json.loads((tmp_path / "table4.json").read_text())
    assert some["rows"] == result["rows"][:1] and some["claims"] == {}
    with pytest.raises(ValueError, match="--rows names first, lst; there are: last, hidden"):
        reproduce.main(str(tmp_path), table="4", rows="lst,first")


@pytest.mark.parametrize("density_prior", [True, False])
def test_scores_are_those_of_evaluate(bench, density_prior):
    form = dataclasses.replace(bench.base.semantic, density_prior=density_prior)
    views = packs.load("heads_video", bench.model)
    made = semantic.init(form, bench.model.generator.config, jax.random.key(2))
    model = bench.model.replace(semantic=made, label_map=views.label_map)
    expected = scoring.score_pack(model, views)
    found = ablations.measure(bench, model, "heads_video")
    assert found["views"] == len(views)
    for name in ("label_pixels", "prediction_pixels", "per_class", "miou", "accuracy"):
        assert found[name] == expected[name], name


def test_tuning_is_scored_on_views_of_its_own_and_changes_reach_the_training(bench, tiny_pack, monkeypatch):
    table = (rows.TABLES["tuning"][0], Row("faster", {"hidden": 8}, training={"steps": 2}))
    monkeypatch.setitem(rows.TABLES, "tuning", table)
    made, trained, measured = [], [], []

    def make(recipe, model, resolution):
        made.append((recipe, resolution))
        return tiny_pack

    def train(settings, model, pack, workdir, *, selected):
        trained.append((settings, pack.name, workdir.name, selected))
        return settings

    def measure(bench, model, name):
        measured.append((model, name))
        return {"miou": 0.5, "accuracy": 0.75}

    monkeypatch.setattr(labelled, "make", make)
    monkeypatch.setattr(branch, "train", train)
    monkeypatch.setattr(ablations, "measure", measure)
    monkeypatch.setattr(ablations, "known_samples", lambda bench, form, views, name: (form.samples_kept, name))
    result = ablations.make_table(bench, "tuning", [0])
    assert made == [(rows.VALIDATION, 16)]
    views = str(bench.out / "views_30x3_seed0")
    base = dataclasses.replace(bench.base, annotations=views)
    faster = dataclasses.replace(base, steps=2, semantic=dataclasses.replace(base.semantic, hidden=8))
    assert trained == [
        (base, "tiny", "default_30x3_seed0", (6, views)),
        (faster, "tiny", "faster_30x3_seed0", (6, views)),
    ]
    assert measured == [(settings, str(bench.out / "validation")) for settings, *_ in trained]
    assert json.loads((bench.out / "tabletuning.json").read_text()) == json.loads(json.dumps(result))
    assert [set(found) for row in result["rows"] for found in row["seeds"]] == [{"validation"}] * 2
    assert result["rows"][1]["changes"] == {"hidden": 8, "steps": 2}
    text = (bench.out / "tabletuning.md").read_text()
    assert "paper" not in text and "| faster | 30 x 3 |" in text


def test_what_rows_share_is_computed_once_and_only_the_last_is_kept(bench, monkeypatch):
    computed = []

    def freeze_samples(config, model, views):
        computed.append(config)
        return object()

    monkeypatch.setattr(frozen, "freeze_samples", freeze_samples)

    def known(name, **changes):
        return ablations.known_samples(bench, dataclasses.replace(bench.base.semantic, **changes), None, name)

    found = {}
    for name in ("heads_test", "heads_video", "videos", "heads_train", "heads_test", "heads_video", "videos"):
        for changes in ({}, {"features": "last"}):
            assert found.setdefault(name, known(name, **changes)) is known(name, **changes)
    assert len(computed) == 4
    assert known("x", density_prior=False) is None
    # A fifth takes the place of the one that was not used for the longest time.
    known("heads_train", samples_kept=4)
    expected = [("heads_test", 6), ("heads_video", 6), ("videos", 6), ("heads_train", 4)]
    assert list(bench.samples) == expected and ablations.KEPT == 4
    # What another bench keeps is its own.
    assert Bench(bench.base, bench.model, bench.out).samples == {}


def test_results_of_another_generator_are_not_mixed_in(in_small, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "make_table", lambda bench, *_: (bench.out / "row" / "model").mkdir(parents=True))
    reproduce.main(str(tmp_path / "out"), table="4")
    made = tiny_model.generator
    other = made.replace(variables=jax.tree.map(lambda x: x + 1, made.variables))
    checkpoints.save(tmp_path / "other", tiny_model.replace(generator=other))
    with pytest.raises(ValueError, match="generator"):
        reproduce.main(str(tmp_path / "out"), table="4", checkpoint=str(tmp_path / "other"))


def test_labelled_views_of_a_seed(tiny_model, monkeypatch):
    made = []

    def make(recipe, model, resolution):
        made.append((recipe.first, recipe.latents))
        return np.arange(3 * recipe.latents)  # stands for views: three of every latent, in order

    monkeypatch.setattr(labelled, "make", make)
    np.testing.assert_array_equal(ablations.labelled_views(tiny_model, 4, 3, 0), np.arange(12))
    np.testing.assert_array_equal(ablations.labelled_views(tiny_model, 4, 1, 2), [0, 4, 8, 9])
    assert made == [(0, 4), (2 * rows.LATENTS_PER_SEED, 4)]
    with pytest.raises(ValueError, match="2 views of a latent"):
        ablations.labelled_views(tiny_model, 4, 2, 0)


@pytest.mark.parametrize("wrong", [{}, {"table": "1"}, {"figure": "6"}, {"table": "4", "figure": "S10"}])
def test_what_cannot_be_reproduced_is_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match="--table is"):
        reproduce.main(str(tmp_path), **wrong)


@pytest.mark.parametrize("wrong", [{"table": "3", "rows": "hidden"}, {"figure": "5", "rows": "hidden"}])
def test_rows_are_of_tables_that_have_any(wrong, tmp_path):
    with pytest.raises(ValueError, match="--rows names hidden; there are: none but of --table 4, 5"):
        reproduce.main(str(tmp_path), **wrong)
