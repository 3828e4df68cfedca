"""Identities to look at: the same ones each time, as pictures and clouds of any dataset."""

import numpy as np
import pytest

from dnerf_jax import factory
from dnerf_jax.factory.cards import samples
from dnerf_jax.io import ply
from tests.factory.trimming import trimmed

pytestmark = pytest.mark.slow


def test_the_same_identities_are_chosen(tiny_dataset):
    data = factory.load(tiny_dataset)
    assert samples.choose(data) == [0, 1, 2, 3, 4, 5]
    few = samples.choose(data, 3)
    assert few == samples.choose(data, 3) == sorted(set(few)) and len(few) == 3


def test_views_are_those_of_one_identity(tiny_dataset):
    data = factory.load(tiny_dataset, only=["image"])
    found = [[(view["identity"], view["view"]) for view in samples.views(data, place)] for place in range(6)]
    assert all(pair == [(pair[0][0], 0), (pair[0][0], 1)] for pair in found)
    assert sorted(pair[0][0] for pair in found) == [0, 1, 2, 3, 4, 5]
    assert len(samples.views(data, 0, 1)) == 1


def test_all_modalities_have_pictures_but_logits(tiny_dataset):
    data = factory.load(tiny_dataset)
    drawn = samples.drawn(data, data[0])
    assert set(drawn) == {"image", "mask", "depth_z", "distance", "normal", "opacity", "confidence"}
    assert all(picture.shape == (16, 16, 3) and picture.dtype == np.uint8 for picture in drawn.values())
    np.testing.assert_array_equal(drawn["mask"], data.label_map.colorize(data[0]["mask"]))


def test_a_thumbnail_is_the_mean_of_squares():
    picture = np.arange(5 * 5 * 3).reshape(5, 5, 3).astype(np.uint8)
    small = samples.thumbnail(picture, 3)
    assert small.shape == (2, 2, 3) and small[0, 0, 0] == np.round(picture[:2, :2, 0].mean())
    np.testing.assert_array_equal(samples.thumbnail(picture, 5), picture)


def test_clouds_are_those_of_the_dataset(tiny_dataset, tmp_path):
    data = factory.load(tiny_dataset)
    whole, part = samples.cloud(data, 2, 1000), samples.cloud(data, 2, 5)
    stored = ply.decode_cloud(data.object("points", data[4]["identity"]))
    np.testing.assert_array_equal(whole.points, stored.points)
    assert whole.label_map == data.label_map and len(part.points) == 5


def test_without_points_a_cloud_is_what_the_views_see(tiny_dataset, tmp_path):
    """By depth along the axis and by distance along the ray it is the same, where the stored cloud is."""
    clouds = {}
    for depth in ("depth_z", "distance"):
        data = factory.load(trimmed(tiny_dataset, tmp_path / depth, modalities=("image", "mask", depth)))
        clouds[depth] = samples.cloud(data, 1, 10**6)
    np.testing.assert_allclose(clouds["depth_z"].points, clouds["distance"].points, atol=1e-3)
    np.testing.assert_array_equal(clouds["depth_z"].labels, clouds["distance"].labels)
    stored = samples.cloud(factory.load(tiny_dataset), 1, 1000).points
    gaps = np.linalg.norm(stored[:, None] - clouds["depth_z"].points, axis=-1).min(axis=1)
    assert np.median(gaps) < 0.02


def test_without_depth_there_is_no_cloud(tiny_dataset, tmp_path):
    data = factory.load(trimmed(tiny_dataset, tmp_path / "flat", modalities=("image", "mask")))
    assert samples.cloud(data, 0, 100) is None
