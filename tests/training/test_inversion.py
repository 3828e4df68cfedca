"""Inversion: the latent and the pose of the tiny model's own renderings are approached from nearby."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, png
from dnerf_jax.models import scenes
from dnerf_jax.ops import images
from dnerf_jax.training import inversion

loss_of = jax.jit(inversion.reconstruction_loss, static_argnums=0)


@pytest.fixture(scope="module")
def run(shrunk):
    """The settings of configs/invert.py for the tiny model."""
    return cli.as_dataclass(shrunk("invert.py"), inversion.Settings)


@pytest.fixture(scope="module")
def truth(run, tiny_config):
    """The latent and pose to be found."""
    return inversion.draw(run, tiny_config, 100)


@pytest.fixture(scope="module")
def view(truth, tiny_config, tiny_semantic_model):
    """What is seen of it."""
    one = jax.jit(scenes.synthesize)(tiny_semantic_model, truth["z"])
    camera = scenes.default_camera(tiny_config, truth["yaw"], truth["pitch"])
    return jax.jit(scenes.render)(tiny_semantic_model, one, camera)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, view, tiny_model, tiny_semantic_model):
    """A folder with both models, and the view as image.png and mask.png."""
    folder = tmp_path_factory.mktemp("invert")
    checkpoints.save(folder / "generator", tiny_model)
    checkpoints.save(folder / "labelled", tiny_semantic_model)
    Image.fromarray(images.to_uint8(view.image)).save(folder / "image.png")
    png.save_mask(folder / "mask.png", view.mask, tiny_semantic_model.label_map)
    return folder


@pytest.fixture
def begins_nearby(truth, monkeypatch):
    """Makes the only candidate one that is near the truth."""
    nearby = {"z": truth["z"] + 0.3, "yaw": truth["yaw"] + 0.1, "pitch": truth["pitch"] - 0.05}
    monkeypatch.setattr(inversion, "draw", lambda *_: nearby)
    return nearby


def test_a_rendering_is_approached(run, view, truth, tiny_semantic_model, begins_nearby):
    target = {"image": np.asarray(view.image_raw), "mask": None}
    programs = inversion.step._cache_size()
    found, report = inversion.invert(run, tiny_semantic_model, target)
    assert len(report["losses"]) == run.steps
    assert inversion.step._cache_size() <= programs + 2  # the first step's state is not yet where a program left it
    assert report["loss"] == min(report["losses"]) < 0.5 * report["losses"][0]
    for name in ("yaw", "pitch"):
        assert abs(found[name]) <= np.radians(getattr(run, name)) + 1e-6
        assert found[name] != begins_nearby[name]
    # The loss belongs to the latent and pose that are returned.
    np.testing.assert_allclose(loss_of(run, tiny_semantic_model, target, found), report["loss"], rtol=1e-3)


def test_the_loss_is_zero_at_the_truth(run, view, truth, tiny_semantic_model):
    target = {"image": view.image_raw, "mask": None}
    at = lambda **change: loss_of(run, tiny_semantic_model, target, truth | change)  # noqa: E731
    assert at() < 1e-8 < 1e-4 < at(yaw=truth["yaw"] + 0.1)


def test_a_mask_alone_is_inverted_by_the_door(run, shrunk, saved, tmp_path, tiny_semantic_model, begins_nearby, capsys):
    out = tmp_path / "out"
    inversion.main(shrunk("invert.py"), str(out), mask=str(saved / "mask.png"), checkpoint=str(saved / "labelled"))
    result = json.loads((out / "result.json").read_text())
    assert result["loss"] < result["losses"][0]
    assert result["fingerprint"] == tiny_semantic_model.fingerprint
    assert abs(result["yaw"]) <= run.yaw and abs(result["pitch"]) <= run.pitch
    assert np.load(out / "latent.npy").shape == (tiny_semantic_model.config.z_dim,)
    with Image.open(out / "comparison.png") as picture:
        assert picture.width >= 3 * 16  # the mask that was given, image and mask that were found
    assert f"yaw {result['yaw']:.1f}" in capsys.readouterr().out


def test_losses_of_image_and_mask_are_added(run, view, truth, tiny_semantic_model, monkeypatch):
    monkeypatch.setattr(scenes, "synthesize", lambda *_: None)
    monkeypatch.setattr(scenes, "render", lambda *_, **__: view)
    other = np.roll(view.mask, 3)
    only = {"image": np.zeros_like(view.image_raw), "mask": None}, {"image": None, "mask": other}
    image, mask, both = (
        inversion.reconstruction_loss(run, tiny_semantic_model, target, truth)
        for target in (*only, {"image": only[0]["image"], "mask": other})
    )
    assert image > 0 and mask > 0
    np.testing.assert_allclose(both, image + mask, rtol=1e-6)


def test_targets_are_read_at_the_models_resolution(view, saved, tmp_path, tiny_semantic_model):
    with Image.open(saved / "image.png") as image:
        image.resize((48, 48), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    large = np.kron(np.asarray(view.mask), np.ones((3, 3), np.uint8))
    png.save_mask(tmp_path / "large_mask.png", large, tiny_semantic_model.label_map)
    target = inversion.read_target(tiny_semantic_model, str(tmp_path / "large.png"), str(tmp_path / "large_mask.png"))
    assert target["image"].shape == (16, 16, 3) and target["image"].min() >= -1 and target["image"].max() <= 1
    np.testing.assert_array_equal(target["mask"], view.mask)


def test_targets_that_cannot_be_used_are_refused(shrunk, saved, tmp_path, tiny_model, tiny_semantic_model):
    with pytest.raises(ValueError, match="Nothing to invert: pass --image, --mask, or both"):
        inversion.main(shrunk("invert.py"), str(tmp_path), checkpoint=str(saved / "generator"))
    Image.fromarray(np.zeros((16, 24, 3), np.uint8)).save(tmp_path / "wide.png")
    with pytest.raises(ValueError, match="wide.png is 24 x 16: crop it to a square"):
        inversion.read_target(tiny_semantic_model, str(tmp_path / "wide.png"), "")
    png.save_mask(tmp_path / "wide_mask.png", np.zeros((16, 24), np.uint8), tiny_semantic_model.label_map)
    with pytest.raises(ValueError, match="wide_mask.png is 24 x 16: crop it to a square"):
        inversion.read_target(tiny_semantic_model, "", str(tmp_path / "wide_mask.png"))
    with pytest.raises(ValueError, match="A mask needs a checkpoint with a semantic branch"):
        inversion.read_target(tiny_model, "", str(saved / "mask.png"))
