"""Inversions from files to files, by the door: what is written, what is kept, and what is continued."""

import dataclasses
import errno
import json
import os

import jax
import numpy as np
import pytest
from interruption import kill
from PIL import Image

from dnerf_jax import cli, invert
from dnerf_jax.io import png, scene_folders
from dnerf_jax.models import scenes
from dnerf_jax.ops import images, meshes
from dnerf_jax.training.inversion import exhibits, jobs, results, stages
from dnerf_jax.training.inversion.plan import Settings

pytestmark = pytest.mark.slow
WRITTEN = {"scene", "views", "stages", "comparison.png", "turntable.jpg", "cloud.ply", "mesh.ply", "report.html"}


@pytest.fixture(scope="module")
def settings(shrunk):
    """The settings of configs/invert.py for the tiny model, of the stage z by Adam alone."""
    made = cli.as_dataclass(shrunk("invert.py"), Settings)
    return dataclasses.replace(made, stages=("z",), restarts=1, z=dataclasses.replace(made.z, newton=0))


@pytest.fixture(scope="module")
def files(small_model, tmp_path_factory):
    """A folder with a view of the tiny model as image.png and mask.png, three times as large, and its camera.json."""
    folder, camera = tmp_path_factory.mktemp("inverted"), scenes.default_camera(small_model, 0.2, 0.1)
    z = np.random.default_rng(3).standard_normal(8).astype(np.float32)
    view = jax.jit(lambda model, z: scenes.render(model, scenes.synthesize(model, z), camera))(small_model, z)
    large = np.ones((3, 3), np.uint8)
    png.save_image(folder / "image.png", np.kron(images.to_uint8(view.image, span=(-1, 1)), large[..., None]))
    png.save_mask(folder / "mask.png", np.kron(np.asarray(view.mask), large), small_model.label_map)
    matrices = {name: np.asarray(getattr(camera, name)).tolist() for name in ("cam2world", "intrinsics")}
    (folder / "camera.json").write_text(json.dumps(matrices))
    return folder


@pytest.fixture(autouse=True)
def _in_small(monkeypatch):
    """Few views are enough to be written; random density has no surface where learned density has one."""
    monkeypatch.setattr(meshes, "surface_level", lambda: 10.0)
    monkeypatch.setattr(exhibits.write, "__kwdefaults__", {"yaws": (-20.0, 20.0), "pitch": 0.0})


def test_a_photo_becomes_a_scene(settings, files, small_checkpoint, small_model, tmp_path, capsys):
    out = tmp_path / "out"
    every = dataclasses.replace(settings, stages=("z", "w+", "tune"))
    invert.main(every, str(out), str(files / "image.png"), checkpoint=str(small_checkpoint))
    result = json.loads((out / "result.json").read_text())
    assert {path.name for path in out.iterdir()} == WRITTEN | {"result.json", "settings.json"}
    assert list(result["stages"]) == ["start", "z", "w+", "tune"] and result["camera"] == "found"
    assert len(result["stages"]["z"]["losses"]) == 4 and result["fingerprint"] == small_model.fingerprint
    kept = [stage["scores"]["psnr"] for stage in result["stages"].values() if stage["kept"]]
    assert result["scores"]["psnr"] == kept[-1] >= max(kept) - 0.01
    loaded = scene_folders.load_scene(out / "scene")
    tuned = result["stages"]["tune"]["kept"]
    assert (loaded.model.fingerprint == small_model.fingerprint) != tuned
    assert loaded.camera.batch_shape == (1,) and loaded.info["of"] == "image.png"
    with Image.open(out / "comparison.png") as picture:
        assert picture.width >= 8 * 16  # input, four stages, error, mask, depth
    page, told = (out / "report.html").read_text(), capsys.readouterr().out
    for text in (*result["notes"], *result["doubts"]):
        assert text.partition("'")[0] in page and text in told
    assert any("there is no encoder of this generator" in note for note in result["notes"])
    assert "w+: " in told and f"yaw {result['views'][0]['yaw']:.1f}" in told


def test_what_was_stopped_goes_on_after_the_last_stage(
    settings, files, small_checkpoint, tmp_path, monkeypatch, capsys
):
    two = dataclasses.replace(settings, stages=("z", "w"))

    def work(folder):
        invert.main(two, str(tmp_path / folder), str(files / "image.png"), checkpoint=str(small_checkpoint))

    work("straight")
    kill(lambda: work("killed"), stages, "_stage", 1)
    assert sorted(path.name for path in (tmp_path / "killed" / "stages").iterdir()) == ["start.npz", "z.npz"]
    assert not (tmp_path / "killed" / "result.json").exists()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:  # all is found, and then there is no room for it
        patched.setattr(scene_folders.np, "savez", full)
        patched.setattr(jobs.stored, "save", lambda *_: None)
        with pytest.raises(OSError, match="No space left"):
            work("killed")
    assert not {"scene", "result.json", "report.html"} & {path.name for path in (tmp_path / "killed").iterdir()}
    capsys.readouterr()
    work("killed")
    assert "has the stages start, z already" in capsys.readouterr().out
    straight, resumed = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("straight", "killed"))
    for result in (straight, resumed):
        for part in (result, *result["stages"].values()):
            part.pop("seconds")
    assert straight == resumed
    with pytest.raises(ValueError, match="other settings or inputs: the target changed"):
        invert.main(two, str(tmp_path / "killed"), "", str(files / "mask.png"), checkpoint=str(small_checkpoint))
    assert (tmp_path / "killed" / "result.json").exists()


def test_a_mask_has_several_scenes(settings, files, small_checkpoint, tmp_path, monkeypatch):
    # The embedded network wants larger images than the tiny generator's.
    monkeypatch.setattr(jobs.perceptions, "distance", lambda network, a, b: np.square(a - b).mean())
    out = tmp_path / "out"
    invert.main(settings, str(out), "", str(files / "mask.png"), checkpoint=str(small_checkpoint), num_samples=2)
    found = [scene_folders.load_scene(out / f"sample_{i}" / "scene") for i in range(2)]
    assert np.abs(found[0].z - found[1].z).max() > 0.01
    summary = json.loads((out / jobs.SAMPLES).read_text())
    assert len(summary["scores"]) == 2 and summary["distances"]["0, 1"] == summary["mean_distance"] > 0
    assert summary["perceptual_distances"]["0, 1"] == summary["mean_perceptual_distance"] > 0
    result = json.loads((out / "sample_1" / "result.json").read_text())
    assert result["scores"].keys() == {"miou", "accuracy"} and "psnr" not in result["scores"]
    with pytest.raises(ValueError, match="samples was 'several' and is 'one'"):
        invert.main(settings, str(out), "", str(files / "mask.png"), checkpoint=str(small_checkpoint))


def test_known_cameras_stay_unless_they_are_to_be_refined(settings, files, small_checkpoint, tmp_path):
    named = {"camera": str(files / "camera.json"), "checkpoint": str(small_checkpoint)}
    views = {}
    for refine in (False, True):
        out = tmp_path / str(refine)
        invert.main(settings, str(out), str(files / "image.png"), **named, refine_camera=refine)
        views[refine] = json.loads((out / "result.json").read_text())["views"][0]
    np.testing.assert_allclose(views[False]["yaw"], np.degrees(0.2), atol=1e-4)
    np.testing.assert_allclose(views[False]["pitch"], np.degrees(0.1), atol=1e-4)
    assert abs(views[True]["yaw"] - np.degrees(0.2)) > 1e-3 and views[True]["roll"] == pytest.approx(0, abs=1e-4)


def test_an_inversion_that_begins_badly_leaves_no_folder(settings, files, small_checkpoint, tmp_path):
    for image, message in (("absent.png", "there is no file"), (str(files / "camera.json"), "camera.json")):
        with pytest.raises(ValueError, match=message):
            invert.main(settings, str(tmp_path / "out"), image, checkpoint=str(small_checkpoint))
    assert not (tmp_path / "out").exists()
    assert results.RESULT == "result.json"
