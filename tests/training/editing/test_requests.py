"""Edits by file and by name, and the view that they are meant in."""

import json

import numpy as np
import pytest

from dnerf_jax.io import png
from dnerf_jax.io.scene_folders import LoadedScene
from dnerf_jax.models import scenes
from dnerf_jax.ops.mask_edits import Swap
from dnerf_jax.training.editing import requests
from dnerf_jax.worlds.heads.surface import LABELS


@pytest.fixture
def loaded(tiny_semantic_model):
    return LoadedScene(
        tiny_semantic_model, np.zeros((6, 16)), None, scenes.default_camera(tiny_semantic_model, 0.3), {}
    )


def test_operations_a_painted_mask_and_a_name(tiny_semantic_model, tmp_path):
    file, mask = tmp_path / "edit.json", np.ones((16, 16), np.uint8)
    file.write_text(json.dumps([{"op": "swap", "label": "skin", "to": "hair"}]))
    made = requests.read(str(file), tiny_semantic_model)
    assert made.operations == (Swap("skin", "hair"),) and made.labels(tiny_semantic_model.label_map) == (1, 4)
    assert (made.of(mask, tiny_semantic_model.label_map) == 4).all()
    with pytest.raises(ValueError, match=r"edit.json: operation 1.*no pixel of 'skin'.*choose another"):
        made.of(np.zeros((16, 16), np.uint8), tiny_semantic_model.label_map)
    png.save_mask(tmp_path / "mask.png", mask, tiny_semantic_model.label_map)
    painted = requests.read(str(tmp_path / "mask.png"), tiny_semantic_model)
    assert (painted.of(mask * 0, tiny_semantic_model.label_map) == mask).all()
    assert painted.labels(tiny_semantic_model.label_map) is None
    heads = tiny_semantic_model.replace(label_map=LABELS)
    assert requests.is_of_heads(heads) and not requests.is_of_heads(tiny_semantic_model)
    assert requests.read("open_mouth", heads).name == "open mouth"


def test_what_is_no_edit_is_refused(tiny_semantic_model, tiny_model, tmp_path):
    with pytest.raises(ValueError, match="did you mean 'wider nose'"):
        requests.read("wide nose", tiny_semantic_model)
    with pytest.raises(ValueError, match="of the heads' classes"):
        requests.read("wider nose", tiny_semantic_model)
    with pytest.raises(ValueError, match="no semantic branch"):
        requests.read("wider nose", tiny_model)
    with pytest.raises(ValueError, match="neither a .json list"):
        requests.read(str(tmp_path / "edit.txt"), tiny_semantic_model)


def test_the_view_is_the_scenes_own_or_angles(loaded):
    assert float(requests.view("", loaded).yaw) == pytest.approx(0.3, abs=1e-5)
    turned = requests.view("-20,10", loaded)
    assert np.degrees([turned.yaw, turned.pitch]) == pytest.approx([-20, 10], abs=1e-4)
    for text in ("20", "left,right", "20,100", "camera.json"):
        with pytest.raises(ValueError, match="expected yaw,pitch in degrees"):
            requests.view(text, loaded)
