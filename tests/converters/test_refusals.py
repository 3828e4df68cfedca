"""Values in bounded words: what is shown of them does not depend on how large or deep they are."""

import collections

import numpy as np
import pytest

from converters.records import Record
from converters.refusals import naming, shown


def test_small_values_are_shown_as_they_are():
    for value in (None, True, 3, 0.5, "text", (1, 2.0, "x"), [None], ()):
        assert shown(value) == repr(value).replace(",)", ")")


def test_large_and_deep_values_are_described():
    doubled, deep = (), ()
    for _ in range(60):
        doubled = (doubled, doubled)
    for _ in range(100_000):
        deep = (deep,)
    values = [doubled, deep, "x" * 10**6, 10**5000, [0] * 10**6, {"a": doubled}, b"x" * 10**6]
    values += [collections.OrderedDict(a=doubled), np.zeros((10**3, 10**3)), Record("x" * 10**6), {1, 2}]
    for value in values:
        assert len(shown(value)) < 100
    assert shown(np.zeros((2, 3), np.float32)) == "an array of the shape (2, 3) and the type float32"
    assert shown({"a": 1}) == "a dict of 1" and shown(Record("Linear")) == "a Record"


def test_errors_get_the_name_of_the_file():
    with pytest.raises(ValueError, match="net.pkl: it is small"), naming("net.pkl"):
        raise ValueError("it is small")
