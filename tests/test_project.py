"""The project's own rules: who imports whom, names, docstrings, configurations, the lock file."""

import ast
import re
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from dnerf_jax import cli

ROOT = Path(__file__).parent.parent
PACKAGES = ("dnerf_jax", "converters", "configs", "benchmarks")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
CONFIGS = sorted((ROOT / "configs").glob("[a-z]*.py"))

# The floors of the house. Imports run downwards: a module may import from the floors below and from its own,
# but the modules of the two lowest know none of their own floor.
FLOORS = [
    {"precision", "files", "schema"},
    {"networks", "volume", "triplane", "cameras", "labels", "losses", "pictures", "ply"},
    {"generator", "semantic", "worlds", "metrics", "consistency", "report"},
    {"scene", "checkpoint", "supervised_rays"},
    {"pointcloud", "annotations", "annotation_checks", "converters", "factory"},
    {"settings", "runs"},
    {"train", "pretrain", "heldout", "pack", "evaluate", "generate", "invert", "edit", "demo", "reproduce"},
    {"benchmarks"},
]
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}

GENERATOR_FLOOR = FLOOR_OF["generator"]

# Methods whose class, or the class that they override, says what they do.
DESCRIBED_ELSEWHERE = {"setup", "find_class", "persistent_load"}

# Heavy or optional packages, imported inside the functions that need them: all else works without.
OPTIONAL = {"torch", "anny", "embreex", "tensorflow", "tensorflow_datasets", "tensorboard", "matplotlib"}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


LIBRARY = [path for path in SOURCES
           if not label(path).startswith("configs/") and label(path) != "dnerf_jax/__init__.py"]


def module_of(dotted: str) -> str | None:
    """A module's name in the table: networks for dnerf_jax.networks.stylegan2; None for other people's."""
    package, *rest = dotted.split(".")
    if package in ("converters", "benchmarks"):
        return package
    return rest[0] if package == "dnerf_jax" and rest else None


def imported(tree: ast.AST) -> set[str]:
    """Dotted names of all that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", LIBRARY, ids=label)
def test_imports_run_downwards(path):
    name = module_of(label(path).removesuffix(".py").replace("/", "."))
    for other in {module_of(entry) for entry in imported(parse(path))} - {None} | {name}:
        assert other in FLOOR_OF, f"{other} has no floor: give it one in FLOORS"
        below = FLOOR_OF[other] < FLOOR_OF[name] or (FLOOR_OF[other] == FLOOR_OF[name] >= GENERATOR_FLOOR)
        assert below or other == name, f"{name} imports {other}, which is not below it"


@pytest.mark.parametrize("path", LIBRARY, ids=label)
def test_only_doors_and_settings_know_configurations(path):
    name = module_of(label(path).removesuffix(".py").replace("/", "."))
    if FLOOR_OF.get(name, 0) < FLOOR_OF["settings"]:
        packages = {entry.split(".")[0] for entry in imported(parse(path))}
        assert not packages & {"ml_collections", "absl", "configs"}


@pytest.mark.parametrize("path", LIBRARY, ids=label)
def test_optional_packages_are_imported_where_they_are_used(path):
    top = [node for node in parse(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not {entry.split(".")[0] for entry in imported(ast.Module(top, []))} & OPTIONAL


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=label)
def test_files_are_short_described_and_named_after_a_concept(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 400, "one file tells one story: split it"
    assert path.stem not in {"utils", "util", "helpers", "misc", "common"}
    if source.strip():
        assert ast.get_docstring(ast.parse(source)), "the file's header says what it is and its notation"


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_what_is_public_has_a_docstring(path):
    def missing(body, prefix=""):
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            described = ast.get_docstring(node) or node.name in DESCRIBED_ELSEWHERE
            if not described and "property" not in [ast.unparse(entry) for entry in node.decorator_list]:
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from missing(node.body, node.name + ".")

    assert list(missing(parse(path).body)) == []


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_a_jax_key_is_called_key(path):
    tree = parse(path)
    if "jax" not in {entry.split(".")[0] for entry in imported(tree)}:
        return  # NumPy's generators may be called rng
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):
            names = {argument.arg for argument in [*node.posonlyargs, *node.args, *node.kwonlyargs]}
            assert not names & {"rng", "rngs", "rng_key", "prng_key"}


@pytest.mark.parametrize("path", CONFIGS, ids=label)
def test_configurations_state_their_command(path):
    text = ast.get_docstring(parse(path)) or ""
    for node in parse(path).body:
        if isinstance(node, ast.FunctionDef) and node.name == "get_config":
            text += ast.get_docstring(node) or ""
    command = rf"python -m \w+\.\w+ --config {path.stem} "
    assert re.search(command, text), "the docstring has the exact command"
    assert isinstance(cli.load_config(path), ConfigDict)


def test_lock_pins_every_requirement_and_names_no_place():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    assert all(re.match(r"^[a-z0-9.-]+==[^ ;/]+( ; .+)?$", line) for line in lines)
    locked = {re.split("==", line)[0] for line in lines}
    required = (ROOT / "setup.py").read_text().split("EXTRAS = {")[0]
    wanted = re.findall(r'"([a-z][a-z-]*)>=[0-9.]+"', required)
    assert len(wanted) >= 13 and not set(wanted) - locked
