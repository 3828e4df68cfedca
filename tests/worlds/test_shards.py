"""Shards of the heads world, and its door: the same identities however they are cut, whole files or none."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dnerf_jax.worlds import bodies, heads, shards, streams
from dnerf_jax.worlds.heads import __main__ as door


def test_the_door_writes_posed_labelled_renders(tmp_path):
    door.main(str(tmp_path), num=2, views=2, seed=3, resolution=32)
    cameras = json.loads((tmp_path / "cameras.json").read_text())
    assert len(cameras) == 4 and len(list(tmp_path.iterdir())) == 3 * 4 + 1
    rng = streams.stream("identities", 3, 1)
    head = heads.build(rng.standard_normal(heads.Z_DIM))
    for number in range(2):
        cam2world, intrinsics = heads.sample_camera(rng)
        view = heads.render(head, cam2world, intrinsics, 32)
        name = f"00001_{number:02d}"
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{name}_image.png")), view.image)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{name}_mask.png")), view.mask)
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}_depth.npy"), view.depth_z)
        np.testing.assert_array_equal(np.float32(cameras[name]["cam2world"]), cam2world)
        assert cameras[name]["metres_per_unit"] == head.metres_per_unit


def test_shards_hold_the_same_identities_however_cut(tmp_path):
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert shards.write_shard(whole, "heads", 5, 0, 3, 2, 32, False)
    assert shards.write_shard(part, "heads", 5, 1, 2, 2, 32, False)
    a, b = shards.read_shard(whole), shards.read_shard(part)
    assert set(a) == {"z", "cam2world", "intrinsics", "image", "alpha", "distance", "mask"}
    for name in set(a) - {"intrinsics"}:
        np.testing.assert_array_equal(a[name][1:], b[name], err_msg=name)
    _, cameras, head = shards.identity(heads, 5, 2, 2, False)
    view = heads.render(head, *cameras[1], 32)
    np.testing.assert_array_equal(a["image"][2, 1], view.image)
    np.testing.assert_array_equal(a["distance"][2, 1], view.distance.astype(np.float16))
    np.testing.assert_array_equal(a["alpha"][2, 1], np.round(view.alpha * 255))
    assert not list(tmp_path.glob(".*")), "temporary files were left behind"


def test_a_shard_that_is_there_is_not_rendered_again(tmp_path, monkeypatch):
    assert shards.write_shard(tmp_path / "shard", "heads", 0, 0, 1, 1, 16, False)
    monkeypatch.setattr(heads, "unposed", lambda z: pytest.fail("rendered again"))
    assert not shards.write_shard(tmp_path / "shard", "heads", 0, 0, 1, 1, 16, False)


def test_an_interrupted_shard_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shards.write_shard(tmp_path / "shard", "heads", 0, 0, 1, 1, 16, False)
    assert not list(tmp_path.iterdir())


def test_missing_shards_are_rendered_by_processes_and_opened_together(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shards, "SHARD", 2)
    opened = shards.render_shards(tmp_path, "heads", 7, 3, 1, 16, 2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["shard_000000_2_1x16_seed7", "shard_000002_1_1x16_seed7"]
    begun, *printed = capsys.readouterr().out.splitlines()
    assert begun.startswith("rendering 3 identities in 1 views each")
    assert len(printed) == 2 and all("identities/s" in line and "min left" in line for line in printed)
    assert len(opened) == 3 and opened.intrinsics.shape == (3, 3)
    np.testing.assert_array_equal(opened[2]["z"], shards.identity(heads, 7, 2, 1, False)[0])
    with pytest.raises(IndexError, match="identity 3 of 3"):
        opened[3]
    monkeypatch.setattr(shards.workers, "each", lambda *_: pytest.fail("processes for nothing"))
    assert len(shards.render_shards(tmp_path, "heads", 7, 3, 1, 16, 2)) == 3
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["identities", "views", "resolution", "processes"])
def test_counts_below_one_are_refused(tmp_path, name):
    counts = {"identities": 1, "views": 1, "resolution": 8, "processes": 1} | {name: 0}
    with pytest.raises(ValueError, match=f"the number of {name} is 0, expected at least 1"):
        shards.render_shards(tmp_path, "heads", 0, *counts.values())


def test_shards_of_bodies_hold_their_shape_and_pose(tmp_path):
    """The same latents in the canonical pose, of mean shape, and in a pose of their own."""
    assert shards.write_shard(tmp_path / "rest", "bodies", 5, 3, 1, 2, 32, False)
    assert shards.write_shard(tmp_path / "posed", "bodies", 5, 3, 1, 1, 32, True)
    rest, posed = shards.read_shard(tmp_path / "rest"), shards.read_shard(tmp_path / "posed")
    np.testing.assert_array_equal(rest["z"], posed["z"])
    np.testing.assert_array_equal(rest["shape"], posed["shape"])
    np.testing.assert_array_equal(rest["rotations"][0], bodies.canonical_pose().rotations)
    pose = bodies.Pose(posed["rotations"][0], posed["translation"][0])
    view = bodies.render(bodies.build(posed["z"][0], pose), posed["cam2world"][0, 0], posed["intrinsics"], 32)
    np.testing.assert_array_equal(posed["image"][0, 0], view.image)
    assert abs(posed["shape"]).max() > 0.3


WORKERS = """
import concurrent.futures, multiprocessing, os, time
from dnerf_jax.io.workers import follow_the_command

if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn, follow_the_command) as workers:
        print(workers.submit(os.getpid).result(), flush=True)
        workers.submit(time.sleep, 600).result()
"""


@pytest.mark.slow
def test_workers_end_with_the_command_that_started_them(tmp_path):
    (tmp_path / "command.py").write_text(WORKERS)
    with subprocess.Popen([sys.executable, tmp_path / "command.py"], stdout=subprocess.PIPE, text=True) as command:
        worker = int(command.stdout.readline())
        os.kill(worker, signal.SIGINT)  # as a terminal does; the worker stays
        time.sleep(0.2)
        os.kill(worker, 0)
        command.kill()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and Path(f"/proc/{worker}").exists() and not is_zombie(worker):
        time.sleep(0.1)
    assert time.monotonic() < deadline


def is_zombie(process):
    """Whether a process has ended, and only its parent has not asked how."""
    return " Z " in Path(f"/proc/{process}/stat").read_text()
