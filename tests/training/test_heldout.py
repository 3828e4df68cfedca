"""Scores of a backbone on held-out heads: perfect for the world itself, and what the door writes."""

import json

import numpy as np
import pytest
from PIL import Image

from dnerf_jax import heldout as door
from dnerf_jax.io import checkpoints
from dnerf_jax.models import generator
from dnerf_jax.models.generator import Generator
from dnerf_jax.models.model import Model
from dnerf_jax.ops import images
from dnerf_jax.ops.resizing import resize
from dnerf_jax.training import heldout
from dnerf_jax.training.heldout import Rendered
from dnerf_jax.worlds import heads


@pytest.fixture(scope="module")
def model(pretraining, random_arrays):
    """A tiny generator of the heads world that has learned nothing."""
    config = pretraining.generator
    variables = random_arrays(generator.abstract(config).variables, 0)
    return Model(Generator(config, variables), label_map=heads.LABELS)


@pytest.fixture(scope="module")
def two():
    """Two true views."""
    return heldout.world_views(heads, range(2), 16)


@pytest.fixture
def truthful(two, monkeypatch):
    """Makes every generator render the truth, but for 0.01 in its final images; the neural rendering has 8 pixels."""

    def half(x):
        return np.asarray(resize(x, 8, antialias=True))

    true = images.from_uint8(two.image)
    features = np.concatenate([half(true), np.zeros((2, 8, 8, 5), np.float32)], axis=-1)
    opacity = half(two.alpha[..., None].astype(np.float32) / 255)[..., 0]
    rendered = Rendered(np.zeros((2, 8, 16)), features, half(two.distance[..., None])[..., 0], opacity)
    monkeypatch.setattr(heldout, "render_features", lambda *_: rendered)
    monkeypatch.setattr(heldout, "neighbours_agree", lambda *_: 30.0)
    monkeypatch.setattr(heldout, "_super_resolve", lambda *_: true - 0.01)


@pytest.mark.slow
def test_the_door_scores_and_shows(model, tmp_path, capsys):
    checkpoints.save(tmp_path / "model", model)
    # As many as the neighbours that are compared: one program renders both.
    door.main(str(tmp_path / "scores"), checkpoint=str(tmp_path / "model"), count=4)
    scores = json.loads((tmp_path / "scores" / "heldout.json").read_text())
    assert scores["views"] == 4 and f"psnr {scores['psnr']:.4g}" in capsys.readouterr().out
    assert scores["psnr"] < 20 and 0 < scores["psnr_standard_error"] < 20
    width, height = Image.open(tmp_path / "scores" / "heldout.jpg").size
    assert width >= 4 * 16 and height >= 3 * 16


def test_views_are_the_same_however_many_and_of_no_other_stream(two):
    again = heldout.world_views(heads, [1], 16)
    np.testing.assert_array_equal(two.image[1:], again.image)
    assert two.z.shape == (2, heads.Z_DIM) and two.camera.cam2world.shape == (2, 4, 4)
    assert ((two.distance > 0) <= (two.alpha > 0)).all() and two.image.dtype == two.alpha.dtype == np.uint8


@pytest.mark.slow
def test_a_generator_that_renders_the_truth_has_perfect_scores(model, two, truthful, tmp_path):
    scores = heldout.score_views(model.generator, two, picture=tmp_path / "sheet.png", final=True)
    assert scores["psnr_raw"] > 100 and scores["opacity_iou"] == 1 and scores["depth_error_median"] < 1e-6
    # White stays white when 0.01 is subtracted, and is not clipped.
    np.testing.assert_allclose(scores["psnr"], 20 * np.log10(2 / 0.01), atol=0.2)
    np.testing.assert_allclose(scores["psnr_foreground"], 20 * np.log10(2 / 0.01), atol=0.2)
    assert scores["ssim"] > 0.99 and scores["consistency"] == 30.0


@pytest.mark.slow
def test_the_standard_error_is_that_of_a_sample(model, two, truthful, tmp_path, monkeypatch):
    true = images.from_uint8(two.image)
    off = np.array([0.1, 0.2])[:, None, None, None]
    monkeypatch.setattr(heldout, "_super_resolve", lambda *_: np.where(true < 0, true + off, true - off))
    scores = heldout.score_views(model.generator, two, picture=tmp_path / "sheet.png", final=True)
    psnr = 20 * np.log10(2 / off.ravel())
    np.testing.assert_allclose(scores["psnr"], psnr.mean(), rtol=1e-4)
    # Of two values the standard error is half of what lies between them.
    np.testing.assert_allclose(scores["psnr_standard_error"], abs(psnr[0] - psnr[1]) / 2, rtol=1e-3)


@pytest.mark.slow
def test_the_final_image_is_scored_where_it_is_trained_alone(model, two, truthful, tmp_path):
    scores = heldout.score_views(model.generator, two, picture=tmp_path / "sheet.png", final=False)
    assert set(scores) == {"psnr_raw", "opacity_iou", "depth_error_median", "consistency"}
    assert (tmp_path / "sheet.png").exists()


@pytest.mark.slow
def test_a_generator_of_something_else_is_refused(tiny_model, tmp_path):
    checkpoints.save(tmp_path / "tiny", tiny_model)
    with pytest.raises(ValueError, match="is of no world \\(heads, bodies\\): its classes are not known"):
        door.main(str(tmp_path / "out"), checkpoint=str(tmp_path / "tiny"))
    with pytest.raises(ValueError, match="count is 0: scores need at least one view"):
        door.main(str(tmp_path / "out"), checkpoint=str(tmp_path / "tiny"), count=0)
    assert not (tmp_path / "out").exists()
