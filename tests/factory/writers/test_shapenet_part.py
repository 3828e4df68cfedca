"""ShapeNet-part's files, read as loaders for PointNet read them."""

import json

import numpy as np
import pytest

from dnerf_jax import factory
from dnerf_jax.factory import exporting
from dnerf_jax.io import ply


@pytest.fixture(scope="module")
def parts(balls, tmp_path_factory):
    """The folder of the export."""
    out = tmp_path_factory.mktemp("shapenet") / "out"
    exporting.export(balls, "shapenet_part", out)
    return out


def members(folder, split):
    """The tokens of a split: the third part of each name."""
    return [name.split("/")[2] for name in json.loads((folder / f"shuffled_{split}_file_list.json").read_text())]


def test_every_object_is_in_one_split(parts):
    splits = {split: members(parts / "train_test_split", split) for split in ("train", "val", "test")}
    assert splits == {"train": ["00000000", "00000003"], "val": ["00000001"], "test": ["00000002"]}
    name, synset = (parts / "synsetoffset2category.txt").read_text().split()
    assert name == "object"
    assert sorted(path.stem for path in (parts / synset).iterdir()) == [f"0000000{i}" for i in range(4)]


def test_points_normals_and_parts_are_those_of_the_clouds(balls, parts):
    data, described = factory.load(balls), json.loads((parts / "parts.json").read_text())
    assert described["seg_classes"] == {"object": [0, 1]} and described["names"] == ["left", "right"]
    assert [tuple(color) for color in described["colors"]] == list(data.label_map.colors[1:])
    for identity in range(4):
        cloud = ply.decode_cloud(data.object("points", identity))
        rows = np.loadtxt(parts / "00000001" / f"0000000{identity}.txt").astype(np.float32)
        assert rows.shape == (150, 7)
        np.testing.assert_allclose(rows[:, :3], cloud.points, atol=1e-6)
        np.testing.assert_allclose(rows[:, 3:6], cloud.normals, atol=1e-6)
        np.testing.assert_array_equal(rows[:, -1].astype(int) + 1, cloud.labels)
        assert set(rows[:, -1]) == {0, 1}


def test_a_split_alone_leaves_the_other_lists_empty(balls, tmp_path):
    exporting.export(balls, "shapenet_part", tmp_path / "out", split="validation")
    lists = tmp_path / "out" / "train_test_split"
    assert {split: members(lists, split) for split in ("train", "val", "test")} == {
        "train": [],
        "val": ["00000001"],
        "test": [],
    }


def test_clouds_without_normals_are_refused(make_balls, tmp_path):
    source = make_balls(lambda views: views.replace(normal=None), num_identities=1)
    with pytest.raises(ValueError, match="the cloud of identity 0 has no normals"):
        exporting.export(source, "shapenet_part", tmp_path / "out")
    assert not list(tmp_path.iterdir())
