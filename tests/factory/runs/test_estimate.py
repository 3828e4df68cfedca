"""A dry run: what it says is what comes, and nothing is left of it."""

import dataclasses
import re

import pytest

from dnerf_jax import generate
from dnerf_jax.factory import shards
from dnerf_jax.factory.plan import Drops, Viewpoints
from dnerf_jax.factory.runs import engines, estimate
from dnerf_jax.factory.runs.work import Job


@pytest.mark.slow
def test_a_dry_run_says_what_would_come_and_leaves_nothing(
    tiny_dataset, tiny_plan, tiny_checkpoint, tmp_path, monkeypatch, capsys
):
    # A process of its own would take seconds to begin.
    monkeypatch.setattr(engines, "in_a_worker", lambda function, *arguments: function(*arguments))
    out = tmp_path / "out"
    generate.main(tiny_plan, str(tiny_checkpoint), str(out), workers=2, dry_run=True)
    assert not out.exists()
    said = capsys.readouterr().out
    assert "6 identities x 2 views = 12 views of 16 x 16 pixels" in said and "train 4, test 2 identities" in said
    assert "3 of up to 2 identities, 3 of them missing" in said and "with 2 workers" in said
    assert "image.png" in said and "normal.npy" in said and "cloud.ply" in said and "drops       no rules" in said
    cameras = re.findall(r"camera \d +yaw +([-\d.]+), pitch +([-\d.]+) degrees", said)
    assert len(cameras) == 2 and all(abs(float(yaw)) <= 30.1 and abs(float(pitch)) <= 8.1 for yaw, pitch in cameras)
    # The whole dataset is as large as it says.
    made = sum(path.stat().st_size for path in tiny_dataset.rglob("*-00*"))
    value, unit = re.search(r"in all +([\d.]+) (\w+)", said).groups()
    assert float(value) * {"kB": 1e3, "MB": 1e6}[unit] == pytest.approx(made, rel=0.35)  # tars are padded
    generate.main(tiny_plan, str(tiny_checkpoint), str(tiny_dataset), dry_run=True)
    assert "0 of them missing" in capsys.readouterr().out
    with pytest.raises(ValueError, match="seed was 0 and is 9"):
        generate.main(dataclasses.replace(tiny_plan, seed=9), str(tiny_checkpoint), str(tiny_dataset), dry_run=True)


@pytest.mark.slow
def test_what_one_group_takes(tiny_dataset, tiny_plan, tiny_checkpoint, tmp_path):
    seen = Viewpoints("fixed", fixed=((10.0, 5.0), (-20.0, 0.0)))
    found = estimate.measure(Job(dataclasses.replace(tiny_plan, viewpoints=seen), str(tiny_checkpoint), str(tmp_path)))
    assert found.identities == 1 and 0 < found.seconds < found.first_seconds and found.memory > 1 << 26
    assert set(found.view_bytes) == {
        *(f"{name}.png" for name in ("image", "mask", "depth_z", "distance", "opacity", "confidence")),
        "normal.npy",
        "logits.npy",
        "json",
    }
    sample = shards.read_sidecar(tiny_dataset, "train-000000")["samples"][0]
    assert found.view_bytes["normal.npy"] == sample["members"]["normal.npy"][1]
    (yaw, pitch, place), (other, _, _) = found.cameras
    assert (yaw, pitch, other) == pytest.approx((10, 5, -20), abs=1e-3) and len(place) == 3
    assert not list(tmp_path.iterdir())
    rules = dataclasses.replace(found, plan=dataclasses.replace(found.plan, drops=Drops(min_area=(("eye", 0.1),))))
    assert estimate._lines(rules, tmp_path, 1)[-1] == "drops       min_area (('eye', 0.1),)"
