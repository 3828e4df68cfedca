"""Entries of a batch, together or one by one, with arguments that some of them share."""

import jax
import numpy as np
import pytest

from dnerf_jax.ops import broadcasting


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize(
    "shapes", [((2, 3), (2, 3)), ((2, 1), (3,)), ((), (2, 3)), ((1, 3), (2, 1)), ((), ()), ((1,), (1,))], ids=str
)
def test_every_entry_is_computed_with_its_arguments(shapes, one_by_one):
    draws = np.random.default_rng(0)
    a, b = (draws.standard_normal((*shape, 4)) for shape in shapes)
    batch = np.broadcast_shapes(*shapes)
    calls = []

    def function(x, tree):
        calls.append((x.shape, tree["y"].shape))
        return {"product": x * tree["y"], "total": x.sum()}

    found = broadcasting.over_batch(function, batch, shapes, a, {"y": b}, one_by_one=one_by_one)
    assert set(calls) == {((4,), (4,))}
    np.testing.assert_allclose(found["product"], np.broadcast_to(a * b, (*batch, 4)), rtol=1e-6)
    np.testing.assert_allclose(found["total"], np.broadcast_to(a.sum(-1), batch), rtol=1e-6)


def test_loops_that_are_mapped_end_with_their_entry():
    """Under `vmap` a loop runs for all entries until the last is done; one by one it does not."""

    def count(n):
        return jax.lax.while_loop(lambda carry: carry < n, lambda carry: carry + 1, 0)

    def loops(one_by_one):
        entries = np.arange(4, dtype=np.int32)
        program = jax.make_jaxpr(lambda n: broadcasting.over_batch(count, (4,), ((4,),), n, one_by_one=one_by_one))
        return str(program(entries))

    assert "scan" in loops(True) and "scan" not in loops(False)


def test_keys_are_split_entry_by_entry():
    keys = jax.random.split(jax.random.key(0), 6).reshape(2, 3)
    first, second = broadcasting.split_each(keys)
    assert first.shape == second.shape == (2, 3)
    expected = jax.random.split(jax.random.split(jax.random.key(0), 6)[4])
    assert (jax.random.key_data(first[1, 1]) == jax.random.key_data(expected[0])).all()
    assert broadcasting.split_each(None) == (None, None)
