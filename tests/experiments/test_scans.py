"""Scans are placed as the world's heads are, whatever their unit, and labelled; what is missing is said."""

import jax
import numpy as np
import pytest

from dnerf_jax.experiments import clouds, scans
from dnerf_jax.io import mesh_files, networks, ply
from dnerf_jax.models import point_segmenters
from dnerf_jax.models.point_segmenters import PointSegmenterConfig
from dnerf_jax.networks.pointnet import PointNetConfig
from dnerf_jax.ops.meshes import Mesh
from dnerf_jax.training import runs
from dnerf_jax.worlds import heads


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A head of the world as a scanner would write it: in millimetres, somewhere else."""
    head = heads.build(np.random.default_rng(4).standard_normal(heads.Z_DIM))
    path = tmp_path_factory.mktemp("scan") / "someone.ply"
    used, faces = np.unique(head.faces, return_inverse=True)
    mesh = Mesh(170 * head.vertices[used] + np.float32([30, 900, -200]), faces.reshape(-1, 3))
    mesh_files.save(path, mesh)
    return path, head.vertices[used]


def test_a_scan_is_placed_where_the_world_s_heads_are(scan):
    path, own = scan
    like = heads.build(np.zeros(heads.Z_DIM, np.float32))
    like = like.vertices[np.unique(like.faces)]
    found = scans.placed(mesh_files.load(path).vertices, like)
    assert found[:, 1].max() == pytest.approx(like[:, 1].max(), abs=1e-5)
    assert scans.profile(found)[0] == pytest.approx(scans.profile(like)[0], rel=1e-3)
    # Heads of the world are of nearly one size.
    assert np.abs(found - own).max() < 0.06
    cloud = scans.cloud_of(mesh_files.load(path))
    assert len(cloud) > 2000 and (cloud.labels == 255).all() and np.abs(cloud.points).max() <= heads.BOX
    long_haired = heads.build(np.random.default_rng(2).standard_normal(heads.Z_DIM))
    with pytest.raises(ValueError, match="expected a neck"):
        scans.placed(long_haired.vertices[np.unique(long_haired.faces)], like)


@pytest.mark.slow
def test_networks_label_scans_from_several_sides(scan, tmp_path, monkeypatch):
    path, _ = scan
    monkeypatch.setattr(scans, "RESOLUTION", 96)
    monkeypatch.setattr(scans, "SHOWN", (0.0,))
    out = tmp_path / "out"
    out.mkdir()
    (out / runs.SETTINGS).write_text("{}")
    with pytest.raises(ValueError, match="of 1100 generated clouds, is not there: make --table 2 and --table 3 first"):
        scans.make(str(out), [str(path)], 0.01)
    network = PointNetConfig(heads.LABELS.num_classes, (8, 8, 8, 8, 8), (8, 8, 8), (4, 4, 8, 8, 4), 0.0)
    config = PointSegmenterConfig(network, 64, heads.LABELS)
    segmenter = point_segmenters.init(config, jax.random.key(0))
    for row in scans.ROWS.values():
        networks.save(clouds.run_of(row, out, 0, 0.01) / scans.MODEL, segmenter, info={"origin": "a test"})
    scans.make(str(out), [str(path)], 0.01)
    assert (out / "figure5.png").is_file()
    made = [ply.load_cloud(file) for file in sorted((out / "scans").glob("*.ply"))]
    assert len(made) == 2 and all(cloud.label_map == heads.LABELS for cloud in made)
    assert made[0].labels.max() < heads.LABELS.num_classes


def test_scans_are_to_be_named(tmp_path):
    with pytest.raises(ValueError, match="--files is empty"):
        scans.make(str(tmp_path / "out"), [], 1.0)
