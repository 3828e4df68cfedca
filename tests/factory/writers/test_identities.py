"""Identities one by one: their views together, their objects, in the splits that are exported."""

import pytest

from dnerf_jax import factory
from dnerf_jax.factory.writers import identities
from dnerf_jax.io import ply


def test_scenes_hold_the_views_of_an_identity(balls, capsys):
    data = factory.load(balls)
    scenes = list(identities.scenes(data))
    assert [scene.place for scene in scenes] == [
        "train/00000000",
        "train/00000003",
        "validation/00000001",
        "test/00000002",
    ]
    assert [scene.identity for scene in scenes] == [0, 3, 1, 2]
    keys = [view.own["key"] for scene in scenes for view in scene.views]
    assert keys == [record["key"] for record in data] and {len(scene.views) for scene in scenes} == {3}
    assert "view 12/12" in capsys.readouterr().out


def test_objects_are_those_of_the_identities(balls, capsys):
    data = factory.load(balls)
    found = list(identities.objects(data, "mesh"))
    assert [(thing.split, thing.identity) for thing in found] == [
        ("train", 0),
        ("train", 3),
        ("validation", 1),
        ("test", 2),
    ]
    for thing in found:
        assert ply.decode_mesh(thing.data).vertices.max() == 1 + thing.identity
        assert thing.source == f"{balls}: 0000000{thing.identity}.mesh.ply"
    assert "object 4/4" in capsys.readouterr().out


def test_one_split_is_exported_alone(balls):
    data = factory.load(balls, split="validation")
    assert [scene.place for scene in identities.scenes(data)] == ["validation/00000001"]
    assert [thing.identity for thing in identities.objects(data, "points")] == [1]


def test_what_is_missing_is_named_with_what_to_do(make_balls):
    data = factory.load(make_balls(modalities=("image", "mask")))
    with pytest.raises(ValueError, match="no depth_z, points, which this form needs, only image, mask: make one with"):
        identities.require(data, "image", "depth_z", "points")
    identities.require(data, "image", "mask")


def test_the_label_map_is_written_where_there_is_one(balls, make_balls, tmp_path):
    identities.write_label_map(factory.load(balls), tmp_path)
    assert (tmp_path / "labelmap.json").read_bytes() == (balls / "labelmap.json").read_bytes()
    (tmp_path / "labelmap.json").unlink()
    identities.write_label_map(factory.load(make_balls(modalities=("image",))), tmp_path)
    assert not list(tmp_path.iterdir())
