"""Figure S13: a video as exact labels, the branch and networks label it, and how much each of them flickers."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

from dnerf_jax import reproduce
from dnerf_jax.experiments import strips, textures
from dnerf_jax.io import networks
from dnerf_jax.models import segmenters
from dnerf_jax.models.segmenters import SegmenterConfig
from dnerf_jax.networks.deeplab import DeepLabConfig
from dnerf_jax.networks.resnet import ResNetConfig


@pytest.fixture(scope="module")
def labeller(tiny_pack, tmp_path_factory):
    """The folder of a random network with the classes of the tiny packs."""
    backbone = ResNetConfig((1, 1, 1, 1), width=4, output_stride=8)
    config = SegmenterConfig(DeepLabConfig(backbone, 5, 8, 0.0), 16, tiny_pack.label_map)
    folder = tmp_path_factory.mktemp("run") / "model"
    networks.save(folder, segmenters.init(config, jax.random.key(0)), info={"origin": "a test"})
    return folder


@pytest.mark.slow
def test_a_video_is_labelled_by_all(in_small, labeller, tiny_checkpoint, tiny_pack, tmp_path, monkeypatch):
    monkeypatch.setattr(textures, "exact_distance", lambda views: np.full(views.masks.shape, 2.7, np.float32))
    out, known = tmp_path / "out", {"figure": "S13", "checkpoint": str(tiny_checkpoint)}
    reproduce.main(str(out), files=str(labeller), **known)
    found, run = json.loads((out / "tableS13.json").read_text()), labeller.parent.name
    assert list(found) == ["exact", "branch", run]
    exact = found["exact"]
    assert exact["miou"] == exact["accuracy"] == 1 and exact["points"] > 0
    for of_labels in found.values():
        assert of_labels["points"] == exact["points"] and 0 <= of_labels["flicker"] <= 1
        assert list(of_labels["flicker_per_class"]) == list(tiny_pack.label_map.names)
    video = tiny_pack[6:]
    mask = segmenters.predict(networks.load(labeller, "segmenter"), video.images[1:2] / np.float32(127.5) - 1)[0]
    assert found[run]["prediction_pixels"]["skin"] >= np.sum(np.asarray(mask) == 1)
    assert len((out / "tableS13.md").read_text().splitlines()) == 4 + 3
    with Image.open(out / "figureS13.png") as picture:
        assert picture.width > 3 * 16 and picture.height > 4 * 16
    # Another label map, and a checkpoint that has no branch.
    other = dataclasses.replace(tiny_pack.label_map, names=("sky", "skin", "eye", "mouth", "hair"))
    network = networks.load(labeller, "segmenter")
    network = dataclasses.replace(network, config=dataclasses.replace(network.config, label_map=other))
    networks.save(tmp_path / "other", network, info={"origin": "a test"})
    with pytest.raises(
        ValueError, match=r"the network other has \('sky', .*expected those of the video, \('background"
    ):
        reproduce.main(str(out), files=str(tmp_path / "other"), **known)
    with pytest.raises(ValueError, match="has no semantic branch"):
        reproduce.main(str(out), figure="S13", files=str(labeller))


def test_networks_are_to_be_named_and_told_apart(labeller, tmp_path):
    with pytest.raises(ValueError, match="--files is empty: name segmentation networks"):
        strips.named("")
    with pytest.raises(ValueError, match="There is no network"):
        strips.named(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="a network of the kind 'perception', expected 'segmenter'"):
        strips.named(str(strips.files.ASSETS / "squeezenet"))
    for wrong in (f"{labeller},{labeller}", str(tmp_path / "branch" / "model")):
        with pytest.raises(ValueError, match="expected names of their own"):
            strips.named(wrong)
    assert list(strips.named(str(labeller))) == [labeller.parent.name]
