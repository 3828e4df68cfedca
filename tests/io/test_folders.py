"""Folders that commands write into: refused before any work, locked, and tidied of what kills left."""

import subprocess
import sys
import threading

import pytest

from dnerf_jax.io import folders

HOLD = """
import sys
from dnerf_jax.io import folders
with folders.claimed(sys.argv[1]):
    print("claimed", flush=True)
    sys.stdin.read()
"""


def test_a_claimed_folder_is_made_and_goes_again_if_it_stays_empty(tmp_path):
    with folders.claimed(tmp_path / "a" / "b") as folder:
        assert folder.is_dir()
    assert not folder.exists()
    with folders.claimed(folder):
        (folder / "result").write_text("x")
    assert [entry.name for entry in folder.iterdir()] == ["result"]


def test_a_folder_in_use_is_refused_until_its_process_ends(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "claimed\n"
        with pytest.raises(ValueError, match=rf"in use by another command \(process {other.pid}\)"):
            folders.claimed(tmp_path / "run").__enter__()
        other.kill()
        other.wait()
    (tmp_path / "run" / "kept").write_text("x")
    with folders.claimed(tmp_path / "run") as folder, pytest.raises(ValueError, match="in use"):
        folders.claimed(folder).__enter__()
    assert [entry.name for entry in folder.iterdir()] == ["kept"]


def test_what_killed_writers_left_is_removed(tmp_path):
    (tmp_path / ".000001.0a1b2c3d.partial").mkdir()
    (tmp_path / ".000001.0a1b2c3d.partial" / "image.png").write_text("half")
    (tmp_path / ".scores.0a1b2c3d.partial.json").write_text("{")
    (tmp_path / ".hidden").write_text("mine")
    with folders.claimed(tmp_path):
        assert sorted(entry.name for entry in tmp_path.iterdir()) == [".hidden", folders.LOCK]


def test_folders_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="file is a file, expected the name of a folder"):
        folders.claimed(tmp_path / "file").__enter__()
    with pytest.raises(ValueError, match=r"file/inside cannot be made: Not a directory"):
        folders.claimed(tmp_path / "file" / "inside").__enter__()
    with pytest.raises(ValueError, match="the folder /proc/nope cannot be made"):
        folders.claimed("/proc/nope").__enter__()


def test_a_folder_with_content_of_others_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"has content \(thesis.tex\), but no dataset.json or scores.json"):
        folders.claimed(tmp_path, known_by=["dataset.json", "scores.json"]).__enter__()
    (tmp_path / "dataset.json").write_text("{}")
    with folders.claimed(tmp_path, known_by=["dataset.json", "scores.json"]):
        pass


def test_a_folder_that_several_share_is_waited_for(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "claimed\n"
        threading.Timer(0.3, other.stdin.close).start()  # then it ends, and takes the folder, still empty, with it
        with folders.claimed(tmp_path / "run", wait=True) as folder:
            (folder / "result").write_text("x")
            assert other.wait(timeout=20) == 0
    assert [entry.name for entry in folder.iterdir()] == ["result"]
