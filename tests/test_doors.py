"""Every door: what it takes is described where --help looks for it."""

import importlib
import inspect
import itertools
from pathlib import Path

import pytest

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, configurations

ROOT = Path(__file__).parent.parent
DOORS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("dnerf_jax", "converters", "benchmarks")
    for path in (ROOT / package).rglob("*.py")
    if "cli.door(main)" in path.read_text() and path.name != "cli.py"
)


def parameters_of(name):
    """The parameters of a door's function, or of all its commands, each with the function."""
    main = importlib.import_module(name).main
    for function in main.values() if isinstance(main, dict) else [main]:
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            yield function, parameter


def test_all_doors_are_looked_at():
    known = {
        "train",
        "pretrain",
        "encode",
        "downstream",
        "datasetgan",
        "evaluate",
        "heldout",
        "generate",
        "invert",
        "view",
        "demo",
        "reproduce",
        "pack",
        "label",
    }
    assert {f"dnerf_jax.{name}" for name in known} | {"dnerf_jax.worlds.heads.__main__"} <= set(DOORS)
    assert {
        "benchmarks.eg3d",
        "benchmarks.factory",
        "benchmarks.inversion",
        "benchmarks.semantic",
        "benchmarks.training",
    } <= set(DOORS)


@pytest.mark.parametrize("name", DOORS)
def test_what_a_door_takes_is_described(name):
    for main, parameter in parameters_of(name):
        if parameter.name == "config":
            assert parameter.default is parameter.empty
            described = configurations.described_fields(parameter.annotation).split("\n")
            for field, meaning in itertools.pairwise(described):
                assert not (field.startswith("  --") and meaning.startswith("  --")), f"{field} is not described"
        else:
            assert cli._kind(parameter) in cli._DEFINERS, f"{parameter.name}: no flag has such values"
            assert cli._description(main, parameter.name) != f"see {main.__module__}", parameter.name


@pytest.mark.parametrize("name", DOORS)
def test_numbers_of_a_door_have_ranges(name):
    for _, parameter in parameters_of(name):
        if cli._kind(parameter) in (int, float):
            assert "Range(" in repr(parameter.annotation), f"{parameter.name}: see dnerf_jax/ops/ranges.py"


def no_model(*_):
    """Stands for the load of a checkpoint, which must not happen before the folder is looked at."""
    raise AssertionError("a model was loaded first")


@pytest.mark.parametrize(
    "name, others, known_by",
    [
        ("train", {"config": None}, "settings.json"),
        ("pretrain", {"config": None}, "settings.json"),
        ("encode", {"config": None}, "settings.json"),
        ("downstream", {"config": None, "data": "dataset"}, "settings.json"),
        ("datasetgan", {"config": None}, "settings.json"),
        ("invert", {"config": None, "image": "photo.png"}, "settings.json"),
        ("view", {"scene": "scene"}, "views"),
        ("generate", {"config": None, "checkpoint": "heads"}, "dataset.json"),
        ("reproduce", {"table": "4"}, "settings.json"),
        ("demo", {}, "training"),
        ("evaluate", {"checkpoint": "heads"}, "scores.json"),
        ("heldout", {}, "heldout.json"),
        ("worlds.heads.__main__", {}, "cameras.json"),
    ],
)
def test_a_folder_is_looked_at_before_any_work(name, others, known_by, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "load", no_model)
    (tmp_path / "file").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    main = importlib.import_module(f"dnerf_jax.{name}").main
    folder = next(entry for entry in ("out", "workdir") if entry in inspect.signature(main).parameters)
    with pytest.raises(ValueError, match="file is a file, expected the name of a folder"):
        main(**{folder: str(tmp_path / "file")}, **others)
    with pytest.raises(ValueError, match=rf"mine has content \(thesis.tex\), but no {known_by}"):
        main(**{folder: str(tmp_path / "mine")}, **others)


def test_help_names_the_other_configurations_of_a_door():
    config = next(parameter for _, parameter in parameters_of("dnerf_jax.downstream") if parameter.name == "config")
    first = cli._fields_help(config.annotation, []).splitlines()[0]
    assert "with the values of deeplab (--config NAME --help has those of deeplab_cpu" in first
    assert "pointnet" in first and "heads" not in first
