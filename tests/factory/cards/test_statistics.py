"""Numbers of datasets: counted from sidecars they are those of the pixels, and what is damaged is named."""

import json
import shutil

import numpy as np
import pytest

from dnerf_jax import factory
from dnerf_jax.factory import shards
from dnerf_jax.factory.cards import statistics
from dnerf_jax.ops import cameras, consistency
from tests.factory.trimming import trimmed

pytestmark = pytest.mark.slow


def test_counts_are_those_of_the_pixels(tiny_dataset, tiny_plan):
    found = statistics.collect(tiny_dataset)
    assert list(found.splits) == ["train", "test"] and found.views == tiny_plan.num_views == 12
    for name, counts in found.splits.items():
        data = factory.load(tiny_dataset, split=name, only=["mask"])
        pixels = np.sum([data.label_map.counts(view["mask"]) for view in data], axis=0)
        np.testing.assert_array_equal(counts.pixels, pixels)
        np.testing.assert_array_equal(counts.showing, sum(data.label_map.counts(view["mask"]) > 0 for view in data))
        assert counts.shares.sum() == pytest.approx(1) and counts.views == len(data)
    assert (found.splits["train"].identities, found.splits["test"].identities) == (4, 2)
    assert (found.splits["train"].shards, found.splits["test"].shards) == (2, 1)


def test_tars_are_all_files_of_data(tiny_dataset):
    found = statistics.collect(tiny_dataset)
    there = sorted(path.relative_to(tiny_dataset).as_posix() for path in tiny_dataset.rglob("*.tar"))
    assert sorted(tar.path for tar in found.tars) == there
    assert all((tiny_dataset / tar.path).stat().st_size == tar.bytes for tar in found.tars)
    assert found.bytes == sum(counts.bytes for counts in found.splits.values())


def test_drops_and_stacks_are_counted(tiny_dataset, tmp_path):
    out = shutil.copytree(tiny_dataset, tmp_path / "data")
    path = shards.sidecar_path(out, "train-000000")
    sidecar = json.loads(path.read_text())
    drop = {"identity": 0, "attempt": 0, "view": 1, "rule": "min_area hair", "value": 0.1}
    sidecar["drops"] = [drop, drop | {"attempt": 1}, drop | {"identity": 1, "rule": "min_confidence"}]
    sidecar["stack"] = sidecar["stack"] | {"fingerprint": "another", "device": "TPU"}
    path.write_text(json.dumps(sidecar))
    found = statistics.collect(out)
    assert found.drops == {"min_area hair": 2, "min_confidence": 1} and found.redrawn == 2
    assert list(found.stacks.values()) == [2, 1] and list(found.stacks)[1].startswith("another: TPU")


def test_areas_of_another_label_map_are_named(tiny_dataset, tmp_path):
    out = shutil.copytree(tiny_dataset, tmp_path / "data")
    path = shards.sidecar_path(out, "test-000000")
    sidecar = json.loads(path.read_text())
    sidecar["samples"][1]["area"].pop()
    path.write_text(json.dumps(sidecar))
    with pytest.raises(ValueError, match=r"test-000000.json: \d+_01 has areas of 4 classes, the label map has 5"):
        statistics.collect(out)


def test_standpoints_are_those_of_the_cameras():
    yaw, pitch = np.radians([-30.0, 0.0, 100.0]), np.radians([5.0, 0.0, -20.0])
    positions = np.asarray(cameras.orbit(yaw, pitch, radius=2.5).cam2world)[:, :3, 3]
    found = statistics.Standpoints(positions)
    np.testing.assert_allclose(found.yaw, [-30, 0, 100], atol=1e-4)
    np.testing.assert_allclose(found.pitch, [5, 0, -20], atol=1e-4)
    np.testing.assert_allclose(found.distance, 2.5, rtol=1e-6)


def test_standpoints_of_a_dataset_are_within_its_limits(tiny_dataset, tiny_plan):
    found = statistics.standpoints(tiny_dataset)
    assert found.positions.shape == (tiny_plan.num_views, 3)
    assert (np.abs(found.yaw) <= tiny_plan.viewpoints.yaw + 1e-3).all()


def test_agreement_is_that_of_distance_and_of_depth(tiny_dataset, tmp_path):
    data, counts = factory.load(tiny_dataset), 0
    for first in range(0, len(data), 2):
        pair = [data[first], data[first + 1]]
        mask, distance, pose, k = (
            np.stack([v[n] for v in pair]) for n in ("mask", "distance", "cam2world", "intrinsics")
        )
        counts = counts + consistency.confusion(mask, distance, cameras.Camera(pose, k), 5)
    expected = {"identities": 6, **consistency.shares(counts, data.label_map.names)}
    found = statistics.agreement(tiny_dataset)
    assert found == expected and found["pixels"] > 100
    # By depth along the axis the same, but for what lies at a border of tolerance.
    by_depth = statistics.agreement(trimmed(tiny_dataset, tmp_path / "z", modalities=("image", "mask", "depth_z")))
    assert by_depth["pixels"] == pytest.approx(found["pixels"], rel=0.01)
    assert by_depth["agreement"] == pytest.approx(found["agreement"], abs=0.01)


@pytest.mark.parametrize(
    "change", [{"views": 1}, {"modalities": ("image", "depth_z")}, {"modalities": ("image", "mask")}]
)
def test_without_labels_depth_or_a_second_view_there_is_no_agreement(tiny_dataset, tmp_path, change):
    assert statistics.agreement(trimmed(tiny_dataset, tmp_path / "less", **change)) is None
