"""Training on clouds: it goes on after a kill with equal results, learns, is scored, and says what it cannot do."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interruption import kill

from dnerf_jax import cli, downstream
from dnerf_jax.io import networks, ply
from dnerf_jax.models import point_segmenters
from dnerf_jax.networks.pointnet import PointNetConfig
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.points import PointCloud
from dnerf_jax.training.points import clouds, learning
from dnerf_jax.training.points.plan import Augmentation, Settings
from dnerf_jax.training.segmentation import reporting, scores

LABELS = LabelMap(("background", "below", "above"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))


def halves(seed, count=40):
    """A cloud whose class says whether a point is above the middle."""
    points = np.random.default_rng(seed).uniform(-1, 1, (count, 3))
    return PointCloud(points, np.zeros((count, 3), np.uint8), 1 + (points[:, 1] > 0), LABELS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of six labelled clouds."""
    path = tmp_path_factory.mktemp("clouds")
    for seed in range(6):
        ply.save_cloud(path / f"{seed:08d}.cloud.ply", halves(seed, 40 if seed else 5))
    return path


@pytest.fixture(scope="module")
def settings(shrunk, folder):
    return dataclasses.replace(cli.as_dataclass(shrunk("pointnet_cpu.py"), Settings), test=(str(folder),))


def test_clouds_have_as_many_points_as_are_asked_for(folder):
    some = clouds.load(folder, 12)
    assert some.points.shape == (6, 12, 3) and some.labels.shape == (6, 12) and some.label_map == LABELS
    np.testing.assert_array_equal(some.labels, 1 + (some.points[..., 1] > 0))
    assert len(np.unique(some.points[0], axis=0)) == 5 and len(np.unique(some.points[1], axis=0)) == 12
    assert len(clouds.joined([some, some[:2]])) == 8


def test_augmentation_turns_about_the_vertical_scales_and_moves_a_little():
    points = jnp.asarray(halves(1).points)
    still = Augmentation(turn=0.0, smallest=1.0, largest=1.0, jitter=0.0)
    keys = jax.random.split(jax.random.key(0), 20)
    turned = [learning.augment(key, points, settings=dataclasses.replace(still, turn=30.0)) for key in keys]
    angles = []
    for made in turned:
        np.testing.assert_allclose(made[:, 1], points[:, 1], atol=1e-6)
        np.testing.assert_allclose(jnp.linalg.norm(made, axis=1), jnp.linalg.norm(points, axis=1), atol=1e-5)
        angles.append(np.angle(complex(*made[0, ::2]) / complex(*points[0, ::2]), deg=True))
    assert 15 < np.abs(angles).max() <= 30.01 and np.min(angles) < 0 < np.max(angles)
    others = jax.random.split(jax.random.key(1))
    larger = learning.augment(others[0], points, settings=dataclasses.replace(still, smallest=2.0, largest=2.0))
    np.testing.assert_allclose(larger, 2 * points, rtol=1e-5)
    moved = learning.augment(others[1], points, settings=dataclasses.replace(still, jitter=0.1)) - points
    assert 0.07 < float(jnp.std(moved)) < 0.13


def test_a_network_does_not_see_where_a_cloud_is_nor_how_large():
    points = jnp.asarray(halves(2).points)
    small = point_segmenters.normalized(points)
    np.testing.assert_allclose(point_segmenters.normalized(5 * points + 7), small, atol=1e-5)
    assert abs(float(jnp.max(jnp.linalg.norm(small, axis=1))) - 1) < 1e-5


@pytest.mark.slow
def test_a_killed_run_goes_on_with_equal_results_and_is_scored(settings, folder, tmp_path, capsys):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    downstream.main(settings, str(folder), str(straight))
    segmenter = networks.load(straight / learning.MODEL, "points")
    assert segmenter.config.label_map == LABELS and segmenter.config.network.num_classes == 3
    assert point_segmenters.label(segmenter, halves(9).points).shape == (40,)
    found = json.loads((straight / scores.SCORES).read_text())[folder.name]
    assert f"{found['miou']:.3f}" in (straight / reporting.REPORT).read_text()
    assert found["clouds"] == 6 and np.sum(found["confusion"]) == 6 * 12
    killed.mkdir()
    kill(lambda: learning.learn(settings, str(folder), killed), learning, "train_step", 5)
    assert not (killed / learning.MODEL).exists()
    made = learning.learn(settings, str(folder), killed)
    jax.tree.map(np.testing.assert_array_equal, made.params, segmenter.params)
    # What is finished is only scored; what would be another run is refused.
    downstream.main(dataclasses.replace(settings, test=()), str(folder), str(straight))
    with pytest.raises(ValueError, match=r"learning_rate was 0.01 and is 1.0"):
        learning.learn(dataclasses.replace(settings, learning_rate=1.0), str(folder), straight)


@pytest.mark.slow
def test_it_learns_which_half_a_point_is_in(settings, folder, tmp_path):
    network = PointNetConfig(0, (8, 8, 8, 16, 16), (16, 8, 8), (4, 4, 8, 8, 4), 0.0)
    longer = dataclasses.replace(settings, network=network, steps=120, points=40, save_every=200)
    given = clouds.load(folder, 40)
    segmenter = learning.learn_from(longer, given[1:], tmp_path, origin="a test")
    assert learning.score(segmenter, given[1:])["accuracy"] > 0.9


@pytest.mark.slow
def test_clouds_of_a_dataset(settings, tiny_dataset, tmp_path):
    some = clouds.load(tiny_dataset, 12, split="train")
    assert some.points.shape == (4, 12, 3) and some.label_map.num_classes == 5
    learning.learn(dataclasses.replace(settings, steps=1, test=()), str(tiny_dataset), tmp_path)


def test_what_does_not_fit_is_refused(settings, folder, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"none is no dataset and has no \*.ply"):
        learning.learn(settings, str(tmp_path / "none"), tmp_path / "run")
    shutil.copytree(folder, tmp_path / "other")
    strange = dataclasses.replace(halves(0), label_map=LabelMap(("background", "a", "b"), LABELS.colors))
    ply.save_cloud(tmp_path / "other" / "00000003.cloud.ply", strange)
    with pytest.raises(ValueError, match=r"clouds have the classes background, a, b and others background, below"):
        clouds.load(tmp_path / "other", 12)
    nameless = dataclasses.replace(halves(0), label_map=None)
    ply.save_cloud(tmp_path / "other" / "00000003.cloud.ply", nameless)
    with pytest.raises(ValueError, match=r"00000003.cloud.ply does not say what its labels mean"):
        clouds.load(tmp_path / "other", 12)
    many = dataclasses.replace(settings, network=dataclasses.replace(settings.network, num_classes=9))
    with pytest.raises(ValueError, match=r"have 3 classes, config.network.num_classes is 9"):
        learning.learn(many, str(folder), tmp_path / "run")
    with pytest.raises(ValueError, match="smallest is 2.0 and largest 1.0"):
        Augmentation(turn=0.0, smallest=2.0, largest=1.0, jitter=0.0)


def test_the_door_takes_what_the_configuration_holds():
    both = downstream.main.__annotations__["config"]
    assert isinstance(cli.load_settings("pointnet_cpu", both, ["points=64"]), Settings)
    assert not isinstance(cli.load_settings("deeplab_cpu", both), Settings)
    with pytest.raises(ValueError, match="config has no field 'pionts'; did you mean 'points'"):
        cli.load_settings("pointnet_cpu", both, ["pionts=64"])
