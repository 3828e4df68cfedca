"""Records: modules within modules, of any shape that a file may give them."""

import numpy as np
import pytest

from converters.records import Record


def test_refuses_a_module_that_contains_itself():
    record = Record("Loop", {})
    record.attributes["_modules"] = {"again": record}
    with pytest.raises(ValueError, match="again contains itself"):
        record.state_dict()


def test_modules_that_are_shared_are_counted_and_deep_ones_refused():
    shared = Record("Layer", {"_parameters": {"weight": np.ones(2)}})
    assert set(Record("Net", {"_modules": {"a": shared, "b": shared}}).state_dict()) == {"a.weight", "b.weight"}
    for names, depth in (("ab", 20), ("a", 100), ("a", 5000)):
        network = shared
        for _ in range(depth):
            network = Record("Net", {"_modules": dict.fromkeys(names, network)})
        with pytest.raises(ValueError, match="more than 10000 modules, or modules more than 50 deep"):
            network.state_dict()


def test_tensors_that_are_shared_are_counted():
    table = {f"w{i}": np.ones(1) for i in range(200)}
    layers = {f"l{i}": Record("Layer", {"_parameters": table}) for i in range(60)}
    with pytest.raises(ValueError, match="more than 10000 tensors"):
        Record("Net", {"_modules": layers}).state_dict()


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("_modules", ["x"], r"_modules of the network is \['x'\], expected a dict"),
        ("_modules", np.ones(3), "_modules of the network is an array of the shape"),
        ("_parameters", {("a", "b"): np.ones(2)}, "has the name .'a', 'b'., expected letters"),
        ("_parameters", {"a" * 101: np.ones(2)}, "expected letters"),
        ("_parameters", {"a.b": np.ones(2)}, "expected letters"),
        ("_buffers", {"w_avg": 3}, "w_avg is 3, expected a tensor"),
        ("_buffers", dict.fromkeys(map(str, range(10_001))), "10001 entries"),
    ],
)
def test_tables_are_what_they_should_be(name, value, words):
    with pytest.raises(ValueError, match=words):
        Record("Net", {name: value}).state_dict()
