"""Files and folders appear whole or not at all."""

import json
import os
import resource
import signal
import subprocess
import sys

import pytest

from dnerf_jax.io import files


def test_file_appears_only_after_the_block(tmp_path):
    path = tmp_path / "new" / "scores.json"
    with files.atomic_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.suffix == ".json" and temporary.parent == path.parent
    assert path.read_text() == "whole"
    assert [entry.name for entry in path.parent.iterdir()] == ["scores.json"]


def test_texts_and_json_are_written_whole(tmp_path):
    files.write_text(tmp_path / "new" / "a.md", "schön\n")
    assert (tmp_path / "new" / "a.md").read_bytes() == "schön\n".encode()
    value = {"a": [1, 2.5, None], "b": "schön"}
    files.write_json(tmp_path / "a.json", value)
    assert (tmp_path / "a.json").read_bytes() == (json.dumps(value, indent=1) + "\n").encode("ascii")
    files.write_json(tmp_path / "a.json", value, indent=2)
    assert (tmp_path / "a.json").read_text() == json.dumps(value, indent=2) + "\n"
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == value


def test_failed_file_leaves_the_old_one_and_no_litter(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_not_written_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="nothing was written"), files.atomic_file(tmp_path / "a.txt"):
        pass
    assert not list(tmp_path.iterdir())


def test_file_does_not_replace_a_folder(tmp_path):
    with pytest.raises(ValueError, match="is a folder"), files.atomic_file(tmp_path):
        pass


def test_folder_appears_only_after_the_block(tmp_path):
    path = tmp_path / "pack"
    with files.atomic_folder(path) as temporary:
        (temporary / "a").write_text("a")
        assert not path.exists()
    assert (path / "a").read_text() == "a"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_folder_leaves_the_old_one(tmp_path):
    path = tmp_path / "pack"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(RuntimeError), files.atomic_folder(path, replace=True) as temporary:
        (temporary / "new").write_text("half")
        raise RuntimeError
    assert [entry.name for entry in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_folder_with_content_is_replaced_only_on_demand(tmp_path):
    path = tmp_path / "pack"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(ValueError, match="not empty"), files.atomic_folder(path):
        pytest.fail("the block must not run")
    assert (path / "old").exists()
    with files.atomic_folder(path, replace=True) as temporary:
        (temporary / "new").write_text("new")
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_old_folder_comes_back_if_the_new_one_is_lost(tmp_path):
    path = tmp_path / "pack"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(OSError), files.atomic_folder(path, replace=True) as temporary:
        temporary.rmdir()
    assert [entry.name for entry in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_empty_folder_counts_as_absent(tmp_path):
    path = tmp_path / "pack"
    path.mkdir()
    with files.atomic_folder(path) as temporary:
        (temporary / "a").write_text("a")
    assert (path / "a").exists()


def test_folder_does_not_replace_a_file(tmp_path):
    path = tmp_path / "pack"
    path.write_text("file")
    with pytest.raises(ValueError, match="is a file"), files.atomic_folder(path, replace=True):
        pass
    assert path.read_text() == "file"


def test_numbers_that_are_not_finite_are_null(tmp_path):
    files.write_json(tmp_path / "a.json", {"a": [1.5, float("nan")], "b": {"c": float("inf"), "d": 2}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1.5, None], "b": {"c": None, "d": 2}}


def test_json_is_read(tmp_path):
    path = tmp_path / "settings.json"
    value = {"a": [1, -2.5, None, True], "b": {"c": "schön"}, "seed": (1 << 64) - 1}
    files.write_json(path, value)
    assert files.read_json(path) == value
    path.write_text("\ufeff[1]", encoding="utf-8")  # as Windows' editor saves
    assert files.read_json(path, kind=list) == [1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"{", "it is no JSON"),
        (b"\xff\xfe{}", "byte 0 is not UTF-8"),
        (b"[1]", "it holds a list, expected an object"),
        (b'"' + b"x" * 999 + b'"', "it holds the str 'xx"),
        (b"[" * 200000, "nested more than 64 deep"),
        (b'{"a":' * 200000, "nested more than 64 deep"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested more than 64 deep"),
        (b'{"a": 1, "a": 2}', "it has the key 'a' twice"),
        (b'{"a": NaN}', "it has the number NaN, expected finite"),
        (b'{"a": -Infinity}', "it has the number -Infinity"),
        (b'{"a": 1e999}', "it has the number 1e999"),
        (b'{"a": ' + b"9" * 5000 + b"}", "expected finite ones of at most 64 bits"),
        (b'{"a": ' + b"9" * 100 + b"}", "expected finite ones of at most 64 bits"),
        (rb'{"a": "\ud800"}', "half of a character"),
    ],
)
def test_what_is_no_json_is_refused_by_name(content, message, tmp_path):
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"cannot be read as a run's settings: .*{message}") as caught:
        files.read_json(path, "a run's settings")
    assert str(path) in str(caught.value) and len(str(caught.value)) < 400


def test_what_is_no_file_is_refused_by_name(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("", "it is a folder"), ("no.json", "no such file"), ("pipe", "it is no regular file")):
        with pytest.raises(ValueError, match=f"cannot be read as a JSON object: {message}") as caught:
            files.read_json(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(ValueError, match="cannot be read as text: .*File name too long"):
        files.read_text(tmp_path / ("x" * 300))


def test_huge_files_are_refused_unread(tmp_path):
    (tmp_path / "a.json").write_bytes(b" " * (3 << 20))
    with pytest.raises(ValueError, match=r"a\.json .*more than 2 MiB"):
        files.read_text(tmp_path / "a.json", limit=2 << 20)
    with open(tmp_path / "a.json", "wb") as handle:
        handle.truncate(1 << 40)  # sparse: a terabyte that takes no room
    with pytest.raises(ValueError, match=r"a\.json .*more than 64 MiB"):
        files.read_json(tmp_path / "a.json")


def left_behind(path):
    """Writes at `path` in a process that is killed on the way, which leaves its partial file or folder."""
    code = (
        "import os, sys; from dnerf_jax.io import files\n"
        "path = sys.argv[1]\n"
        "with (files.atomic_file if '.' in path[-5:] else files.atomic_folder)(path) as temporary:\n"
        "    (temporary / 'a' if temporary.is_dir() else temporary).write_text('half'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    left_behind(tmp_path / "scores.json")
    left_behind(tmp_path / "000007")
    assert len(list(tmp_path.iterdir())) == 2
    for name in (".scores.json", ".partial", ".a.1234.partial.json", "b.12345678.partial"):
        (tmp_path / name).write_text("not ours")
    files.remove_partials(tmp_path)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"not ours"} and len(list(tmp_path.iterdir())) == 4
    files.remove_partials(tmp_path / "nowhere")


def test_a_folder_put_aside_comes_back_if_its_place_is_empty(tmp_path):
    for name in ("lost", "there"):
        aside = tmp_path / f".{name}.0123abcd.aside"
        aside.mkdir()
        (aside / "old").write_text("old")
    (tmp_path / "there").mkdir()
    files.remove_partials(tmp_path)
    assert (tmp_path / "lost" / "old").exists() and not (tmp_path / "there" / "old").exists()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("write", [files.write_text, files.write_json])
def test_a_full_disk_leaves_what_was_there(write, tmp_path):
    """Before, during and at the end of writing: here a limit of the process stands for the disk's."""
    path = tmp_path / "settings.json"
    files.write_text(path, '"old"\n')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(path, "x" * 100_000)
        with pytest.raises(OSError, match="File too large"), files.atomic_folder(tmp_path / "pack") as folder:
            write(folder / "a.json", "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == '"old"\n' and list(tmp_path.iterdir()) == [path]
