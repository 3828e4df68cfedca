"""The embedded packs' recipe: poses, exact labels, and latents that nothing else has."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from dnerf_jax import pack
from dnerf_jax.io import checkpoints, packs
from dnerf_jax.models import generator
from dnerf_jax.worlds import heads, labelled, shards

RESOLUTION = 24
TRAIN, TEST, VIDEO = labelled.PACKS["heads"]


@pytest.fixture(scope="module")
def stranger(tiny_model):
    """A generator of the world's latents that never saw its images."""
    config = dataclasses.replace(tiny_model.generator.config, z_dim=heads.Z_DIM, c_dim=0)
    return tiny_model.replace(generator=tiny_model.generator.replace(config=config), label_map=heads.LABELS)


@pytest.fixture(scope="module")
def made(stranger):
    """The first two latents of every pack, small."""
    return {
        recipe.name: labelled.make(dataclasses.replace(recipe, latents=min(2, recipe.latents)), stranger, RESOLUTION)
        for recipe in (TRAIN, TEST, dataclasses.replace(VIDEO, poses=VIDEO.poses[::15]))
    }


def test_the_recipe_is_the_papers():
    assert [recipe.name for recipe in labelled.PACKS["heads"]] == ["heads_train", "heads_test", "heads_video"]
    assert TRAIN.latents * len(TRAIN.poses) == 90 and [yaw for yaw, _ in TRAIN.poses] == [-30, 0, 30]
    assert TEST.latents == 90 and TEST.poses is None
    yaws = [yaw for yaw, _ in VIDEO.poses]
    assert VIDEO.latents == 1 and len(yaws) == 61 and (yaws[0], yaws[-1]) == (-30, 30)
    np.testing.assert_allclose(np.diff(yaws), 1.0)


def test_poses_are_those_of_the_recipe(made):
    def angles(annotations):
        position = annotations.cam2world[:, :3, 3]
        np.testing.assert_allclose(np.linalg.norm(position, axis=1), 2.7, rtol=1e-5)
        yaw = np.degrees(np.arctan2(position[:, 0], position[:, 2]))
        return yaw, np.degrees(np.arcsin(position[:, 1] / 2.7))

    yaw, pitch = angles(made["heads_train"])
    np.testing.assert_allclose(yaw, [-30, 0, 30, -30, 0, 30], atol=1e-3)
    np.testing.assert_allclose(pitch, 0, atol=1e-3)
    np.testing.assert_array_equal(made["heads_train"].latent_id, [0, 0, 0, 1, 1, 1])
    yaw, pitch = angles(made["heads_test"])
    assert np.abs(yaw).max() <= 30 and pitch.min() >= -8 and pitch.max() <= 12 and yaw[0] != yaw[1]
    np.testing.assert_allclose(angles(made["heads_video"])[0], [-30, -15, 0, 15, 30], atol=1e-3)


def test_images_and_labels_are_the_worlds_own(made, stranger):
    for annotations in made.values():
        view = len(annotations) - 1
        head = heads.build(annotations.z[view])
        expected = heads.render(head, annotations.cam2world[view], annotations.intrinsics[view], RESOLUTION)
        np.testing.assert_array_equal(annotations.images[view], expected.image)
        np.testing.assert_array_equal(annotations.masks[view], expected.mask)
        assert annotations.label_map == heads.LABELS
        assert annotations.fingerprint == stranger.fingerprint
        assert len(np.unique(expected.mask)) > 4


@pytest.mark.parametrize("recipe", [TRAIN, TEST], ids=lambda recipe: recipe.name)
def test_the_embedded_packs_are_what_the_recipe_makes(recipe, stranger):
    embedded = packs.load(recipe.name)
    made = labelled.make(dataclasses.replace(recipe, latents=1), stranger, embedded.resolution)
    first = embedded[: len(made)]
    for name in ("z", "cam2world", "intrinsics", "latent_id"):
        np.testing.assert_array_equal(getattr(made, name), getattr(first, name))
    # Here they are the same bytes; on another CPU Embree may round otherwise.
    assert np.abs(made.images.astype(float) - first.images).mean() < 0.1
    assert (made.masks == first.masks).mean() > 0.999


def test_no_latent_is_in_two_packs_or_was_trained_on(made):
    drawn = [z for annotations in made.values() for z in np.unique(annotations.z, axis=0)]
    drawn += [shards.identity(heads, seed, index, 1, False)[0] for seed in (0, 101, 102, 103) for index in (0, 1)]
    assert len(np.unique(drawn, axis=0)) == len(drawn) == 2 + 2 + 1 + 8


def test_a_pack_is_drawn_without_a_generator(tmp_path, capsys):
    pack.main(str(tmp_path / "sheet.jpg"), show="heads_video")
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.width > 8 * 256 and sheet.height > 6 * 256
    assert "masks over images of heads_video, which has 61 views" in capsys.readouterr().out
    for names in ({}, {"show": "heads_video", "checkpoint": "heads"}):
        with pytest.raises(ValueError, match="Pass either --show"):
            pack.main(str(tmp_path / "other.jpg"), **names)
    with pytest.raises(ValueError, match=r"expected \.png or \.jpg"):
        pack.main(str(tmp_path / "other"), show="heads_video")
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.jpg"]


@pytest.mark.slow
def test_a_generator_that_never_saw_the_heads_gets_no_packs(tmp_path, monkeypatch, stranger, random_arrays):
    config = stranger.generator.config
    variables = random_arrays(generator.abstract(config).variables, 0)
    checkpoints.save(tmp_path / "model", stranger.replace(generator=generator.Generator(config, variables)))
    monkeypatch.setattr(labelled, "PACKS", {"heads": (dataclasses.replace(TEST, latents=2),)})
    with pytest.raises(ValueError, match=r"the annotations 'heads_test' cannot be used: \n  - view \d, rendered again"):
        pack.main(str(tmp_path / "assets"), checkpoint=str(tmp_path / "model"))
    assert not (tmp_path / "assets").exists()
