"""The stages of an edit: which are run, taken, and what is said of them."""

import dataclasses

import numpy as np
import pytest

from dnerf_jax.training.editing import search


@pytest.fixture(scope="module")
def outcomes(edit_settings, tiny_semantic_model, tiny_wanted):
    stage = dataclasses.replace(edit_settings.z, newton=1)
    settings = dataclasses.replace(edit_settings, stages=("z", "w+"), z=stage)
    told = []
    made = search.run(settings, tiny_semantic_model, tiny_wanted, tell=lambda *args: told.append(args))
    assert {args[0] for args in told} <= {"z", "z, Gauss-Newton", "w+"} and told
    return made


def test_stages_are_compared_by_the_loss(outcomes):
    assert [outcome.stage for outcome in outcomes] == ["before", "z", "w+"]
    last = search.result(outcomes)
    assert last.kept and last.scores["loss"] <= outcomes[0].scores["loss"]
    for outcome in outcomes[1:]:
        assert len(outcome.losses) == 4 and np.isfinite(outcome.losses).all()
    assert outcomes[2].subject.z is None and outcomes[1].subject.z.shape == (8,)


def test_before_the_edit_nothing_has_changed(outcomes, tiny_wanted, tiny_before):
    scores = outcomes[0].scores
    assert scores["views"] == pytest.approx([0, 0], abs=1e-6) and scores["outside"] == scores["views"][0]
    assert scores["iou"] == pytest.approx(np.mean([x for x in scores["per_class"].values() if x is not None]))
    agreeing = np.mean(tiny_before.mask[0] == np.asarray(tiny_wanted.mask))
    assert scores["accuracy"] == pytest.approx(agreeing)
    assert scores["identity"] is None and all(len(areas) == 2 for areas in scores["areas"].values())


def test_a_scene_beyond_the_mapping_has_no_stage_z(edit_settings, tiny_semantic_model, tiny_wanted, outcomes):
    want = tiny_wanted.replace(subject=outcomes[2].subject)
    with pytest.raises(ValueError, match="needs a latent z"):
        search.run(edit_settings, tiny_semantic_model, want)


def test_an_edit_that_is_met_goes_no_further(edit_settings, tiny_semantic_model, tiny_wanted):
    settings = dataclasses.replace(edit_settings, stages=("z", "w+"), enough=0.0)
    made = search.run(settings, tiny_semantic_model, tiny_wanted)
    assert [outcome.stage for outcome in made][:2] == ["before", "z"]
    assert len(made) == (2 if made[1].kept else 3)
