"""Shards: plain tars that the standard library reads, offsets that are right, and what is done."""

import dataclasses
import hashlib
import io
import json
import shutil
import tarfile

import numpy as np
import pytest

from dnerf_jax.factory import shards
from dnerf_jax.factory.plan import Plan, Shard
from dnerf_jax.factory.plan import shards as shards_of
from dnerf_jax.factory.shards import Tar


def test_a_tar_is_what_the_standard_library_would_write():
    ours, theirs = io.BytesIO(), io.BytesIO()
    contents = {"a.png": b"x" * 700, "b.json": b"{}", "empty": b"", "block": b"y" * 512}
    tar = Tar(ours)
    places = {name: tar.add(name, data) for name, data in contents.items()}
    digest = tar.finish()
    with tarfile.open(fileobj=theirs, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    assert ours.getvalue() == theirs.getvalue()
    assert (tar.size, digest) == (len(ours.getvalue()), hashlib.sha256(ours.getvalue()).hexdigest())
    for name, (offset, size) in places.items():
        assert ours.getvalue()[offset : offset + size] == contents[name]


@pytest.mark.parametrize("blocks", [0, 16, 17, 18, 19, 20, 37])
def test_a_tar_ends_as_tars_do(blocks):
    buffer = io.BytesIO()
    tar = Tar(buffer)
    for number in range(blocks):
        tar.add(str(number), b"")
    tar.finish()
    assert len(buffer.getvalue()) % tarfile.RECORDSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as archive:
        assert len(archive.getmembers()) == blocks


def test_a_dataset_without_a_shard_is_not_finished(tmp_path):
    with pytest.raises(ValueError, match=r"train-000003.json is missing: the dataset is not finished, or has lost it"):
        shards.read_sidecar(tmp_path, "train-000003")


@pytest.mark.slow
def test_a_sidecar_says_what_is_in_its_tar(tiny_dataset, tiny_plan):
    for shard in shards_of(tiny_plan):
        for folder in shards.folders(tiny_plan):
            sidecar = shards.read_sidecar(tiny_dataset, shard.name, folder)
            path = shards.tar_path(tiny_dataset, shard.name, folder)
            assert sidecar["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
            assert sidecar["bytes"] == path.stat().st_size and sidecar["split"] == shard.split
            assert sidecar["identities"] == list(shard.identities) and sidecar["drops"] == []
            with tarfile.open(path) as archive, open(path, "rb") as file:
                names = [f"{sample['key']}.{suffix}" for sample in sidecar["samples"] for suffix in sample["members"]]
                assert names == archive.getnames()
                for sample in sidecar["samples"]:
                    for suffix, data in shards.read_members(file, sample).items():
                        assert data == archive.extractfile(f"{sample['key']}.{suffix}").read()
    assert (tiny_dataset / "data" / "train-000000.json").read_text().count("\n") == 2 + 4 + 1  # a line for each view


@pytest.mark.slow
def test_a_shard_is_done_when_all_of_it_is_there(tiny_dataset, tiny_plan, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_dataset, copy)
    first, other = list(shards_of(tiny_plan))[:2]
    assert shards.is_done(tiny_plan, first, copy)
    assert not shards.is_done(tiny_plan, dataclasses.replace(first, identities=(0, 9)), copy)
    assert not shards.is_done(Plan(modalities=("image", "mesh")), first, copy)
    tar, sidecar = (path(copy, first.name, "clouds") for path in (shards.tar_path, shards.sidecar_path))
    whole = tar.read_bytes()
    tar.write_bytes(whole[:-512])
    assert not shards.is_done(tiny_plan, first, copy)
    tar.unlink()
    assert not shards.is_done(tiny_plan, first, copy)
    tar.write_bytes(whole)
    assert shards.is_done(tiny_plan, first, copy)
    sidecar.write_text(sidecar.read_text()[:-30])
    assert not shards.is_done(tiny_plan, first, copy)
    shutil.copy(shards.sidecar_path(copy, other.name, "clouds"), sidecar)
    with pytest.raises(ValueError, match="not the sidecar of the shard train-000000: it is that of train-000001"):
        shards.read_sidecar(copy, first.name, "clouds")
    sidecar.write_text(json.dumps({"shard": first.name}))
    with pytest.raises(
        ValueError, match=r"it lacks schema_version, split.*give the command that made the dataset again"
    ):
        shards.read_sidecar(copy, first.name, "clouds")


def test_a_tar_that_ends_too_soon_is_named(tmp_path):
    (tmp_path / "short.tar").write_bytes(bytes(600))
    with (
        open(tmp_path / "short.tar", "rb") as file,
        pytest.raises(ValueError, match="short.tar ends before 00000001_00.json: it is damaged"),
    ):
        shards.read_members(file, {"key": "00000001_00", "members": {"json": [512, 100]}})


def test_a_sidecar_has_a_line_for_every_sample():
    tar = Tar(io.BytesIO())
    text = shards.sidecar_text(Shard("test", 2, (5,)), tar, [{"key": "a"}, {"key": "b"}], [], {"threads": 1})
    assert json.loads(text)["samples"] == [{"key": "a"}, {"key": "b"}]
    assert json.loads(text)["shard"] == "test-000002" and text.splitlines()[2:4] == ['{"key":"a"},', '{"key":"b"}']
    assert np.all([line == line.rstrip() for line in text.splitlines()])
