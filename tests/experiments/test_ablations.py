"""The ablations in small: rows are trained once, spreads and verdicts follow from them, the paper stands apart."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from dnerf_jax import cli
from dnerf_jax.experiments import ablations
from dnerf_jax.io import checkpoints, files, packs
from dnerf_jax.models import semantic
from dnerf_jax.training import branch, heldout, scoring
from dnerf_jax.worlds import heads, labelled


@pytest.fixture
def in_small(shrunk, tiny_assets, tiny_pack, monkeypatch):
    """The tiny generator and packs in the place of the embedded ones; a seed's labelled views are one latent's."""
    monkeypatch.setattr(files, "ASSETS", tiny_assets)
    configuration = shrunk("heads.py")
    configuration.steps = 3
    monkeypatch.setattr(cli, "load_config", lambda path: configuration)
    choose = lambda model, latents, views, seed: tiny_pack[3 * (seed % 2) : 3 * (seed % 2) + 3]  # noqa: E731
    monkeypatch.setattr(ablations, "labelled_views", choose)
    configuration.views_per_step = 2
    for table in ("4", "5", "ceiling"):
        monkeypatch.setitem(ablations.SETS, table, scoring.EMBEDDED)


@pytest.fixture
def run(shrunk):
    """The settings of configs/heads.py for the tiny generator."""
    return cli.as_dataclass(shrunk("heads.py"), branch.Settings)


def test_rows_are_variations_that_the_branch_knows():
    fields, others = set(semantic.SemanticConfig.__dataclass_fields__), set(branch.Settings.__dataclass_fields__)
    for rows in ablations.TABLES.values():
        assert len({row.name for row in rows}) == len(rows)
        assert all(set(row.changes) <= fields and set(row.training) <= others for row in rows)
        assert all(row.views[0] <= ablations.LATENTS_PER_SEED and row.views[1] in (1, 3) for row in rows)
    for table, claims in ablations.CLAIMS.items():
        assert {name for pair in claims.values() for name in pair} <= {row.name for row in ablations.TABLES[table]}
    # A row of the same name is the same row, because tables share what was trained.
    both = {row.name: row for row in ablations.TABLES["4"]}
    for row in ablations.TABLES["5"]:
        if row.name in both:
            assert (row.changes, row.views) == (both[row.name].changes, both[row.name].views)


def test_a_table_is_trained_once_and_printed(in_small, tmp_path, monkeypatch, capsys):
    rows = ablations.TABLES["4"]
    monkeypatch.setitem(ablations.TABLES, "4", (rows[0], rows[4]))
    claim = {"the prior helps": ("last", "no-prior")}
    monkeypatch.setitem(ablations.CLAIMS, "4", claim)
    ablations.main(str(tmp_path), table="4", seeds=2)
    text = (tmp_path / "table4.md").read_text()
    assert text in capsys.readouterr().out
    result = json.loads((tmp_path / "table4.json").read_text())
    assert [row["name"] for row in result["rows"]] == ["last", "no-prior"]
    values = [found["single"]["miou"] for found in result["rows"][0]["seeds"]]
    assert f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" in text and "0.401, 0.707" in text
    model = checkpoints.load(tmp_path / "last_30x3_seed1" / "model")
    assert (model.semantic_config.features, model.semantic_config.aggregation) == ("last", "sum")
    assert model.semantic_config.density_prior
    assert not checkpoints.load(tmp_path / "no-prior_30x3_seed0" / "model").semantic_config.density_prior
    assert not (tmp_path / "last_30x3_seed1" / "checkpoints").exists()

    def trained(*_):
        raise AssertionError("what is there was trained again")

    monkeypatch.setattr(branch, "train", trained)
    shutil.rmtree(tmp_path / "last_30x3_seed1" / "model")  # scores alone are enough
    ablations.main(str(tmp_path), table="4", seeds=2)
    assert json.loads((tmp_path / "table4.json").read_text()) == result
    ablations.main(str(tmp_path), table="4", seeds=2, rows="last")
    some = json.loads((tmp_path / "table4.json").read_text())
    assert some["rows"] == result["rows"][:1] and some["claims"] == {}
    with pytest.raises(ValueError, match="--rows names first, lst; there are: last, no-prior"):
        ablations.main(str(tmp_path), table="4", rows="lst,first")


@pytest.mark.parametrize("density_prior", [True, False])
def test_scores_are_those_of_evaluate(in_small, run, tiny_model, density_prior):
    config = dataclasses.replace(run.semantic, density_prior=density_prior)
    params = semantic.init(config, tiny_model.config, jax.random.key(2))
    views = packs.load("heads_video", tiny_model)
    model = tiny_model.replace(semantic_config=config, semantic_params=params, label_map=views.label_map)
    expected = scoring.evaluate(model, views)
    found = ablations.measure(model, run, "heads_video")
    assert found["views"] == len(views)
    for name in ("label_pixels", "prediction_pixels", "per_class", "miou", "accuracy"):
        assert found[name] == expected[name], name


def test_tuning_is_scored_on_views_of_its_own(in_small, tiny_pack, tmp_path, monkeypatch):
    rows = (ablations.TABLES["tuning"][0], ablations.Row("faster", {"hidden": 8}, training={"steps": 2}))
    monkeypatch.setitem(ablations.TABLES, "tuning", rows)
    made = []
    monkeypatch.setattr(labelled, "make", lambda views, model, resolution: made.append((views, resolution)) or tiny_pack)
    ablations.main(str(tmp_path), table="tuning", seeds=1)
    assert made == [(ablations.VALIDATION, 16)]
    seeds = [made.seed for made in (*labelled.PACKS, ablations.VALIDATION, ablations.VIDEOS)]
    assert len({*seeds, heldout.SEED}) == 1 + len(seeds)
    result = json.loads((tmp_path / "tabletuning.json").read_text())
    assert [set(found) for row in result["rows"] for found in row["seeds"]] == [{"validation"}] * 2
    assert result["rows"][1]["changes"] == {"hidden": 8, "steps": 2}
    text = (tmp_path / "tabletuning.md").read_text()
    assert "paper" not in text and "| faster | 30 x 3 |" in text
    assert checkpoints.load(tmp_path / "faster_30x3_seed0" / "model").semantic_config.hidden == 8


def test_what_rows_share_is_computed_once(in_small, run, tiny_model, monkeypatch):
    monkeypatch.setattr(ablations, "_known", {})
    computed = []
    monkeypatch.setattr(packs, "load", lambda *_: None)
    monkeypatch.setattr(branch, "freeze_samples", lambda *arguments: computed.append(arguments) or {})
    for name in ("heads_test", "heads_video", "videos", "heads_train", "heads_test", "heads_video", "videos"):
        for changes in ({}, {"features": "last"}):
            ablations.known_samples(dataclasses.replace(run.semantic, **changes), tiny_model, name)
    assert len(computed) == 4
    assert ablations.known_samples(dataclasses.replace(run.semantic, density_prior=False), tiny_model, "x") is None
    # A fifth takes the place of the one that was not used for the longest time.
    ablations.known_samples(dataclasses.replace(run.semantic, samples_kept=4), tiny_model, "heads_train")
    assert [key[1:] for key in ablations._known] == [
        ("heads_test", 6),
        ("heads_video", 6),
        ("videos", 6),
        ("heads_train", 4),
    ]


def test_results_of_another_generator_are_not_mixed_in(in_small, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "make_table", lambda *_: None)
    ablations.main(str(tmp_path / "out"), table="4")
    other = jax.tree.map(lambda x: x + 1, tiny_model.variables)
    checkpoints.save(tmp_path / "other", tiny_model.replace(variables=other))
    with pytest.raises(ValueError, match="generator"):
        ablations.main(str(tmp_path / "out"), table="4", checkpoint=str(tmp_path / "other"))


def test_labelled_views_of_a_seed(tiny_model, monkeypatch):
    made = []

    def make(recipe, model, resolution):
        made.append((recipe.first, recipe.latents))
        return np.arange(3 * recipe.latents)  # stands for views: three of every latent, in order

    monkeypatch.setattr(labelled, "make", make)
    np.testing.assert_array_equal(ablations.labelled_views(tiny_model, 4, 3, 0), np.arange(12))
    np.testing.assert_array_equal(ablations.labelled_views(tiny_model, 4, 1, 2), [0, 4, 8, 9])
    assert made == [(0, 4), (2 * ablations.LATENTS_PER_SEED, 4)]
    with pytest.raises(ValueError, match="2 views of a latent"):
        ablations.labelled_views(tiny_model, 4, 2, 0)


def scores(*values):
    return [{"single": {"miou": value}} for value in values]


@pytest.mark.parametrize(
    ("better", "worse", "word"),
    [
        ((0.6, 0.62, 0.61), (0.5, 0.51, 0.52), "reproduced"),
        ((0.5, 0.51, 0.52), (0.6, 0.62, 0.61), "not reproduced"),
        ((0.5, 0.6, 0.55), (0.55, 0.54, 0.56), "undecided"),
        ((0.6,), (0.5,), "undecided"),
    ],
)
def test_a_claim_needs_more_than_the_spread(better, worse, word):
    assert ablations.verdict(scores(*better), scores(*worse), "single")["verdict"] == word


def test_the_figure_compares_with_noise_per_frame(in_small, tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "exact_distance", lambda views: np.full(views.masks.shape, 2.7, np.float32))
    ablations.main(str(tmp_path), figure="S10")
    found = json.loads((tmp_path / "figureS10.json").read_text())
    assert list(found) == ["exact", "ours", "noise per frame"]
    assert all(0 <= entry["label_agreement"] <= 1 and entry["points"] > 0 for entry in found.values())
    width, height = Image.open(tmp_path / "figureS10.png").size
    assert width > 2 * 3 * 16 and height > 3 * 3 * 3


def test_exact_distance_is_the_worlds():
    z = np.zeros((2, heads.Z_DIM), np.float32) + 0.1
    poses = [heads.orbit(yaw, 0.0) for yaw in (0.0, 20.0)]
    views = packs.annotations.Annotations(
        images=np.zeros((2, 16, 16, 3), np.uint8),
        masks=np.zeros((2, 16, 16), np.uint8),
        z=z,
        cam2world=np.stack([pose for pose, _ in poses]),
        intrinsics=np.stack([intrinsics for _, intrinsics in poses]),
        latent_id=[0, 0],
        label_map=heads.LABELS,
        fingerprint="",
        name="two",
    )
    expected = heads.render(heads.build(z[0]), *poses[1], 16).distance
    np.testing.assert_array_equal(ablations.exact_distance(views)[1], expected)


@pytest.mark.parametrize("wrong", [{}, {"table": "3"}, {"figure": "6"}, {"table": "4", "seeds": 0}])
def test_what_cannot_be_reproduced_is_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match="--table is|--seeds is"):
        ablations.main(str(tmp_path), **wrong)
