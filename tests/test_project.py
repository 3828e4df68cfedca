"""The project's own rules: who imports whom, names, docstrings, configurations, the lock file."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from dnerf_jax import cli

ROOT = Path(__file__).parent.parent
ROOTS = [ROOT]
PACKAGES = ("dnerf_jax", "converters", "configs", "benchmarks")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
CONFIGS = sorted((ROOT / "configs").glob("[a-z]*.py"))

# The floors of the house, from the ground up: folders of dnerf_jax, and what lies beside it. Imports run downwards: a
# module may import from the floors below and from its own, and nothing goes in a circle.
FLOORS = (
    ("ops",),
    ("networks",),
    ("models",),
    ("io",),
    ("viz",),
    ("worlds",),
    ("training", "factory", "labelling"),
    ("experiments",),
    ("cli",),
    ("doors", "converters"),
    ("benchmarks",),
)
RANK = {name: rank for rank, names in enumerate(FLOORS) for name in names}
PURE = ("ops", "networks", "models")  # they know no files and no configurations
DOOR_LINES = 70  # a door parses, loads, calls, reports

# Methods whose class, or the class that they override, says what they do.
DESCRIBED_ELSEWHERE = {"setup", "find_class", "persistent_load"}

# Docstrings say what a thing is or does: "Writes a pack", "The rays through ...". These are orders.
ORDERS = "Return Raise Write Read Make Compute Draw Count Turn Check Say Give Load Save Render Build Convert Join"

# Heavy or optional packages, imported inside the functions that need them: all else works without.
OPTIONAL = {"torch", "anny", "embreex", "tensorflow", "tensorflow_datasets", "tensorboard", "matplotlib", "skimage"}
OPTIONAL |= {
    "viser",
    "trimesh",
    "pycocotools",
    "array_record",
    "grain",
    "datasets",
    "ray",
    "submitit",
    "webdataset",
    "pycolmap",
}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def label(path: Path) -> str:
    return next(path.relative_to(root).as_posix() for root in ROOTS if path.is_relative_to(root))


def dotted(path: Path) -> str:
    """A source's module name: dnerf_jax.ops.volume, or of a package's __init__ the package's."""
    return label(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


LIBRARY = [
    path for path in SOURCES if not label(path).startswith("configs/") and label(path) != "dnerf_jax/__init__.py"
]
MODULES = {dotted(path): path for path in LIBRARY}


def floor_of(path: Path) -> str:
    """Where a module lies; a file of a folder's own door, such as worlds/heads/__main__.py, is a door."""
    package, *rest = label(path).split("/")
    if package != "dnerf_jax":
        return package
    if len(rest) == 1:
        return "cli" if rest[0] == "cli.py" else "doors"
    if is_door(path):
        return "doors"
    return rest[0]


def is_door(path: Path) -> bool:
    """Whether a module ends in a command line of its own."""
    last = parse(path).body[-1:]
    return bool(last) and ast.unparse(last[0]).startswith("if __name__ == '__main__':\n    cli.door(main)")


def imported(path: Path, tree: ast.AST | None = None) -> set[str]:
    """Dotted names of all that a module imports, anywhere in it; only converters, which have two names, do so
    relatively."""
    names = set()
    for node in ast.walk(tree or parse(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or (node.level == 1 and floor_of(path) == "converters"), "imports are absolute"
            package = node.module if not node.level else ".".join(filter(None, ("converters", node.module)))
            names |= {f"{package}.{alias.name}" for alias in node.names}
    return names


def ours(path: Path) -> set[str]:
    """The modules of the project that a module imports, by their longest name."""
    found = set()
    for name in imported(path):
        parts = name.split(".")
        prefixes = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
        found |= set([prefix for prefix in prefixes if prefix in MODULES][:1])
    return found - {dotted(path)}


@pytest.mark.parametrize("path", LIBRARY, ids=label)
def test_imports_run_downwards(path):
    floor = floor_of(path)
    assert floor in RANK, f"{label(path)} lies on no floor: there are {', '.join(RANK)}"
    for other in ours(path):
        below = floor_of(MODULES[other])
        # A folder's package says what is in it: worlds.heads may be imported by its own door, and by floors above.
        assert RANK[below] <= RANK[floor], f"{label(path)} ({floor}) imports {other} ({below}), which is above it"
        if below == "doors":
            assert floor == "benchmarks", f"{label(path)} imports the door {other}: doors are for the command line"


def test_test_files_have_names_of_their_own():
    """Pytest imports them by name alone, and gives up on the second."""
    names = [path.name for path in TESTS if path.name.startswith("test_")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_nothing_goes_in_a_circle():
    graph, done, path = {name: ours(source) for name, source in MODULES.items()}, set(), []

    def visit(name: str) -> None:
        assert name not in path, f"imports go in a circle: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in done:
            path.append(name)
            for other in sorted(graph[name]):
                if not name.startswith(other + "."):  # a package that lists what is in it
                    visit(other)
            done.add(path.pop())

    for name in sorted(graph):
        visit(name)


def test_a_file_on_the_wrong_floor_is_noticed(tmp_path, monkeypatch):
    """The tests above fail where they should: new files in the wrong place, in packages within packages too."""
    wrong = {
        "dnerf_jax/ops/early.py": "from dnerf_jax.models import scenes",
        "dnerf_jax/worlds/heads/late.py": "from dnerf_jax.training import logs",
        "dnerf_jax/somewhere/new.py": "import numpy",
        "dnerf_jax/training/calls.py": "from dnerf_jax import cli",
    }
    for name, text in wrong.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    monkeypatch.setitem(globals(), "ROOTS", [*ROOTS, tmp_path])
    for name in wrong:
        with pytest.raises(AssertionError, match=r"lies on no floor|which is above it"):
            test_imports_run_downwards(tmp_path / name)


@pytest.mark.parametrize("path", [path for path in LIBRARY if floor_of(path) == "doors"], ids=label)
def test_doors_are_thin(path):
    assert is_door(path), "what lies beside the floors is a door: it ends with cli.door(main)"
    assert len(path.read_text().splitlines()) <= DOOR_LINES or path.name == "export.py", "move the loop below"


@pytest.mark.parametrize("path", [path for path in LIBRARY if floor_of(path) in PURE], ids=label)
def test_the_lower_floors_know_no_files_and_no_configurations(path):
    packages = {entry.split(".")[0] for entry in imported(path)}
    assert not packages & {"os", "pathlib", "PIL", "orbax", "ml_collections", "absl", "configs", "shutil"}


@pytest.mark.parametrize("path", LIBRARY, ids=label)
def test_only_doors_know_configurations(path):
    if RANK[floor_of(path)] < RANK["cli"] and label(path) != "dnerf_jax/io/configurations.py":
        packages = {entry.split(".")[0] for entry in imported(path)}
        assert not packages & {"ml_collections", "absl", "configs"}


@pytest.mark.parametrize("path", LIBRARY, ids=label)
def test_optional_packages_are_imported_where_they_are_used(path):
    top = [node for node in parse(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not {entry.split(".")[0] for entry in imported(path, ast.Module(top, []))} & OPTIONAL


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=label)
def test_files_are_short_described_and_named_after_a_concept(path):
    source = path.read_text()
    assert len(source.splitlines()) <= (400 if path in TESTS else 320), "one file tells one story: split it"
    assert "noqa: E731" not in source.replace('"noqa: E731"', ""), "a function that has a name is a def"
    assert path.stem not in {"utils", "util", "helpers", "misc", "common"}
    if source.strip():
        assert ast.get_docstring(ast.parse(source)), "the file's header says what it is and its notation"


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """The public functions and classes of a module, and the public methods of these, with their names."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, node.name + ".")


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_what_is_public_has_a_docstring_that_gives_no_orders(path):
    for name, node in public(parse(path).body):
        text, stub = ast.get_docstring(node), ast.unparse(node.body) == "..."  # of a protocol, whose class describes it
        assert text or stub or node.name in DESCRIBED_ELSEWHERE, f"{name} has no docstring"
        assert (text or "").split(" ")[0] not in ORDERS.split(), f"{name}: write what it does, not what to do"


@pytest.mark.parametrize("path", LIBRARY, ids=label)
def test_what_is_public_has_types(path):
    for name, node in public(parse(path).body):
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            arguments += [extra for extra in (node.args.vararg, node.args.kwarg) if extra]
            untyped = [argument.arg for argument in arguments if not argument.annotation]
            assert set(untyped) <= {"self", "cls"}, f"{name} does not say the types of {untyped}"
            assert node.returns is not None, f"{name} does not say what it returns"


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_a_jax_key_is_called_key(path):
    tree = parse(path)
    if "jax" not in {entry.split(".")[0] for entry in imported(path)}:
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


@pytest.mark.parametrize(
    ("name", "end"), [("requirements.lock", "# What datasets are read by"), ("requirements-all.lock", "EXTRAS = {")]
)
def test_locks_pin_every_requirement_and_name_no_place(name, end):
    lines = (ROOT / name).read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    assert all(re.match(r"^[a-z0-9.-]+==[^ ;/]+( ; .+)?$", line) for line in lines)
    locked = {re.split("==", line)[0] for line in lines}
    wanted = re.findall(r'"([a-z][a-z-]*)>=[0-9.]+"', (ROOT / "setup.py").read_text().split(end)[0])
    assert len(wanted) >= 18 and not set(wanted) - locked
