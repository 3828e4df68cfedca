"""Scores of a backbone on held-out heads: perfect for the world itself, and what the door writes."""

import json

import numpy as np
import pytest
from PIL import Image

from dnerf_jax import cli
from dnerf_jax.io import checkpoints
from dnerf_jax.models import generator
from dnerf_jax.ops import images
from dnerf_jax.ops.resizing import resize
from dnerf_jax.training import fitting, heldout
from dnerf_jax.worlds import heads


@pytest.fixture(scope="module")
def model(shrunk):
    """A tiny generator of the heads world that has learned nothing."""
    run = cli.as_dataclass(shrunk("heads_backbone_cpu.py"), fitting.Settings)
    return checkpoints.Model(config=run.generator, variables=fitting.initial_variables(run), label_map=heads.LABELS)


def test_the_door_scores_and_shows(model, tmp_path, capsys):
    checkpoints.save(tmp_path / "model", model)
    heldout.main(str(tmp_path / "scores"), checkpoint=str(tmp_path / "model"), count=3)
    scores = json.loads((tmp_path / "scores" / "heldout.json").read_text())
    assert scores["views"] == 3 and f"psnr {scores['psnr']:.4g}" in capsys.readouterr().out
    assert scores["psnr"] < 20 and 0 < scores["psnr_standard_error"] < 20
    width, height = Image.open(tmp_path / "scores" / "heldout.jpg").size
    assert width >= 3 * 16 and height >= 3 * 16


def test_views_are_the_same_however_many_and_of_no_other_stream():
    z, camera, image, alpha, distance = heldout.world_views(range(3), 16)
    again = heldout.world_views([2], 16)
    np.testing.assert_array_equal(image[2:], again[2])
    assert z.shape == (3, heads.Z_DIM) and camera.cam2world.shape == (3, 4, 4)
    assert ((distance > 0) <= (alpha > 0)).all() and image.dtype == alpha.dtype == np.uint8


def test_a_generator_that_renders_the_truth_has_perfect_scores(model, tmp_path, monkeypatch):
    views = heldout.world_views(range(2), 16)
    _, _, image, alpha, distance = views
    true = images.from_uint8(image)
    half = lambda x: np.asarray(resize(x, 8, antialias=True))  # noqa: E731
    solid = half(alpha[..., None].astype(np.float32) / 255)[..., 0]
    features = np.concatenate([half(true), np.zeros((2, 8, 8, 5))], axis=-1)
    ws = np.zeros((2, model.config.num_ws, model.config.w_dim))
    rendered = features, ws, half(distance[..., None])[..., 0], solid
    monkeypatch.setattr(heldout, "render_features", lambda *_: rendered)
    monkeypatch.setattr(heldout, "_consistency", lambda *_: 30.0)
    monkeypatch.setattr(generator, "super_resolve", lambda config, variables, features, ws: features)
    monkeypatch.setattr(heldout.jax.lax, "map", lambda function, arrays: true - 0.01)
    scores = heldout.evaluate(model.config, model.variables, views, tmp_path / "sheet.png", final=True)
    assert scores["psnr_raw"] > 100 and scores["opacity_iou"] == 1 and scores["depth_error_median"] < 1e-6
    # White stays white when 0.01 is subtracted, and is not clipped.
    np.testing.assert_allclose(scores["psnr"], 20 * np.log10(2 / 0.01), atol=0.2)
    np.testing.assert_allclose(scores["psnr_foreground"], 20 * np.log10(2 / 0.01), atol=0.2)
    assert scores["ssim"] > 0.99


def test_a_generator_of_something_else_is_refused(tiny_assets, tmp_path):
    with pytest.raises(ValueError, match="takes latents of .* numbers, the heads world's have 52"):
        heldout.main(str(tmp_path), checkpoint=str(tiny_assets / "heads"))
    with pytest.raises(ValueError, match="--count is 0"):
        heldout.main(str(tmp_path), count=0)
