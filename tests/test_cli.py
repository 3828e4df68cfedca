"""The command line: flags from a signature, refusals with near matches."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from dnerf_jax import cli

ROOT = Path(__file__).parent.parent


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a door."""

    steps: int
    widths: tuple[int, ...]


def test_a_config_dict_becomes_a_dataclass():
    config = ConfigDict({"steps": placeholder(int), "widths": [1, 2]})
    config.steps = 5
    assert cli.as_dataclass(config, Settings) == Settings(5, (1, 2))
    with pytest.raises(ValueError, match=r"config has no field 'setps'; did you mean 'steps'"):
        cli.as_dataclass(ConfigDict({"setps": 5}), Settings)


CONFIG = '''
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

def get_config(rate="0.5"):
    return ConfigDict({"steps": 5, "optimizer": {"rate": float(rate)}, "clamp": None, "widths": (1, 2)})
'''

DOOR = '''
from dnerf_jax import cli

def main(config, workdir: str, views: int = 3, quick: bool = False):
    """Does nothing.

    Args:
      workdir: where nothing goes.
    """
    if workdir == "raise":
        cli.load_config("missing.py")
    if workdir == "bug":
        float("one")
    print(config.steps, config.optimizer.rate, config.widths, workdir, views, quick)

if __name__ == "__main__":
    cli.door(main)
'''


LITTLE, WORKDIR = "--config=configs/little.py", "--workdir=w"


@pytest.fixture
def door(tmp_path):
    """Runs a door in a fresh process; returns exit code, what it printed, and what it complained."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "little.py").write_text(CONFIG)
    (tmp_path / "door.py").write_text(DOOR)

    def run(*arguments: str) -> tuple[int, str, str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "door.py", *arguments], cwd=tmp_path, env=environment,
                              capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    return run


def test_flags_reach_the_door(door):
    code, output, _ = door(LITTLE + ":0.25", "--config.steps=7", "--config.widths=(4, 5)", WORKDIR,
                           "--views", "4", "--quick")
    assert (code, output) == (0, "7 0.25 (4, 5) w 4 True\n")


@pytest.mark.parametrize("arguments, message", [
    ([LITTLE, WORKDIR, "--config.optimizer.rte=3"], "no field 'optimizer.rte'; did you mean 'optimizer.rat"),
    ([LITTLE, WORKDIR, "--config.steps=many"], "flag --config.steps=many: invalid"),
    ([LITTLE, "--wrkdir=w"], "Unknown command line flag 'wrkdir'. Did you mean: workdir ?"),
    ([WORKDIR], "--config is missing: file with get_config(), see configs/; known are configs/little.py"),
    ([LITTLE, WORKDIR, "steps=3"], "unexpected argument 'steps=3'"),
    ([LITTLE, "--workdir=raise"], "there is no file 'missing.py'"),
])
def test_refusals_are_one_message_and_exit_code_2(door, arguments, message):
    code, output, complaint = door(*arguments)
    assert code == 2
    assert message in complaint
    assert complaint.startswith("error: ") and "Traceback" not in complaint
    assert output == ""


@pytest.mark.parametrize("override, message", [
    ("--config.rate=3", r"config has no field 'rate'; did you mean 'optimizer.rate'\?"),
    ("--config.steps.more=3", "config has no field 'steps.more'"),
    ("--noconfig.fast", "config has no field 'fast'"),
    ("--config.clamp=3", "config field 'clamp' is None in the file"),
])
def test_overrides_of_fields_that_cannot_be_set_are_refused(override, message):
    config = ConfigDict({"steps": 5, "optimizer": {"rate": 0.5}, "clamp": None, "size": placeholder(int)})
    cli.check_overrides(config, ["--config=file.py", "--config.size=3", "--config.steps", "4"])
    with pytest.raises(ValueError, match=message):
        cli.check_overrides(config, ["--config=file.py", override])


def test_a_missing_file_names_its_neighbours(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "heads.py").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"no file 'configs/head.py'; did you mean 'configs/heads.py'\?"):
        cli.load_config("configs/head.py")
    assert cli.load_config("configs/heads.py:0.25").optimizer.rate == 0.25


def test_a_bug_keeps_its_traceback(door):
    code, _, complaint = door(LITTLE, "--workdir=bug")
    assert code == 1
    assert "Traceback" in complaint and "could not convert string to float" in complaint


def test_help_lists_the_flags_of_the_door(door):
    _, output, _ = door("--help")
    assert "--workdir: where nothing goes." in output and "--views" in output


def test_config_file_without_get_config_is_refused(tmp_path):
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ValueError, match=r"empty.py has no function get_config\(\)"):
        cli.load_config(tmp_path / "empty.py")
