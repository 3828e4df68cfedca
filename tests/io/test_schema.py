"""Dictionaries to frozen dataclasses: what is converted, what is refused and with which near matches."""

import dataclasses
import json
import math
from typing import Literal

import pytest

from dnerf_jax.io import schema
from dnerf_jax.ops import ranges


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Nested settings."""

    rate: float
    kind: Literal["adam", "sgd"] = "adam"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings with every supported kind of field."""

    steps: int
    optimizer: Optimizer
    widths: tuple[int, ...] = ()
    box: tuple[float, float] = (0.0, 1.0)
    clamp: float | None = None
    flip: bool = False
    name: str = "heads"
    names: tuple[str, ...] = ()


def config(**changes) -> dict:
    return {"steps": 5, "optimizer": {"rate": 0.5}} | changes


def test_of_a_union_the_one_that_is_meant_says_what_is_wrong():
    kinds = [("way", Optimizer | Settings | None)]
    either = dataclasses.make_dataclass("Either", kinds, frozen=True)
    assert schema.as_dataclass({"way": {"rate": 1}}, either) == either(Optimizer(1.0))
    for way, message in (
        ({"rate": 1, "kind": "adan"}, r"config.way.kind is 'adan'; did you mean 'adam'\?"),
        ({"steps": 1, "flip": 2}, "config.way lacks the field 'optimizer', which Settings needs"),
        (config(flip=2), "config.way.flip must be bool, not 2"),
        (3, "config.way must be Optimizer or Settings or None, not 3"),
    ):
        with pytest.raises(ValueError, match=message):
            schema.as_dataclass({"way": way}, either)


def test_settings_of_an_earlier_version_have_the_defaults_of_newer_fields():
    settings = Settings(steps=5, optimizer=Optimizer(0.5, "sgd"), widths=(1,), clamp=2.0)
    old = {"optimizer": {"rate": 0.25}, "box": [0, 2], "gone": 3}
    rest = {"widths": [], "clamp": None, "flip": False, "name": "heads", "names": []}
    assert schema.completed(old, settings) == old | rest | {"optimizer": {"rate": 0.25, "kind": "adam"}}


def test_nested_dataclasses_tuples_and_whole_floats():
    made = schema.as_dataclass(config(widths=[1, 2], box=[0, 2], clamp=3, optimizer={"rate": 1}), Settings)
    assert made == Settings(steps=5, optimizer=Optimizer(1.0), widths=(1, 2), box=(0.0, 2.0), clamp=3.0)
    assert isinstance(made.optimizer.rate, float) and isinstance(made.clamp, float)
    assert isinstance(made.widths, tuple)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"setps": 3}, r"config has no field 'setps'; did you mean 'steps'\?"),
        ({"optimizer": {"rat": 3}}, r"config.optimizer has no field 'rat'; did you mean 'rate'\?"),
        ({"optimizer": {}}, "config.optimizer lacks the field 'rate'"),
        ({"optimizer": {"rate": 1.0, "kind": "adan"}}, r"config.optimizer.kind is 'adan'; did you mean 'adam'\?"),
        ({"optimizer": 3}, "config.optimizer must be Optimizer, not 3"),
        ({"steps": 2.5}, r"config.steps must be int, not 2.5 \(float\)"),
        ({"steps": True}, "config.steps must be int, not True"),
        ({"widths": (1, "2")}, r"config.widths\[1\] must be int, not '2'"),
        ({"box": (1.0,)}, "config.box must have 2 entries, not 1"),
        ({"names": "a"}, r"config.names is 'a', expected some in brackets: \('a',\) of one alone"),
        ({"clamp": "off"}, "config.clamp must be float | None, not 'off'"),
        ({"flip": 1}, "config.flip must be bool, not 1"),
        ({"name": 7}, "config.name must be str, not 7"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        schema.as_dataclass(config(**changes), Settings)


def test_a_checkpoint_says_whose_field_it_is():
    with pytest.raises(ValueError, match=r"model/config\.json: generator\.rate must be float, not 'x'"):
        schema.as_dataclass({"rate": "x"}, Optimizer, "model/config.json: generator")


def test_dataclasses_survive_json():
    made = schema.as_dataclass(config(widths=[1, 2], clamp=3), Settings)
    assert schema.as_dataclass(json.loads(json.dumps(dataclasses.asdict(made))), Settings) == made


@dataclasses.dataclass(frozen=True)
class Ranged:
    """Settings with ranges."""

    steps: ranges.Count = 1
    patch: ranges.Count | None = None
    rate: ranges.Positive = 1.0
    free: float = 0.0
    widths: tuple[ranges.Count, ...] = ()
    limit: ranges.Positive | Literal["auto"] = "auto"


@pytest.mark.parametrize(
    "given, message",
    [
        ({"steps": 0}, "config.steps is 0, expected at least 1"),
        ({"patch": -3}, "config.patch is -3, expected at least 1"),
        ({"rate": 0}, "config.rate is 0.0, expected above 0"),
        ({"rate": math.nan}, "config.rate is nan, expected a finite number"),
        ({"free": math.inf}, "config.free is inf, expected a finite number"),
        ({"free": 10**400}, "config.free is inf, expected a finite number"),
        ({"widths": [1, 0]}, r"config.widths\[1\] is 0, expected at least 1"),
        ({"limit": "never"}, r"config.limit must be float \(above 0\) or 'auto', not 'never' \(str\)"),
        ({"patch": "all"}, r"config.patch must be int \(at least 1\) or None, not 'all' \(str\)"),
    ],
)
def test_numbers_beyond_their_range_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        schema.as_dataclass(given, Ranged)


def test_numbers_within_their_range_are_taken():
    given = {"steps": 3, "patch": None, "rate": 2, "widths": [4], "limit": 0.5}
    assert schema.as_dataclass(given, Ranged) == Ranged(3, None, 2.0, 0.0, (4,), 0.5)


def test_messages_stay_short_whatever_was_given():
    long = "x" * 100_000
    for changes in ({long: 1}, {"optimizer": {"rate": 1.0, "kind": long}}, {"box": (0.0,) * 1000}, {"name": [long]}):
        with pytest.raises(ValueError) as caught:
            schema.as_dataclass(config(**changes), Settings)
        assert len(str(caught.value)) < 500
