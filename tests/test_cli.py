"""The command line: flags and arguments from a signature, configurations by name, refusals with near matches."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


CONFIG = """
from ml_collections import ConfigDict

def get_config(rate="0.5"):
    return ConfigDict({"steps": 5, "optimizer": {"rate": float(rate)}, "clamp": None, "widths": (1, 2)})
"""

DOOR = '''
import dataclasses
import warnings
from dnerf_jax import cli
from dnerf_jax.ops.ranges import Count, Natural

@dataclasses.dataclass(frozen=True)
class Optimizer:
    """How to go down.

    Attributes:
      rate: how fast.
    """
    rate: float

@dataclasses.dataclass(frozen=True)
class Settings:
    """What to do.

    Attributes:
      steps: how often
        something is done.
      clamp, widths: of what is done.
      optimizer: how.
    """
    steps: Natural
    optimizer: Optimizer
    clamp: Count | None
    widths: tuple[int, ...]

def main(config: Settings, workdir: str, views: Count = 3, quick: bool = False, note: str | None = None):
    """Does nothing.

    Args:
      workdir: where nothing
        goes.
    """
    if workdir == "missing":
        open("there/is/no/file")
    if workdir == "full":
        raise OSError(28, "No space left on device")
    if workdir == "full array":
        raise OSError("65536 requested and 4064 written")
    if workdir == "memory":
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
    if workdir == "interrupt":
        raise KeyboardInterrupt
    if workdir == "talk":
        print("words " * 100_000)
    if workdir == "warn":
        warnings.warn("something is odd")
    if workdir == "raise":
        cli.load_config("missing.py")
    if workdir == "bug":
        float("one")
    if workdir == "import":
        import there_is_no_such_module
    print(config.steps, config.optimizer.rate, config.clamp, config.widths, workdir, views, quick, note)

if __name__ == "__main__":
    cli.door(main)
'''

# Two doors without a configuration, one with arguments of fixed number and one with any.
PLACES = '''
from dnerf_jax import cli

def main(source: str, size: int, /, out: str, scale: float = 1.0):
    """Converts.

    source: what is read
    size: of it
    """
    print(source, size, out, scale)

if __name__ == "__main__":
    cli.door(main)
'''
MANY = '''
from dnerf_jax import cli

def main(*cases: str, strict: bool = False) -> int:
    """Counts.

    cases: files to count
    """
    print(*cases)
    return len(cases) if strict else 0

if __name__ == "__main__":
    cli.door(main)
'''


LITTLE, WORKDIR = "--config=configs/little.py", "--workdir=w"


@pytest.fixture
def run(tmp_path):
    """Runs a door in a fresh process; returns exit code, what it printed, and what it complained."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "little.py").write_text(CONFIG)
    for name, source in {"door": DOOR, "places": PLACES, "many": MANY}.items():
        (tmp_path / f"{name}.py").write_text(source)

    def run(*arguments: str, door: str = "door") -> tuple[int, str, str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, f"{door}.py", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    return run


def test_flags_reach_the_door(run):
    overrides = ("--config.steps=7", "--config.widths=(4, 5)")
    code, output, _ = run(LITTLE + ":0.25", *overrides, WORKDIR, "--views", "4", "--quick", "--note=x")
    assert (code, output) == (0, "7 0.25 None (4, 5) w 4 True x\n")
    # In any order, and also a field that is None in the file.
    code, output, _ = run("--config.clamp=3", "--config.steps", "7", LITTLE, WORKDIR)
    assert (code, output) == (0, "7 0.5 3 (1, 2) w 3 False None\n")
    assert run("--config.clamp=None", LITTLE, WORKDIR)[1] == "5 0.5 None (1, 2) w 3 False None\n"


def test_arguments_without_a_name_reach_the_door(run):
    assert run("a", "3", "--out", "b", "--scale=2", door="places") == (0, "a 3 b 2.0\n", "")
    assert run("--out=b", "a", "3", door="places")[:2] == (0, "a 3 b 1.0\n")
    assert run("a", "--strict", "b", "c", door="many") == (3, "a b c\n", "")  # what main returns is the status
    assert run("a", door="many")[0] == 0


def test_a_packaged_configuration_is_found_by_name(run):
    code, _, complaint = run("--config", "heads:argument", WORKDIR)
    assert code == 2 and "heads.py was given ['argument']: too many positional arguments" in complaint
    code, output, _ = run("--config", "configs/little.py:0.25", WORKDIR)  # a file of the folder is preferred
    assert (code, output) == (0, "5 0.25 None (1, 2) w 3 False None\n")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([LITTLE, WORKDIR, "--config.optimizer.rte=3"], "no field 'optimizer.rte'; did you mean 'optimizer.rat"),
        ([LITTLE, WORKDIR, "--config.steps=many"], "config.steps must be int, not 'many' (str)"),
        ([LITTLE, WORKDIR, "--config.steps=-1"], "config.steps is -1, expected at least 0"),
        ([LITTLE, WORKDIR, "--config.clamp=0"], "config.clamp is 0, expected at least 1"),
        ([LITTLE, WORKDIR, "--config.optimizer.rate=nan"], "config.optimizer.rate is nan, expected a finite number"),
        ([LITTLE, WORKDIR, "--config.optimizer.rate=1e999"], "config.optimizer.rate is inf, expected a finite number"),
        ([LITTLE, WORKDIR, "--views=0"], "--views is 0, expected at least 1"),
        ([LITTLE, "--workdir="], "--workdir is empty: give a name"),
        (
            [LITTLE, WORKDIR, "--steps=3"],
            "Unknown command line flag 'steps'; did you mean --config.steps, of the configuration?",
        ),
        (["--config=heads_dataset", WORKDIR], "config has no field 'batch'"),
        (
            ["--config=heads_dataset", WORKDIR],
            "(heads_dataset.py is for: python -m dnerf_jax.generate --config heads_dataset",
        ),
        ([LITTLE, "--workdir=missing"], "there/is/no/file: No such file or directory"),
        ([LITTLE, "--workdir=full"], "the disk is full"),
        ([LITTLE, "--workdir=full array"], "the disk is full"),
        ([LITTLE, "--workdir=memory"], "there is not enough memory"),
        ([LITTLE, "--wrkdir=w"], "Unknown command line flag 'wrkdir'. Did you mean: workdir ?"),
        ([LITTLE], "--workdir is missing: where nothing goes."),
        ([WORKDIR], "--config is missing: a file with get_config(), or the name of one that comes with dnerf_jax; kn"),
        (
            [WORKDIR],
            "heads_backbone_gpu, heads_dataset, heads_encoder, invert, ",
        ),
        ([WORKDIR, "--config", "head"], "there is no file 'head', and no configuration of that name comes with dner"),
        ([LITTLE, WORKDIR, "steps=3"], "unexpected argument 'steps=3'"),
        ([LITTLE, "--workdir=raise"], "there is no file 'missing.py'"),
    ],
)
def test_refusals_are_one_message_and_exit_code_2(run, arguments, message):
    code, output, complaint = run(*arguments)
    assert code == 2
    assert message in complaint
    assert complaint.startswith("error: ") and "Traceback" not in complaint
    assert output == ""


@pytest.mark.parametrize(
    "door, arguments, message",
    [
        ("many", [], "CASES is missing: files to count"),
        ("places", ["a", "--out=b"], "SIZE is missing: of it"),
        ("places", ["--out=b"], "SOURCE is missing: what is read"),
        ("places", ["a", "3"], "--out is missing"),
        ("places", ["a", "b", "--out=c"], "SIZE is 'b', expected int"),
        ("places", ["a", "3", "c", "--out=d"], "unexpected argument 'c'"),
        ("many", ["a", "--strct"], "Unknown command line flag 'strct'. Did you mean: strict ?"),
    ],
)
def test_arguments_that_are_missing_or_too_many_are_refused(run, door, arguments, message):
    code, output, complaint = run(*arguments, door=door)
    assert (code, output) == (2, "")
    assert complaint.startswith(f"error: {message}") and "Traceback" not in complaint


@pytest.mark.parametrize("workdir, message", [("bug", "could not convert string to float"), ("import", "no_such_mod")])
def test_a_bug_keeps_its_traceback(run, workdir, message):
    code, _, complaint = run(LITTLE, f"--workdir={workdir}")
    assert code == 1
    assert "Traceback" in complaint and message in complaint


def test_ctrl_c_says_how_to_go_on(run):
    code, _, complaint = run(LITTLE, "--workdir=interrupt")
    assert (code, complaint) == (
        130,
        "\ninterrupted: give the same command again: it goes on from what was saved, if anything was\n",
    )


def test_a_warning_is_one_line(run):
    code, _, complaint = run(LITTLE, "--workdir=warn")
    assert (code, complaint) == (0, "warning: something is odd\n")


def test_help_lists_the_fields_of_the_configuration(run):
    code, output, complaint = run("--help", LITTLE)
    assert (code, complaint) == (0, "")
    assert "Fields of the configuration, with the values of configs/little.py:" in output
    assert "--config.steps=5: int (at least 0)\n      how often something is done." in output
    assert "--config.optimizer.rate=0.5: float\n      how fast." in output
    assert "--config.clamp=None: int (at least 1) or None\n      of what is done." in output
    assert "--config.steps: int (at least 0)" in run("--help")[1]  # no packaged configuration is of this door


def test_what_nobody_reads_ends_quietly(run, tmp_path):
    run("--help")  # which also writes the door
    for arguments in (["--help", LITTLE], [LITTLE, "--workdir=talk"]):
        command = [sys.executable, "door.py", *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as door:
            door.stdout.close()
            assert (door.stderr.read(), door.wait()) == ("", 1)


def test_help_lists_the_flags_of_the_door(run):
    code, output, _ = run("--help")
    assert code == 0 and "--workdir: where nothing goes." in output and "--views" in output
    assert output.startswith("usage: python door.py --config=... --workdir=... [flags]\n")
    assert run("--help", door="many")[1].startswith("usage: python many.py CASES... [flags]\n")
    assert run("--help", door="places")[1].startswith("usage: python places.py SOURCE SIZE --out=... [flags]\n")


def test_one_of_several_commands_is_chosen_by_the_first_argument():
    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "dnerf_jax.label", *arguments], capture_output=True, text=True, cwd=ROOT
        )

    wrong = call("propos")
    assert wrong.returncode == 2 and "did you mean 'propose'?" in wrong.stderr
    assert "usage: python -m dnerf_jax.label COMMAND" in wrong.stderr and "  propose    Writes views" in wrong.stderr
    of_one = call("propose", "--help")
    assert of_one.returncode == 0 and "usage: python -m dnerf_jax.label propose --checkpoint=..." in of_one.stdout
