"""Evaluation: perfect scores for perfect labels, known scores for known errors, files for people and programs."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
from PIL import Image

from dnerf_jax import evaluate
from dnerf_jax.io import checkpoints, packs
from dnerf_jax.models import scenes
from dnerf_jax.ops import consistency
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.training import scoring

pytestmark = pytest.mark.slow

score_pack = functools.partial(scoring.score_pack, rows_at_once=8)  # as the door does it: all share one program


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    """The tiny model with a branch as it is loaded."""
    return checkpoints.load(tiny_checkpoint)


@pytest.fixture(scope="module")
def own_pack(model, tiny_pack):
    """Three views of three latents, whose labels are what the tiny branch predicts."""
    pack = tiny_pack[[0, 4, 8]]
    masks = [
        scoring._render(model, scoring._synthesize(model, z), camera, rows_at_once=8).mask
        for z, camera in zip(pack.z, pack.camera, strict=True)
    ]
    return dataclasses.replace(pack, masks=np.stack(masks))


def test_own_predictions_score_one(model, own_pack):
    scores = score_pack(model, own_pack)
    assert (scores["miou"], scores["accuracy"], scores["views"]) == (1.0, 1.0, 3)
    present = np.unique(own_pack.masks)
    names = model.label_map.names
    assert scores["per_class"] == {name: 1.0 if i in present else None for i, name in enumerate(names)}
    assert scores["psnr"] > 15


def test_wrong_pixels_are_counted_and_unlabelled_ones_are_not(model, own_pack):
    masks = own_pack.masks.copy()
    masks[1, :2] = (masks[1, :2] + 1) % 5  # two of 48 rows are wrong,
    masks[2, 4:8] = LabelMap.IGNORE  # four have no label
    scores = score_pack(model, dataclasses.replace(own_pack, masks=masks))
    assert scores["accuracy"] == pytest.approx(1 - 2 / 44)
    assert scores["miou"] < 1


def test_scenes_are_truncated_as_the_pack_says(model, own_pack):
    average = scoring._synthesize(model, own_pack.z[0], truncation_psi=0.0)
    view = scoring._render(model, average, own_pack.camera[0], rows_at_once=8)
    pack = dataclasses.replace(own_pack[[1]], cam2world=own_pack.cam2world[:1], masks=np.asarray(view.mask)[None])
    images = np.round(np.clip(view.image, -1, 1) * 127.5 + 127.5).astype(np.uint8)[None]
    scores = [score_pack(model, dataclasses.replace(pack, images=images, truncation_psi=psi)) for psi in (0.0, 1.0)]
    assert scores[0]["miou"] == 1.0 > scores[1]["miou"]
    assert scores[0]["psnr"] > 40 > scores[1]["psnr"]


def test_scores_do_not_depend_on_the_order_of_views(model, tiny_pack):
    scores = [score_pack(model, tiny_pack[order]) for order in ([0, 4, 1, 5], [5, 1, 4, 0])]
    assert scores[0] | {"psnr": 0} == scores[1] | {"psnr": 0}
    assert scores[0]["psnr"] == pytest.approx(scores[1]["psnr"])
    assert 0 < scores[0]["accuracy"] < 1


def test_models_that_cannot_be_scored_are_refused(tiny_model, model, own_pack):
    with pytest.raises(ValueError, match="no semantic branch: train one with dnerf_jax.train"):
        score_pack(tiny_model, own_pack)
    other = LabelMap(("background", "paint", "glass", "tyre", "light"), own_pack.label_map.colors)
    with pytest.raises(ValueError, match="The checkpoint predicts .*'skin'.*'tiny' has .*'tyre'"):
        score_pack(model, dataclasses.replace(own_pack, label_map=other))


def test_consistency_is_that_of_the_models_own_scenes(model, tiny_model):
    found = scoring.measure_consistency(model, scenes_seen=2, views=3, yaw=20.0, rows_at_once=8)
    counts = 0
    for index in range(2):
        of_latent, of_cameras = jax.random.split(jax.random.fold_in(jax.random.key(0), index))
        scene = scoring._synthesize(model, jax.random.normal(of_latent, (8,)), truncation_psi=1.0)
        yaw = np.radians(20.0) * jax.random.uniform(of_cameras, (3,), minval=-1.0)
        camera = scenes.default_camera(model, yaw)
        views = [scoring._render(model, scene, one, rows_at_once=8) for one in camera]
        masks, distance = (np.stack([getattr(view, name) for view in views]) for name in ("mask", "distance"))
        counts = counts + consistency.confusion(masks, distance, camera, 5)
    expected = consistency.shares(counts, model.label_map.names)
    assert found == expected | {"scenes": 2, "views": 3, "yaw": 20.0}
    assert found["pixels"] > 100 and found["by_angle"][4]["pixels"] == 0  # 40 degrees apart at most
    with pytest.raises(ValueError, match="no semantic branch"):
        scoring.measure_consistency(tiny_model)


def test_the_door_writes_scores_and_a_picture(tiny_checkpoint, tiny_pack, own_pack, tmp_path, capsys):
    # The random branch labels emptiness too, which a pack may not.
    empty = tiny_pack.masks[[0, 4, 8]] == 0
    own_pack = dataclasses.replace(own_pack, masks=np.where(empty, LabelMap.IGNORE, own_pack.masks))
    packs.save(tmp_path / "own", own_pack)
    evaluate.main(str(tiny_checkpoint), str(tmp_path / "out"), str(tmp_path / "own"), scenes=2, views=3)
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(scores) == ["own", "consistency in 3D"]
    assert scores["own"]["miou"] == 1.0
    assert set(scores["own"]["per_class"]) == set(own_pack.label_map.names)
    printed = capsys.readouterr().out
    assert f"mIoU 1.0000 ({len(np.unique(own_pack.masks[~empty]))} of 5 classes)  accuracy 1.0000" in printed
    assert printed.startswith(f"checking the labelled views {tmp_path / 'own'}")
    agreement = scores["consistency in 3D"]
    assert f"consistency in 3D: two views agree on the labels of {agreement['agreement']:.4f} of" in printed
    with Image.open(tmp_path / "out" / "own.png") as picture:
        assert picture.height >= 3 * own_pack.resolution and picture.width >= 5 * own_pack.resolution
