"""Every door: what it takes is described where --help looks for it."""

import importlib
import inspect
import itertools
from pathlib import Path

import pytest

from dnerf_jax import cli
from dnerf_jax.io import configurations

ROOT = Path(__file__).parent.parent
DOORS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("dnerf_jax", "converters", "benchmarks")
    for path in (ROOT / package).rglob("*.py")
    if "cli.door(main)" in path.read_text() and path.name != "cli.py"
)


def test_all_doors_are_looked_at():
    known = {"train", "pretrain", "evaluate", "heldout", "generate", "invert", "demo", "reproduce", "pack"}
    assert {f"dnerf_jax.{name}" for name in known} | {"dnerf_jax.worlds.heads.__main__"} <= set(DOORS)
    assert {"benchmarks.eg3d", "benchmarks.factory", "benchmarks.semantic", "benchmarks.training"} <= set(DOORS)


@pytest.mark.parametrize("name", DOORS)
def test_what_a_door_takes_is_described(name):
    main = importlib.import_module(name).main
    for parameter in inspect.signature(main, eval_str=True).parameters.values():
        if parameter.name == "config":
            assert parameter.default is parameter.empty
            described = configurations.described_fields(parameter.annotation).split("\n")
            for field, meaning in itertools.pairwise(described):
                assert not (field.startswith("  --") and meaning.startswith("  --")), f"{field} is not described"
        else:
            assert cli._description(main, parameter.name) != f"see {main.__module__}", parameter.name
