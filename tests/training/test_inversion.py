"""Inversion: the latent and the pose of the tiny model's own renderings are approached from nearby."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interruption import kill
from PIL import Image

from dnerf_jax import cli, invert
from dnerf_jax.io import checkpoints, png
from dnerf_jax.models import scenes
from dnerf_jax.ops import images
from dnerf_jax.training import inversion
from dnerf_jax.training.inversion import Target

pytestmark = pytest.mark.slow
loss_of = jax.jit(inversion.reconstruction_loss, static_argnums=0)


@pytest.fixture(scope="module")
def settings(shrunk):
    """The settings of configs/invert.py for the tiny model."""
    return cli.as_dataclass(shrunk("invert.py"), inversion.Settings)


@pytest.fixture(scope="module")
def truth(settings, tiny_config):
    """The latent and pose to be found."""
    return inversion.random_candidate(settings, tiny_config, 100)


@pytest.fixture(scope="module")
def view(truth, tiny_config, tiny_semantic_model):
    """What is seen of it."""
    one = jax.jit(scenes.synthesize)(tiny_semantic_model, truth.z)
    camera = scenes.default_camera(tiny_config, truth.yaw, truth.pitch)
    return jax.jit(scenes.render)(tiny_semantic_model, one, camera)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, view, tiny_model, tiny_semantic_model):
    """A folder with both models, and the view as image.png and mask.png."""
    folder = tmp_path_factory.mktemp("invert")
    checkpoints.save(folder / "generator", tiny_model)
    checkpoints.save(folder / "labelled", tiny_semantic_model)
    png.save_image(folder / "image.png", images.to_uint8(view.image))
    png.save_mask(folder / "mask.png", view.mask, tiny_semantic_model.label_map)
    return folder


@pytest.fixture
def nearby(truth, monkeypatch):
    """A candidate near the truth, and the only one."""
    candidate = truth.replace(z=truth.z + 0.3, yaw=truth.yaw + 0.1, pitch=truth.pitch - 0.05)
    monkeypatch.setattr(inversion, "random_candidate", lambda *_: candidate)
    return candidate


def test_a_rendering_is_approached(settings, view, tiny_semantic_model, nearby):
    target, programs = Target(image=np.asarray(view.image_raw)), inversion.step._cache_size()
    inverted = inversion.invert(settings, tiny_semantic_model, target)
    found = inverted.found
    assert len(inverted.losses) == settings.steps
    assert inversion.step._cache_size() == programs + 1
    # Another seed, or more candidates, share the program.
    other = dataclasses.replace(settings, seed=settings.seed + 1, candidates=settings.candidates + 1)
    assert other.of_step == settings.of_step != dataclasses.replace(settings, steps=1).of_step
    assert inverted.loss == min(inverted.losses) < 0.5 * inverted.losses[0]
    for name in ("yaw", "pitch"):
        assert abs(getattr(found, name)) <= np.radians(getattr(settings, name)) + 1e-6
        assert getattr(found, name) != getattr(nearby, name)
    # The loss belongs to the latent and pose that are returned.
    np.testing.assert_allclose(loss_of(settings, tiny_semantic_model, target, found), inverted.loss, rtol=1e-3)


def test_a_seed_has_the_same_candidates_whatever_the_flags(settings, tiny_config):
    candidate = inversion.random_candidate(settings, tiny_config, 3)
    with jax.enable_x64(True):
        wide = inversion.random_candidate(settings, tiny_config, 3)
    jax.tree.map(np.testing.assert_array_equal, wide, candidate)
    assert {leaf.dtype for leaf in jax.tree.leaves(wide)} == {np.dtype(np.float32)}


def test_the_best_seen_is_what_is_found_and_the_start_stays_the_callers(settings, tiny_model, monkeypatch):
    """Steps that are far too long leave a good start; their state is donated, the start is not."""
    settings = dataclasses.replace(settings, learning_rate=3.0, pose_learning_rate=0.3, candidates=1, steps=7)
    start = inversion.random_candidate(settings, tiny_model.generator.config, 0)
    before, seen, step = jax.tree.map(np.array, start), [], inversion.step

    def bowl(settings, model, target, candidate):
        """Stands for a rendering's loss: lowest a little beside the start."""
        return jnp.sum((candidate.z - before.z - 3.5) ** 2) + (candidate.yaw - before.yaw) ** 2

    def watched(*arguments):
        seen.append(jax.tree.map(np.array, arguments[-1].current))
        return step(*arguments)

    for name, stand_in in {"reconstruction_loss": bowl, "_loss": bowl, "step": watched}.items():
        monkeypatch.setattr(inversion, name, stand_in)
    monkeypatch.setattr(inversion, "random_candidate", lambda *_: start)
    inverted = inversion.invert(settings, tiny_model, Target())
    best = int(np.argmin(inverted.losses))
    assert 0 < best < len(seen) - 1 and inverted.losses[-1] > 2 * inverted.loss
    jax.tree.map(np.testing.assert_array_equal, inverted.found, seen[best])
    assert inverted.loss == inverted.losses[best]
    jax.tree.map(np.testing.assert_array_equal, start, before)
    state = inversion.create_state(settings, start)
    step(settings, tiny_model, Target(), state)
    assert all(x.is_deleted() for x in jax.tree.leaves((state.current, state.best)))
    assert not any(x.is_deleted() for x in jax.tree.leaves(start))


def test_the_loss_is_zero_at_the_truth(settings, view, truth, tiny_semantic_model):
    target = Target(image=view.image_raw)

    def at(**change):
        return loss_of(settings, tiny_semantic_model, target, truth.replace(**change))

    assert at() < 1e-8 < 1e-4 < at(yaw=truth.yaw + 0.1)


def test_a_mask_alone_is_inverted_by_the_door(settings, saved, tmp_path, tiny_semantic_model, nearby, capsys):
    out = tmp_path / "out"
    invert.main(settings, str(out), mask=str(saved / "mask.png"), checkpoint=str(saved / "labelled"))
    result = json.loads((out / "result.json").read_text())
    assert result["loss"] < result["losses"][0]
    assert result["fingerprint"] == tiny_semantic_model.fingerprint
    assert abs(result["yaw"]) <= settings.yaw and abs(result["pitch"]) <= settings.pitch
    assert np.load(out / "latent.npy").shape == (tiny_semantic_model.generator.config.z_dim,)
    with Image.open(out / "comparison.png") as picture:
        assert picture.width >= 3 * 16  # the mask that was given, image and mask that were found
    assert f"yaw {result['yaw']:.1f}" in capsys.readouterr().out


def test_a_killed_inversion_goes_on_and_another_target_is_refused(settings, view, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(inversion, "SAVE_EVERY", 4)
    target = Target(image=np.asarray(view.image))
    inversion.run(settings, tiny_model, target, tmp_path / "straight")
    kill(lambda: inversion.run(settings, tiny_model, target, tmp_path / "killed"), inversion, "step", 10)
    assert not (tmp_path / "killed" / "result.json").exists()
    kill(lambda: inversion.run(settings, tiny_model, target, tmp_path / "killed"), inversion, "step", 3)
    inversion.run(settings, tiny_model, target, tmp_path / "killed")
    straight, resumed = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("straight", "killed"))
    assert straight == resumed
    with pytest.raises(ValueError, match="other settings or inputs: the target changed"):
        inversion.run(settings, tiny_model, Target(image=target.image[:, ::-1]), tmp_path / "killed")
    assert json.loads((tmp_path / "killed" / "result.json").read_text()) == resumed


def test_a_photo_is_seen_as_people_see_it(view, tmp_path, tiny_model):
    """EXIF turns it, and what is transparent is the generator's ground: white where it renders white."""
    rgba = Image.fromarray(images.to_uint8(view.image)).convert("RGBA")
    rgba.putalpha(Image.fromarray(np.tile(np.uint8([0] * 8 + [255] * 8), (16, 1))))
    rgba.save(tmp_path / "cut.png")
    read = np.asarray(inversion.read_target(tiny_model, str(tmp_path / "cut.png"), "").image)
    assert (read[:, :8] == -1).all() and (read[:, 8:] > -1).any()
    sideways, exif = Image.fromarray(images.to_uint8(view.image)).transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[274] = 6  # turn it clockwise
    sideways.save(tmp_path / "turned.png", exif=exif)
    read = inversion.read_target(tiny_model, str(tmp_path / "turned.png"), "").image
    np.testing.assert_allclose(read, images.from_uint8(images.to_uint8(view.image)), atol=1e-6)


def test_losses_of_image_and_mask_are_added(settings, view, truth, tiny_semantic_model, monkeypatch):
    monkeypatch.setattr(scenes, "synthesize", lambda *_: None)
    monkeypatch.setattr(scenes, "render", lambda *_, **__: view)
    both = Target(image=np.zeros_like(view.image_raw), mask=np.roll(view.mask, 3))
    image, mask, total = (
        inversion.reconstruction_loss(settings, tiny_semantic_model, target, truth)
        for target in (both.replace(mask=None), both.replace(image=None), both)
    )
    assert image > 0 and mask > 0
    np.testing.assert_allclose(total, image + mask, rtol=1e-6)


def test_targets_are_read_at_the_models_resolution(view, saved, tmp_path, tiny_semantic_model):
    with Image.open(saved / "image.png") as image:
        image.resize((48, 48), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    large = np.kron(np.asarray(view.mask), np.ones((3, 3), np.uint8))
    png.save_mask(tmp_path / "large_mask.png", large, tiny_semantic_model.label_map)
    target = inversion.read_target(tiny_semantic_model, str(tmp_path / "large.png"), str(tmp_path / "large_mask.png"))
    assert target.image.shape == (16, 16, 3) and target.image.min() >= -1 and target.image.max() <= 1
    np.testing.assert_array_equal(target.mask, view.mask)


def test_targets_that_cannot_be_used_are_refused(settings, saved, tmp_path, tiny_model, tiny_semantic_model):
    with pytest.raises(ValueError, match="Nothing to invert: pass --image, --mask, or both"):
        invert.main(settings, str(tmp_path / "out"), checkpoint=str(saved / "generator"))
    Image.fromarray(np.zeros((16, 24, 3), np.uint8)).save(tmp_path / "wide.png")
    with pytest.raises(ValueError, match="wide.png is 24 x 16: crop it to a square"):
        inversion.read_target(tiny_semantic_model, str(tmp_path / "wide.png"), "")
    png.save_mask(tmp_path / "wide_mask.png", np.zeros((16, 24), np.uint8), tiny_semantic_model.label_map)
    with pytest.raises(ValueError, match="wide_mask.png is 24 x 16: crop it to a square"):
        inversion.read_target(tiny_semantic_model, "", str(tmp_path / "wide_mask.png"))
    with pytest.raises(ValueError, match="A mask needs a checkpoint with a semantic branch"):
        inversion.read_target(tiny_model, "", str(saved / "mask.png"))
