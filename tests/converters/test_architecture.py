"""Attributes of any kind, in any place that is read: a configuration, or an error that says which."""

import dataclasses

import numpy as np
import pytest
import tiny

from converters import eg3d
from converters.architecture import config_from
from converters.attributes import Problems
from converters.records import Record
from dnerf_jax.io import schema
from dnerf_jax.models.generator import GeneratorConfig

ODD = {
    **{"none": None, "true": True, "nothing": "", "text": "auto", "bytes": b"12", "record": Record("Odd")},
    **{"zero": 0, "negative": -1, "huge": 10**400, "large": 2**62, "fraction": 0.5, "tiny": 1e-320, "vast": 1e300},
    **{"nan": float("nan"), "infinite": float("inf"), "scalar": np.float32(np.nan), "complex": 1j},
    **{"array": np.ones(3, np.float32), "empty": np.zeros(0), "matrices": np.zeros((3, 3, 3), np.float32)},
    **{"list": [1, 2, 3], "strange list": [[], {}, None], "dict": {1: 2}, "unhashable": ([], {}), "set": {1, 2}},
    **{"function": np.sum, "texts": ("a", "b", "c")},
}
_DEEP = ()
for _ in range(50_000):
    _DEEP = (_DEEP,)
ODD["deep"] = _DEEP


@pytest.mark.parametrize("kind", ODD)
def test_odd_attributes_are_refused_with_their_name_or_mean_something(kind):
    network = tiny.record()
    options = network.get("rendering_kwargs")
    tables = [("rendering_kwargs", options), *((path, record.attributes) for path, record in network.walk())]
    for path, table in tables:
        for name, value in list(table.items()):
            table[name] = ODD[kind]
            try:
                config = config_from(network)
            except ValueError as error:
                assert 10 < len(str(error)) < 2000
            else:
                # Whoever loads the checkpoint reads it by the same rules.
                hash(config)
                assert schema.as_dataclass(dataclasses.asdict(config), GeneratorConfig) == config, (path, name)
            table[name] = value


@pytest.mark.parametrize("kind", ODD)
def test_odd_tensors_are_refused(kind):
    for group in ("_parameters", "_buffers", "_modules"):
        network = tiny.record()
        table = network.child("backbone.synthesis.b8.conv1" if group != "_modules" else "decoder.net").attributes[group]
        table[next(iter(table))] = ODD[kind]
        with pytest.raises(ValueError, match="tensor|module|the class of"):
            eg3d.convert(network)


def test_widths_are_those_of_the_layers():
    """The constructor's arguments, which only EG3D's persistence keeps, are not needed."""
    config = config_from(tiny.record())
    assert (config.channel_base, config.channel_max) == (40, 8)


def test_numbers_of_numpy_are_numbers():
    problems, values = Problems(), {"a": np.int64(3), "b": np.float32(0.5), "c": np.ones(3), "d": np.True_}
    assert problems.size(values, "a", "x") == 3 and problems.number(values, "b", "x") == 0.5
    assert problems.numbers(values, "c", "x", (0.0,) * 3) == (1.0,) * 3 and problems.switch(values, "d", "x") is True
    assert not problems


def test_a_message_has_a_few_of_many_problems():
    problems = Problems(f"problem {i} {'x' * 1000}" for i in range(10_000))
    with pytest.raises(ValueError, match=r"problem 0(.|\n)*10000 in all") as error:
        problems.stop("it is odd")
    assert len(str(error.value)) < 4000
