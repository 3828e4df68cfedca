"""README, CONTRIBUTING and docs: the commands, flags, files and make targets that they name exist, and code runs."""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from dnerf_jax import cli

ROOT = Path(__file__).parent.parent
# Not the changelog, which names what was there before.
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "notebooks").glob("*.ipynb"))
FOLDERS = ("dnerf_jax", "configs", "converters", "benchmarks", "notebooks", "tests", "docs")
FILES = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]


def name(path):
    return path.relative_to(ROOT).as_posix()


def commands(text):
    """(module, arguments) of every `python -m` of ours."""
    ours = r"python\s+-m\s+((?:dnerf_jax|converters|benchmarks)[\w.]*\b)(?![\w.]*<)([^`\n#]*)"
    for module, rest in re.findall(ours, text.replace("\\\n", " ")):
        yield module, rest.split()


def source_of(module):
    """The file that `python -m module` runs; converters are within the package where it is installed."""
    path = ROOT / module.removeprefix("dnerf_jax.").replace(".", "/") if ".converters" in module else None
    path = path or ROOT / module.replace(".", "/")
    return path / "__main__.py" if path.is_dir() else path.with_suffix(".py")


def flags_of(source, arguments):
    """The names of the parameters of a door's `main`, or of that of its commands which the first argument names."""
    if "\nmain = {" in source.read_text():
        main = importlib.import_module(".".join(source.relative_to(ROOT).with_suffix("").parts)).main
        of_all = [set(inspect.signature(command).parameters) for command in main.values()]
        return set(inspect.signature(main[arguments[0]]).parameters) if arguments else set().union(*of_all)
    (main,) = (node for node in ast.parse(source.read_text()).body if getattr(node, "name", None) == "main")
    return {argument.arg for argument in [*main.args.posonlyargs, *main.args.args, *main.args.kwonlyargs]}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_commands_exist_with_their_flags(path):
    for module, arguments in commands(path.read_text()):
        source = source_of(module)
        assert source.is_file(), f"{name(path)}: there is no {module}"
        named = {argument.split("=")[0].strip('-),.;:"') for argument in arguments if argument.startswith("--")}
        overrides = {field.removeprefix("config.") for field in named if field.startswith("config.")}
        unknown = {field for field in named if not field.startswith("config.")} - flags_of(source, arguments)
        assert not unknown, f"{name(path)}: {module} has no flags {unknown}"
        if "--config" in arguments:
            config = cli.load_config(arguments[arguments.index("--config") + 1])
            for field in overrides:
                node = config
                for part in field.split("."):
                    assert isinstance(node, ConfigDict) and part in node, f"{name(path)}: there is no config.{field}"
                    node = node[part]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_files_that_are_named_exist(path):
    for quoted in re.findall(r"`([\w./-]+)`", path.read_text()):
        ours = quoted.endswith((".py", ".md")) or (quoted.split("/")[0] in FOLDERS and "/" in quoted)
        if ours and "<" not in quoted:
            known = (ROOT / quoted).exists() or any(file.as_posix().endswith("/" + quoted.strip("/")) for file in FILES)
            assert known, f"{name(path)} names {quoted}, which is not there"


def test_make_has_the_targets_that_are_named():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS[:2]:
        named = re.findall(r"(?:^    |`)make (?:\w+=\S+ )*([\w-]+)", path.read_text(), re.MULTILINE)
        assert named and set(named) <= targets, f"{name(path)} names make {', '.join(set(named) - targets)}"


@pytest.mark.slow
def test_the_code_in_the_readme_runs(tmp_path):
    block, reading = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert reading in (ROOT / "docs" / "datasets.md").read_text(), "whose code other tests run"
    checks = "\nassert view.image.shape == (256, 256, 3) and image.shape == (64, 64, 3)\n"
    done = subprocess.run(
        [sys.executable, "-c", block + checks],
        cwd=tmp_path,
        # Compiled for its run nearly as users have it: of images of this size running takes long, too.
        env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
