"""Signatures of the pure functions: f(params, key, inputs, *, options). Names and docstrings: see test_project."""

import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FILES = [path for floor in ("ops", "networks", "models") for path in (ROOT / "dnerf_jax" / floor).glob("[a-z]*.py")]
PURE = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in sorted(FILES)]
PURE.append("dnerf_jax.io.checkpoints")

# What a key may follow: the functions' parameters.
PARAMETERS = {"config", "generator_config", "model", "generator", "branch"}

# Inputs, not options, that have a usual value.
USUAL_INPUTS = {
    ("pinhole", "focal"),
    ("pinhole", "center"),
    ("look_at", "up"),
    ("default_camera", "yaw"),
    ("default_camera", "pitch"),
    ("split_channels", "num_planes"),
    ("midpoints", "axis"),
    ("some", "limit"),
    ("surface_level", "thickness"),
}


def functions():
    """Every public function of the pure modules, with its name."""
    for name in PURE:
        module = importlib.import_module(name)
        for function_name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not function_name.startswith("_"):
                yield pytest.param(function, id=f"{name}.{function_name}")


def test_all_floors_are_looked_at():
    assert len(list(functions())) > 50


@pytest.mark.parametrize("function", list(functions()))
def test_options_are_keyword_only(function):
    """A positional argument with a default is an input that may be absent: None."""
    for parameter in inspect.signature(function).parameters.values():
        optional = parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is not parameter.empty
        if optional and (function.__name__, parameter.name) not in USUAL_INPUTS:
            assert parameter.default is None, f"{parameter.name} is an option: put it behind *"


@pytest.mark.parametrize("function", list(functions()))
def test_a_key_follows_the_parameters_or_is_an_option(function):
    parameters = inspect.signature(function).parameters
    if "key" not in parameters:
        return
    if parameters["key"].kind is inspect.Parameter.KEYWORD_ONLY:
        assert parameters["key"].default is None, "without a key nothing is drawn at random"
    else:
        before = list(parameters)[: list(parameters).index("key")]
        assert set(before) <= PARAMETERS and parameters["key"].default is inspect.Parameter.empty
