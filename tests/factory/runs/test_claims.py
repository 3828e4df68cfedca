"""Claims: one owner at a time, stale ones are taken over by one, and whoever lost its claim notices."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from dnerf_jax.factory.runs import claims
from dnerf_jax.factory.runs.claims import Claims, LostClaim

HOLD = """
import pathlib, sys
from dnerf_jax.factory.runs.claims import Claims
with Claims(pathlib.Path(sys.argv[1])).take("train-000000") as claim:
    claim.report(3, 1)
    print("claimed", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """The claims of a folder."""
    return Claims(tmp_path)


def say(held, name, **changes):
    """Writes into a claim as if another machine had, or a process of this one."""
    path = held.folder / f"{name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes).ljust(512))


def test_what_is_claimed_is_not_given_again_until_it_is_given_back(held):
    claim = held.take("train-000000")
    assert claim is not None and held.is_held("train-000000")
    assert held.take("train-000000") is None
    assert held.take("train-000001").is_ours()
    claim.report(4, 0)
    claim.report(4, 2)
    said = held.held()
    assert set(said) == {"train-000000", "train-000001"}
    assert (said["train-000000"]["views"], said["train-000000"]["drops"]) == (8, 2)
    assert said["train-000000"]["process"] == os.getpid()
    claim.give_back()
    claim.give_back()
    assert not held.is_held("train-000000")
    with held.take("train-000000"):
        pass
    assert set(held.held()) == {"train-000001"}


def test_claims_of_a_killed_process_are_stale_at_once(held, tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "claimed\n"
        assert held.take("train-000000") is None
        assert held.held()["train-000000"]["views"] == 3
        other.kill()
    assert held.held() == {} and not held.is_held("train-000000")
    with held.take("train-000000") as claim:
        assert claim.is_ours()
    held.tidy()
    assert not held.folder.exists()


def test_a_new_process_of_the_same_number_is_not_the_old_one(held):
    claim = held.take("train-000000")
    say(held, "train-000000", begun_at=1)
    assert not held.is_held("train-000000")
    assert held.take("train-000000") is not None
    with pytest.raises(LostClaim):
        claim.report(1, 0)
    claim.give_back()
    assert held.is_held("train-000000")  # what is another's by now stays


def test_other_machines_are_alive_as_long_as_they_write(held, tmp_path):
    held.take("train-000000")
    say(held, "train-000000", machine="another", process=1, begun_at=1)
    path = held.folder / "train-000000.json"
    assert held.take("train-000000") is None
    os.utime(path, (time.time() - claims.STALE / 2,) * 2)
    assert held.take("train-000000") is None
    held.tidy()
    assert path.exists()
    os.utime(path, (time.time() - claims.STALE - 5,) * 2)
    assert held.held() == {}
    assert held.take("train-000000").is_ours()


def test_a_stopped_process_loses_its_claim(held):
    claim = held.take("train-000000")
    os.utime(claim.path, (time.time() - claims.STALE - 5,) * 2)
    other = held.take("train-000000")
    assert other.is_ours() and not claim.is_ours()
    with pytest.raises(LostClaim, match="train-000000"):
        claim.report(1, 0)
    assert held.held()["train-000000"]["views"] == 0


def test_a_claim_lives_by_itself(held, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.02)
    with held.take("train-000000") as claim:
        os.utime(claim.path, (1, 1))
        deadline = time.monotonic() + 20
        while claim.path.stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert held.is_held("train-000000")


def test_of_many_who_find_a_stale_claim_one_gets_it(held):
    for _ in range(20):
        held.take("train-000000")
        say(held, "train-000000", begun_at=1)
        taken, barrier = [], threading.Barrier(8)

        def take(taken=taken, barrier=barrier):
            barrier.wait()
            taken.append(held.take("train-000000"))

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        owners = [claim for claim in taken if claim is not None]
        assert sum(claim.is_ours() for claim in owners) == 1
        for claim in owners:
            claim.give_back()
    assert held.held() == {}
    held.tidy()
    assert not held.folder.exists()


def test_a_claim_in_which_nothing_is_written_yet_is_somebodys(held):
    held.folder.mkdir(parents=True)
    (held.folder / "train-000000.json").touch()
    assert held.take("train-000000") is None
    assert held.held() == {"train-000000": {}}
    os.utime(held.folder / "train-000000.json", (1, 1))
    assert held.take("train-000000") is not None


def test_a_full_disk_claims_nothing(held, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        held.take("train-000000")
    assert not list(held.folder.glob("*.json"))
