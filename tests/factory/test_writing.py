"""Writing shards: the files hold what was rendered, the same bytes come again, and what fails leaves nothing."""

import dataclasses
import pathlib

import numpy as np
import pytest

from dnerf_jax import factory
from dnerf_jax.factory import render, shards, writing
from dnerf_jax.factory.plan import shards as shards_of
from dnerf_jax.factory.runs.work import Job, Worker
from dnerf_jax.io import ply

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def worker(tiny_plan, tiny_checkpoint, tmp_path_factory):
    """A worker that writes somewhere else."""
    return Worker(Job(tiny_plan, str(tiny_checkpoint), str(tmp_path_factory.mktemp("other"))))


@pytest.fixture(scope="module")
def first(tiny_plan):
    """The first shard."""
    return next(shards_of(tiny_plan))


def content(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_records_hold_what_was_rendered(tiny_dataset, tiny_plan, worker, first):
    data = factory.load(tiny_dataset, split=first.split)
    for rendered, _ in render.render(tiny_plan, worker.model, first.identities):
        place = first.identities.index(rendered.identity) * tiny_plan.views_per_identity
        for v, view in enumerate(rendered.views):
            found = data[place + v]
            assert (found["identity"], found["view"]) == (rendered.identity, v)
            np.testing.assert_array_equal(found["z"], rendered.z)
            np.testing.assert_array_equal(found["cam2world"], view.camera.cam2world)
            np.testing.assert_array_equal(found["mask"], view.mask)
            np.testing.assert_allclose(found["image"] / 127.5 - 1, np.clip(view.image, -1, 1), atol=1 / 254)
            for name in ("depth_z", "distance"):
                values = getattr(view, name)
                assert np.array_equal(found[name] == 0, ~np.isfinite(values))
                np.testing.assert_allclose(found[name], np.where(np.isfinite(values), values, 0), atol=1e-4)
            np.testing.assert_allclose(found["confidence"], view.confidence, atol=1e-4)
            np.testing.assert_allclose(found["normal"], view.normal, atol=1e-3)
            np.testing.assert_allclose(found["logits"], view.logits, rtol=1e-3, atol=1e-3)


def test_a_cloud_has_its_points_and_is_of_its_views(tiny_dataset, tiny_plan, worker, first, tmp_path):
    data = factory.load(tiny_dataset)
    for rendered, _ in render.render(tiny_plan, worker.model, first.identities):
        (tmp_path / "cloud.ply").write_bytes(data.object("points", rendered.identity))
        cloud = ply.load_cloud(tmp_path / "cloud.ply")
        assert len(cloud) == tiny_plan.cloud.num_points and cloud.label_map == data.label_map
        seen = rendered.views.mask[np.isfinite(rendered.views.depth_z)]
        assert set(cloud.labels) <= set(np.unique(seen)) and np.abs(cloud.points).max() <= 0.5 * 3**0.5  # in the box
        assert not np.isin(cloud.labels, [0, 255]).any()


def test_the_same_bytes_come_again(tiny_dataset, worker, first):
    made = worker.make(first)
    assert (made.shard, made.views, made.drops) == (first.name, 4, 0)
    assert made.bytes == sum(path.stat().st_size for path in worker.out.rglob("*.tar"))
    assert 0 < made.render_seconds < made.seconds
    found, expected = content(worker.out), content(tiny_dataset)
    assert set(found) == {f"{folder}/{first.name}.{kind}" for folder in ("data", "clouds") for kind in ("tar", "json")}
    assert found == {name: expected[name] for name in found}


def test_what_fails_on_the_way_leaves_nothing(tiny_plan, worker, first, tmp_path):
    def fails():
        yield from render.render(tiny_plan, worker.model, first.identities[:1])
        raise OSError(28, "No space left on device")

    arguments = tiny_plan, worker.model, worker.forms, first
    with pytest.raises(OSError, match="No space left"):
        writing.write(*arguments, fails(), tmp_path, worker.stack)
    assert content(tmp_path) == {}
    with pytest.raises(ValueError, match="are not the identities of the shard train-000000"):
        writing.write(*arguments, render.render(tiny_plan, worker.model, first.identities[1:]), tmp_path, worker.stack)
    assert content(tmp_path) == {} and not shards.is_done(tiny_plan, first, tmp_path)


def test_areas_are_pixels_of_every_class():
    mask = np.array([[0, 1], [1, 255]], np.uint8)
    assert writing.areas(mask, 4) == [1, 2, 0, 0]


def test_a_mesh_has_the_labels_that_its_views_show(tiny_plan, worker, first):
    plan = dataclasses.replace(tiny_plan, modalities=("image", "mesh"), mesh_resolution=24, mesh_level=0.0)
    (rendered, _), *_ = render.render(plan, worker.model, first.identities)
    mesh = ply.decode_mesh(writing.encode_object("mesh", plan, worker.model, rendered))
    assert mesh.label_map == worker.model.label_map and mesh.colors is not None
    seen = set(np.unique(rendered.views.mask[np.isfinite(rendered.views.depth_z)]))
    assert 255 in mesh.labels and set(mesh.labels) - {255} <= seen - {0}
