"""A short run of the fuzzers: broken and hostile files are accepted or refused by name, within limits."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource")  # limits of memory are Unix's
ROOT = Path(__file__).parent.parent


def fuzz(*arguments):
    """Runs the command; its exit status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr[-2000:]


@pytest.mark.slow
def test_no_file_harms_its_reader():
    status, printed = fuzz("--cases", "12", "--seed", "0")
    assert status == 0, printed


def test_what_should_not_happen_is_found(tmp_path, monkeypatch):
    """Tracebacks, nameless errors, greed for memory and dawdling are told apart from clear errors."""
    from tests.fuzz import __main__ as command

    class Reader:
        folder = tmp_path

        def __init__(self, attempt):
            self.attempt = attempt

    def refuse(path):
        raise ValueError(f"{path} is damaged")

    def mutter(path):
        raise ValueError("damaged")

    def fail(path):
        raise KeyError("z")

    def dawdle(path):
        monkeypatch.setattr(command, "SECONDS", -1)

    judged = [
        command.judge(Reader(attempt), tmp_path / "a.json")
        for attempt in (str, refuse, mutter, fail, lambda path: bytes(1 << 40), dawdle)
    ]
    assert [answer["outcome"] for answer in judged] == ["accepted", "refused", *["other"] * 4]
    for answer, text in zip(judged[2:], ("does not name the file", "KeyError", "MemoryError", "it took"), strict=True):
        assert text in answer["text"]
