"""Evaluation: perfect scores for perfect labels, known scores for known errors, files for people and programs."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

from dnerf_jax.io import checkpoints, packs
from dnerf_jax.models import scenes
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.training import scoring


@pytest.fixture(scope="module")
def own_pack(tiny_semantic_model, tiny_pack):
    """Three views of three latents, whose labels are what the tiny branch predicts."""
    pack, model = tiny_pack[[0, 4, 8]], tiny_semantic_model
    synthesize, render = jax.jit(scenes.synthesize), jax.jit(scenes.render)
    masks = [render(model, synthesize(model, z), pack.camera[i]).mask for i, z in enumerate(pack.z)]
    return dataclasses.replace(pack, masks=np.stack(masks))


def test_own_predictions_score_one(tiny_semantic_model, own_pack):
    scores = scoring.evaluate(tiny_semantic_model, own_pack)
    assert (scores["miou"], scores["accuracy"], scores["views"]) == (1.0, 1.0, 3)
    present = np.unique(own_pack.masks)
    names = tiny_semantic_model.label_map.names
    assert scores["per_class"] == {name: 1.0 if i in present else None for i, name in enumerate(names)}
    assert scores["psnr"] > 15


def test_wrong_pixels_are_counted_and_unlabelled_ones_are_not(tiny_semantic_model, own_pack):
    masks = own_pack.masks.copy()
    masks[1, :2] = (masks[1, :2] + 1) % 5  # two of 48 rows are wrong,
    masks[2, 4:8] = LabelMap.IGNORE  # four have no label
    scores = scoring.evaluate(tiny_semantic_model, dataclasses.replace(own_pack, masks=masks))
    assert scores["accuracy"] == pytest.approx(1 - 2 / 44)
    assert scores["miou"] < 1


def test_scores_do_not_depend_on_the_order_of_views(tiny_semantic_model, tiny_pack):
    scores = [scoring.evaluate(tiny_semantic_model, tiny_pack[order]) for order in ([0, 4, 1, 5], [5, 1, 4, 0])]
    assert scores[0] | {"psnr": 0} == scores[1] | {"psnr": 0}
    assert scores[0]["psnr"] == pytest.approx(scores[1]["psnr"])
    assert 0 < scores[0]["accuracy"] < 1


def test_models_that_cannot_be_scored_are_refused(tiny_model, tiny_semantic_model, own_pack):
    with pytest.raises(ValueError, match="no semantic branch: train one with dnerf_jax.train"):
        scoring.evaluate(tiny_model, own_pack)
    other = LabelMap(("background", "paint", "glass", "tyre", "light"), own_pack.label_map.colors)
    with pytest.raises(ValueError, match="The checkpoint predicts .*'skin'.*'tiny' has .*'tyre'"):
        scoring.evaluate(tiny_semantic_model, dataclasses.replace(own_pack, label_map=other))


def test_the_door_writes_scores_and_a_picture(tiny_semantic_model, own_pack, tmp_path, capsys):
    checkpoints.save(tmp_path / "model", tiny_semantic_model)
    packs.save(tmp_path / "own", own_pack)
    scoring.main(str(tmp_path / "model"), str(tmp_path / "out"), str(tmp_path / "own"))
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(scores) == ["own"]
    assert scores["own"]["miou"] == 1.0
    assert set(scores["own"]["per_class"]) == set(own_pack.label_map.names)
    assert "mIoU 1.0000  accuracy 1.0000" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "own.png") as picture:
        assert picture.height >= 3 * own_pack.resolution and picture.width >= 5 * own_pack.resolution
