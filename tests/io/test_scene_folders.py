"""Scenes as folders: there and back with the model they are of, which is checked; what is wrong is named."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import dnerf_jax
from dnerf_jax.io import checkpoints, files, scene_folders
from dnerf_jax.models import scenes
from dnerf_jax.ops import cameras
from dnerf_jax.ops.cameras import Camera

CAMERA = cameras.orbit(np.float32([0.3, -0.2]), 0.1)


@pytest.fixture(scope="module")
def made(tiny_semantic_model, tmp_path_factory):
    """A folder with a checkpoint, and a scene of it; tests copy it before they damage it."""
    folder = tmp_path_factory.mktemp("scenes")
    checkpoints.save(folder / "checkpoint", tiny_semantic_model)
    config = tiny_semantic_model.generator.config
    rng = np.random.default_rng(0)
    z = rng.standard_normal(config.z_dim).astype(np.float32)
    ws = rng.standard_normal((config.num_ws, config.w_dim)).astype(np.float32)
    options = {"z": z, "checkpoint": folder / "checkpoint", "info": {"of": "a test"}}
    scene_folders.save_scene(folder / "scene", tiny_semantic_model, ws, CAMERA, **options)
    return folder, ws, z


@pytest.fixture
def copied(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "moved")


def edit(folder, change):
    description = json.loads((folder / "scene.json").read_text())
    change(description)
    (folder / "scene.json").write_text(json.dumps(description))


def test_there_and_back(made, tiny_semantic_model):
    folder, ws, z = made
    loaded = dnerf_jax.load_scene(folder / "scene")
    np.testing.assert_array_equal(loaded.ws, ws)
    np.testing.assert_array_equal(loaded.z, z)
    np.testing.assert_array_equal(loaded.camera.cam2world, CAMERA.cam2world)
    np.testing.assert_array_equal(loaded.camera.intrinsics, CAMERA.intrinsics)
    assert loaded.info == {"of": "a test"} and loaded.label_map == tiny_semantic_model.label_map
    assert "camera=(2,)" in repr(loaded)
    expected = jax.jit(lambda model, ws: scenes.synthesize(model, ws=ws))(tiny_semantic_model, ws)
    np.testing.assert_allclose(loaded.scene.planes, expected.planes, atol=1e-6)
    assert loaded.scene is loaded.scene


def test_scene_and_checkpoint_may_move_together_or_be_named(copied, tmp_path, monkeypatch):
    monkeypatch.chdir(copied)
    assert scene_folders.load_scene("scene").z is not None
    shutil.move(copied / "checkpoint", tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"model of the scene scene cannot be loaded: .*checkpoint=DIR"):
        scene_folders.load_scene("scene")
    assert scene_folders.load_scene("scene", checkpoint=tmp_path / "elsewhere").ws.ndim == 2


def test_a_tuned_model_lies_beside_and_z_may_be_missing(tiny_semantic_model, made, tmp_path):
    _, ws, _ = made
    changed = jax.tree.map(lambda x: x * np.float32(1.01), tiny_semantic_model.generator.variables)
    generator = dataclasses.replace(tiny_semantic_model.generator, variables=changed)
    model = dataclasses.replace(tiny_semantic_model, generator=generator)
    with pytest.raises(ValueError, match=r"the model's generator differ from .*tuned=True"):
        scene_folders.save_scene(tmp_path / "a", model, ws[None], CAMERA[0], checkpoint=made[0] / "checkpoint")
    assert not (tmp_path / "a").exists()
    scene_folders.save_scene(tmp_path / "a", model, ws[None], CAMERA[0], checkpoint="heads", tuned=True)
    loaded = scene_folders.load_scene(tmp_path / "a")
    assert loaded.model.fingerprint == model.fingerprint and loaded.z is None and loaded.camera.batch_shape == ()
    with pytest.raises(ValueError, match="exists and is not empty"):
        scene_folders.save_scene(tmp_path / "a", model, ws, CAMERA, checkpoint="heads", tuned=True)
    scene_folders.save_scene(tmp_path / "a", model, ws, CAMERA, checkpoint="heads", tuned=True, replace=True)


def test_embedded_models_are_named(made, tiny_semantic_model, tmp_path, monkeypatch):
    folder, ws, _ = made
    monkeypatch.setattr(files, "ASSETS", folder)
    scene_folders.save_scene(tmp_path / "a", tiny_semantic_model, ws, CAMERA, checkpoint="checkpoint")
    said = json.loads((tmp_path / "a" / "scene.json").read_text())
    assert said["checkpoint"] == {"kind": "embedded", "name": "checkpoint"}
    assert scene_folders.load_scene(tmp_path / "a").ws.shape == ws.shape
    edit(tmp_path / "a", lambda said: said["checkpoint"].update(name="chekpoint"))
    with pytest.raises(ValueError, match="'chekpoint', which this dnerf_jax has not; did you mean 'checkpoint'"):
        scene_folders.load_scene(tmp_path / "a")


def test_another_model_is_noticed(copied, tiny_semantic_model, tiny_model):
    branch = jax.tree.map(lambda x: x * np.float32(1.01), tiny_semantic_model.semantic.params)
    trained = dataclasses.replace(tiny_semantic_model.semantic, params=branch)
    other = dataclasses.replace(tiny_semantic_model, semantic=trained)
    checkpoints.save(copied / "checkpoint", other, replace=True)
    with pytest.raises(ValueError, match="is of a semantic with the fingerprint .*or accept this one"):
        scene_folders.load_scene(copied / "scene")
    assert (
        scene_folders.load_scene(copied / "scene", checkpoint=copied / "checkpoint").scene.semantic_planes is not None
    )
    variables = jax.tree.map(lambda x: x * np.float32(1.01), tiny_model.generator.variables)
    generator = dataclasses.replace(tiny_model.generator, variables=variables)
    checkpoints.save(copied / "checkpoint", dataclasses.replace(tiny_model, generator=generator), replace=True)
    for options in ({}, {"checkpoint": copied / "checkpoint"}):
        with pytest.raises(ValueError, match="is of a generator with the fingerprint .*of that time"):
            scene_folders.load_scene(copied / "scene", **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said.update(schema_version=9), "schema version 9; this dnerf_jax reads 1 to 1"),
        (lambda said: said.pop("camera"), r"is damaged: it lacks \['camera'\]"),
        (lambda said: said["info"].update(a=3), "notes that are text"),
        (lambda said: said["checkpoint"].update(kind="web"), "expected a kind of"),
        (lambda said: said["camera"].update(cam2world=[[1, 2]]), "no valid camera"),
        (lambda said: said["camera"].update(cam2world="x"), "no valid camera"),
        (lambda said: said["fingerprints"].update(latents="0"), "other latents than scene.json says"),
    ],
)
def test_damage_is_named(copied, change, message):
    edit(copied / "scene", change)
    with pytest.raises(ValueError, match=message):
        scene_folders.load_scene(copied / "scene")


def test_what_is_no_scene_is_refused(copied, tiny_semantic_model, made, tmp_path):
    for folder, message in {
        copied / "checkpoint": "is a checkpoint, not a scene",
        copied: "no scene: it has no scene.json",
        tmp_path / "absent": "does not exist",
    }.items():
        with pytest.raises(ValueError, match=message):
            scene_folders.load_scene(folder)
    np.savez(copied / "scene" / "latents.npz", ws=np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"has ws of shape \(2, 3\), the generator's end in"):
        scene_folders.load_scene(copied / "scene")
    (copied / "scene" / "latents.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="cannot be read as arrays"):
        scene_folders.load_scene(copied / "scene")
    _, ws, z = made
    options = {"checkpoint": made[0] / "checkpoint"}
    for bad, message in {
        "short": ((ws[:, :3], CAMERA, {}), "the generator's end in"),
        "nan": ((ws * np.nan, CAMERA, {}), "not all finite"),
        "many": ((ws[None], CAMERA, {"z": z}), "of different many scenes"),
        "camera": ((ws, Camera(CAMERA.cam2world, CAMERA.intrinsics * 256), {}), "divided by the image size|must be"),
        "info": ((ws, CAMERA, {"info": {"a": 1}}), "expected strings by name"),
    }.values():
        with pytest.raises(ValueError, match=message):
            scene_folders.save_scene(tmp_path / "new", tiny_semantic_model, *bad[:2], **(options | bad[2]))
    assert not (tmp_path / "new").exists()


def test_a_scene_says_where_its_model_is_and_whether_that_is_its_own(tiny_semantic_model, tiny_checkpoint, tmp_path):
    config, camera = tiny_semantic_model.generator.config, scenes.default_camera(tiny_semantic_model)
    ws = np.zeros((config.num_ws, config.w_dim))
    for name, tuned in (("plain", False), ("own", True)):
        kept = {"checkpoint": tiny_checkpoint, "tuned": tuned}
        scene_folders.save_scene(tmp_path / name, tiny_semantic_model, ws, camera, **kept)
    plain, own = (scene_folders.load_scene(tmp_path / name) for name in ("plain", "own"))
    assert str(plain.checkpoint) == str(tiny_checkpoint.resolve()) and not plain.tuned
    assert own.checkpoint == tmp_path / "own" / "model" and own.tuned
    moved = scene_folders.load_scene(tmp_path / "plain", checkpoint=tiny_checkpoint)
    assert moved.checkpoint == tiny_checkpoint and not moved.tuned
