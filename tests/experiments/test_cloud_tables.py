"""Tables of clouds: made once, continued, and refused where they are another's."""

import dataclasses
import json

import numpy as np
import pytest

from dnerf_jax import cli
from dnerf_jax.experiments import clouds
from dnerf_jax.ops.points import PointCloud
from dnerf_jax.training.points.clouds import Clouds
from dnerf_jax.training.points.plan import Settings
from dnerf_jax.worlds import clouds as scanned
from dnerf_jax.worlds import views


def test_rows_and_claims_fit_each_other():
    for table, rows in clouds.TABLES.items():
        names = [row.name for row in rows]
        assert len(set(names)) == len(names)
        assert {name for pair in clouds.CLAIMS[table].values() for name in pair} <= set(names)
    assert clouds.scaled(600, 0.1) == 60 and clouds.scaled(1, 0.1) == 1 and clouds.scaled(0, 0.1) == 0


def test_a_seed_chooses_some_and_fewer_of_them_are_part_of_more():
    some = Clouds(np.arange(20.0).reshape(20, 1, 1) * np.ones((1, 2, 3)), np.zeros((20, 2), np.uint8), None)
    few, more = (clouds.chosen(some, count, 0).points[:, 0, 0] for count in (5, 12))
    np.testing.assert_array_equal(few, more[:5])
    assert not np.array_equal(few, clouds.chosen(some, 5, 1).points[:, 0, 0])


@pytest.mark.slow
def test_a_table_is_made_and_continued(shrunk, tiny_checkpoint, tiny_semantic_model, monkeypatch, tmp_path, capsys):
    base = dataclasses.replace(cli.as_dataclass(shrunk("pointnet_cpu.py"), Settings), steps=2)

    def scan(world, z, poses, resolution, *, voxel_size, num_points):
        points = np.random.default_rng(int(1e6 * abs(z[0]))).uniform(-1, 1, (num_points, 3))
        ids = 1 + (points[:, 0] > 0)
        return PointCloud(points, np.zeros((num_points, 3), np.uint8), ids, tiny_semantic_model.label_map)

    monkeypatch.setattr(scanned, "scan", scan)
    monkeypatch.setattr(views, "of_classes", lambda _: None)
    monkeypatch.setattr(clouds, "LEAST_TESTS", 2)
    out = tmp_path / "out"
    for name in ("3", "S12"):
        made = clouds.make(str(out), name, str(tiny_checkpoint), base, range(1), 0.002)
        assert json.loads((out / f"table{name}.json").read_text()) == json.loads(json.dumps(made))
        assert "| 600 exact | 1 |" in (out / f"table{name}.md").read_text()
    assert (out / "figureS12.png").is_file()
    assert {row["data"] for row in made["rows"]} == {"1", "2", "3"}
    text = (out / "table3.md").read_text()
    assert "| 1325 exact + 1325 generated | 3 + 3 |" in text and "| 0.757, 0.910 |" in text
    run = out / "runs" / "1_0_seed0" / "scores.json"
    before = run.stat().st_mtime_ns
    clouds.make(str(out), "3", str(tiny_checkpoint), base, range(1), 0.002)
    assert run.stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="scale was '0.002' and is '0.1'"):
        clouds.make(str(out), "3", str(tiny_checkpoint), base, range(1), 0.1)
