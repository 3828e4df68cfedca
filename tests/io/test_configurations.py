"""Configurations: found by name, overridden, described, refused with near matches."""

import dataclasses

import pytest
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from dnerf_jax.io import configurations
from dnerf_jax.ops.ranges import Count, Positive

CONFIG = """
from ml_collections import ConfigDict

def get_config(rate="0.5"):
    return ConfigDict({"steps": 5, "optimizer": {"rate": float(rate)}, "name": "a"})
"""


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """How to go down.

    Attributes:
      rate: how fast.
    """

    rate: Positive


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to do.

    Attributes:
      steps, clamp: how often,
        and how far.
      optimizer: how.
      name: of it.
    """

    steps: Count
    optimizer: Optimizer
    name: str
    clamp: Count | None = None


@pytest.fixture
def file(tmp_path):
    """A configuration of these settings."""
    (tmp_path / "little.py").write_text(CONFIG)
    return tmp_path / "little.py"


def test_a_config_dict_becomes_a_dataclass():
    config = ConfigDict({"steps": placeholder(int), "optimizer": {"rate": 1}, "name": "b"})
    config.steps = 5
    assert configurations.as_dataclass(config, Settings) == Settings(5, Optimizer(1.0), "b")
    with pytest.raises(ValueError, match=r"config has no field 'setps'; did you mean 'steps'"):
        configurations.as_dataclass(ConfigDict({"setps": 5}), Settings)


def test_overrides_are_read_as_their_fields_are(file):
    overrides = ["steps=7", "optimizer.rate=1e-3", "name=12", "clamp=4"]  # clamp is not in the file
    assert configurations.load_settings(file, Settings, overrides) == Settings(7, Optimizer(1e-3), "12", 4)
    assert configurations.load_settings(f"{file}:2", Settings, ["clamp=None"]) == Settings(5, Optimizer(2.0), "a", None)


@pytest.mark.parametrize(
    "override, message",
    [
        ("rate=3", r"config has no field 'rate'; did you mean 'optimizer.rate'\?"),
        ("steps.more=3", "config has no field 'steps.more'"),
        ("optimizer=3", "config.optimizer has fields of its own: set one of optimizer.rate"),
        ("steps=0", "config.steps is 0, expected at least 1"),
        ("steps=1.5", r"config.steps must be int, not 1.5 \(float\)"),
        ("clamp=(1, 2)", r"config.clamp must be int \(at least 1\) or None, not \(1, 2\)"),
        ("clamp=" + "(" * 5000, "config.clamp must be int"),
    ],
)
def test_overrides_that_do_not_fit_are_refused(file, override, message):
    with pytest.raises(ValueError, match=message):
        configurations.load_settings(file, Settings, [override])


def test_of_a_union_the_fields_are_those_of_the_one_that_is_meant(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Annealing:
        """How to go down, sometimes up.

        Attributes:
          heat: at first.
        """

        heat: Positive

    kinds = [("optimizer", Optimizer | Annealing)]
    either = dataclasses.make_dataclass("Either", kinds, frozen=True)
    for name, fields in (("down", {"rate": 0.5}), ("both", {"heat": 2.0})):
        text = f"from ml_collections import ConfigDict\nget_config = lambda: ConfigDict(dict(optimizer={fields}))"
        (tmp_path / f"{name}.py").write_text(text)
    down, both = tmp_path / "down.py", tmp_path / "both.py"
    assert configurations.load_settings(down, either, ["optimizer.rate=2"]) == either(Optimizer(2.0))
    assert configurations.load_settings(both, either, ["optimizer.heat=3"]) == either(Annealing(3.0))
    with pytest.raises(ValueError, match=r"config has no field 'optimizer.heat'; did you mean 'optimizer.rate'"):
        configurations.load_settings(down, either, ["optimizer.heat=3"])
    described = configurations.described_fields(either, configurations.load_config(both))
    assert described == "  --config.optimizer.heat=2.0: float (above 0)\n      at first."
    assert configurations.field_names(either) == ["optimizer.rate", "optimizer.heat"]


def test_fields_are_described_with_their_values(file):
    described = configurations.described_fields(Settings, configurations.load_config(file))
    assert described.split("\n") == [
        "  --config.steps=5: int (at least 1)",
        "      how often, and how far.",
        "  --config.optimizer.rate=0.5: float (above 0)",
        "      how fast.",
        "  --config.name='a': str",
        "      of it.",
        "  --config.clamp=None: int (at least 1) or None",
        "      how often, and how far.",
    ]


def test_a_file_is_preferred_to_a_packaged_configuration(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "heads.py").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    assert configurations.load_config("configs/heads.py:0.25").optimizer.rate == 0.25
    assert configurations.load_config("heads").annotations == "heads_train"
    (tmp_path / "heads").write_text(CONFIG)
    assert configurations.load_config("heads").steps == 5


@pytest.mark.parametrize("name", ["head", "configs/head.py", "elsewhere/heads.py", "heads.json"])
def test_an_unknown_configuration_names_its_neighbours(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"there is no file '{name}'.*; did you mean 'heads'( or '\w+')*\?"):
        configurations.load_config(name)


@pytest.mark.parametrize(
    "source, message",
    [
        ("", r"has no function get_config\(\)"),
        ("def get_config(: pass", "is no Python file that can be run"),
        ("def get_config(): return {}", "returns a dict, expected an ml_collections ConfigDict"),
        ("def get_config(a): pass", "was given no argument: missing a required argument: 'a'"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, source, message):
    (tmp_path / "odd.py").write_text(source)
    with pytest.raises(ValueError, match=rf"odd.py {message}|odd.py {message}"):
        configurations.load_config(tmp_path / "odd.py")
