"""An edit from a scene's folder to files, which are a scene again."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.io import png, scene_folders
from dnerf_jax.models import scenes
from dnerf_jax.training.editing import requests, written


@pytest.fixture(scope="module")
def edited(edit_settings, tiny_semantic_model, tiny_checkpoint, tiny_before, painted, tmp_path_factory):
    """The folder of an edit of the tiny scene by the painted mask."""
    folder, z = tmp_path_factory.mktemp("edit"), tiny_before.subject.z
    scene_folders.save_scene(
        folder / "start",
        tiny_semantic_model,
        jax.jit(scenes.to_ws)(tiny_semantic_model.generator, z),
        scenes.default_camera(tiny_semantic_model),
        checkpoint=tiny_checkpoint,
        z=z,
    )
    png.save_mask(folder / "mask.png", painted, tiny_semantic_model.label_map)
    loaded = scene_folders.load_scene(folder / "start")
    request, view = requests.read(str(folder / "mask.png"), loaded.model), requests.view("", loaded)
    (folder / "out").mkdir()
    written.run(edit_settings, loaded, request, view, folder / "out")
    return folder / "out"


def test_everything_is_written_and_the_scene_is_one(edited, painted, tiny_semantic_model):
    result = json.loads((edited / "result.json").read_text())
    assert result["edit"] == "mask.png" and result["found_by"] in ("before", "z")
    assert set(result["before"]) == set(result["after"]) >= {"iou", "outside", "identity", "areas", "terms"}
    assert (png.load_mask(edited / "wanted.png", tiny_semantic_model.label_map) == painted).all()
    page = (edited / "report.html").read_text()
    assert "Before and after" in page and "Edited classes" in page
    again = scene_folders.load_scene(edited / "scene")
    assert again.info["edit"] == "mask.png" and again.ws.shape[-1] == 16 and again.z is not None
    assert jnp.isfinite(again.ws).all() and np.asarray(png.load_image(edited / "comparison.png")).shape[2] == 3
