"""What messages list, and the near matches that they offer."""

import pytest

from dnerf_jax.ops import messages


def test_many_items_are_cut_short_and_counted():
    assert messages.some([]) == ""
    assert messages.some(range(3), 3) == "0, 1, 2"
    assert messages.some(range(4), 3) == "0, 1, 2, ... (4 in all)"
    assert messages.some(iter("ab"), separator="; ") == "a; b"
    assert [messages.count(n, "view") for n in (0, 1, 2, 1200)] == ["no view", "1 view", "2 views", "1,200 views"]


@pytest.mark.parametrize(
    "name, known, text",
    [
        ("lerning_rate", ["learning_rate", "steps"], "; did you mean 'learning_rate'?"),
        ("beta", ["optimizer.beta", "steps"], "; did you mean 'optimizer.beta'?"),
        ("zzz", ["a", "b"], "; known are a, b"),
        ("zzz", [], ""),
    ],
)
def test_near_matches(name, known, text):
    assert messages.did_you_mean(name, known) == text
