"""Ranges: which numbers they allow, and how they say so."""

import math

import pytest

from dnerf_jax.ops.ranges import Range


@pytest.mark.parametrize(
    "allowed, inside, outside, text",
    [
        (Range(least=1), (1, 10**12), (0, -1, math.inf, math.nan), "at least 1"),
        (Range(above=0), (1e-30, 5), (0, -1e-30), "above 0"),
        (Range(least=0, below=1), (0, 0.99), (1, -0.1), "at least 0 and below 1"),
        (Range(least=0, most=2**31 - 1), (0, 2**31 - 1), (2**31, -1), "at least 0 and at most 2,147,483,647"),
    ],
)
def test_a_range_knows_what_is_in_it(allowed, inside, outside, text):
    assert all(value in allowed for value in inside)
    assert not any(value in allowed for value in outside)
    assert str(allowed) == text
