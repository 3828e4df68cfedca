"""Scans as SemanticKITTI has them: points in its axes, labels, and a description that YAML's own reader reads."""

import numpy as np
import pytest
import yaml

from dnerf_jax import factory
from dnerf_jax.factory import exporting
from dnerf_jax.io import ply


@pytest.fixture(scope="module")
def scans(balls, tmp_path_factory):
    """The folder of the export."""
    out = tmp_path_factory.mktemp("kitti") / "out"
    exporting.export(balls, "kitti", out)
    return out


def test_scans_are_the_clouds_in_other_axes(balls, scans):
    data = factory.load(balls)
    for sequence, identity in ((0, 0), (0, 3), (1, 1), (2, 2)):
        folder, cloud = scans / "sequences" / f"0{sequence}", ply.decode_cloud(data.object("points", identity))
        scan = np.fromfile(folder / "velodyne" / f"00000{identity}.bin", np.float32).reshape(-1, 4)
        # x forwards, y left, z up: where the face looks, to its left, up.
        np.testing.assert_array_equal(scan[:, :3], cloud.points[:, [2, 0, 1]])
        red, green, blue = cloud.colors.T / 255
        np.testing.assert_allclose(scan[:, 3], 0.299 * red + 0.587 * green + 0.114 * blue, atol=1e-6)
        labels = np.fromfile(folder / "labels" / f"00000{identity}.label", np.uint32)
        np.testing.assert_array_equal(labels & 0xFFFF, cloud.labels)
        assert not (labels >> 16).any()
    assert len(list(scans.rglob("*.bin"))) == len(list(scans.rglob("*.label"))) == 4


def test_the_description_names_classes_colours_and_splits(balls, scans):
    data = factory.load(balls)
    found = yaml.safe_load((scans / "dataset.yaml").read_text())
    assert found["labels"] == dict(enumerate(data.label_map.names))
    assert {i: tuple(color[::-1]) for i, color in found["color_map"].items()} == dict(enumerate(data.label_map.colors))
    assert found["split"] == {"train": [0], "valid": [1], "test": [2]}
    assert found["learning_map"] == found["learning_map_inv"] == {0: 0, 1: 1, 2: 2}
    assert found["learning_ignore"] == {0: True, 1: False, 2: False}
    labels = np.concatenate([np.fromfile(path, np.uint32) for path in scans.rglob("*.label")])
    for i, share in found["content"].items():
        assert share == pytest.approx(np.mean(labels == i), abs=1e-8)


def test_a_split_alone_is_the_first_sequence(balls, tmp_path):
    exporting.export(balls, "kitti", tmp_path / "out", split="test")
    assert [path.name for path in (tmp_path / "out").rglob("*.bin")] == ["000002.bin"]
    assert yaml.safe_load((tmp_path / "out" / "dataset.yaml").read_text())["split"] == {"test": [0]}


def test_names_that_yaml_would_take_for_something_else_stay(balls, tmp_path):
    from dnerf_jax.factory.writers import kitti
    from dnerf_jax.ops.labels import LabelMap

    names = ("no", "1", 'a "b": c # d', "Ohr, links é")
    text = kitti._yaml(LabelMap(names, ((0, 0, 0),) * 4), np.zeros(4), ["train"])
    assert tuple(yaml.safe_load(text)["labels"].values()) == names


def test_clouds_without_labels_are_refused(make_balls, tmp_path):
    source = make_balls(modalities=("image", "points"), num_identities=1)
    with pytest.raises(ValueError, match="has no masks"):
        exporting.export(source, "kitti", tmp_path / "out")
    assert not list(tmp_path.iterdir())
