"""Rows of which some entries matter: everything against NumPy."""

import jax.numpy as jnp
import numpy as np

from dnerf_jax.ops import ragged


def test_lists_have_no_gaps():
    need = np.random.default_rng(0).random((7, 5)) < 0.4
    indices, total = ragged.listed(jnp.asarray(need), capacity=40)
    expected = np.flatnonzero(need)
    assert total == len(expected) < 35
    np.testing.assert_array_equal(indices[:total], expected)
    np.testing.assert_array_equal(indices[total:], 35)


def test_lists_may_be_full_or_empty():
    full, total = ragged.listed(jnp.ones((3, 4), bool), capacity=12)
    np.testing.assert_array_equal(full, np.arange(12))
    empty, none = ragged.listed(jnp.zeros((3, 4), bool), capacity=12)
    assert (total, none) == (12, 0) and (np.asarray(empty) == 12).all()


def test_neighbours_are_flagged_too():
    flags = np.array([[0, 0, 1, 0, 0, 0], [1, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]], bool)
    expected = np.array([[0, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(ragged.widened(jnp.asarray(flags)), expected)


def test_sums_are_those_of_numpy():
    x = np.random.default_rng(0).random((3, 9)).astype(np.float32)
    np.testing.assert_allclose(ragged.running_sum(x), np.cumsum(x, axis=-1), rtol=1e-6)
    np.testing.assert_allclose(ragged.sum_before(x), np.cumsum(x, axis=-1) - x, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ragged.computed(x), x)


def test_lines_between_points():
    x = np.sort(np.random.default_rng(0).random((4, 6)), axis=-1).astype(np.float32)
    y = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
    at = np.linspace(x.min(axis=-1), x.max(axis=-1), 15, axis=-1).astype(np.float32)
    expected = [np.interp(at[i], x[i], y[i]) for i in range(4)]
    inside = (at > x[:, :1]) & (at < x[:, -1:])
    np.testing.assert_allclose(np.asarray(ragged.interpolate(x, y, at))[inside], np.array(expected)[inside], atol=1e-5)


def test_sorted_rows_are_merged_stably():
    draws = np.random.default_rng(0)
    a, b = (np.sort(draws.integers(0, 9, (5, n)), axis=-1).astype(np.float32) for n in (6, 4))
    both = np.concatenate([a, b], axis=-1)
    places = ragged.merged_places(a, b)
    np.testing.assert_array_equal(ragged.scatter(jnp.asarray(both), places), np.sort(both, axis=-1))
    order = np.argsort(both, axis=-1, kind="stable")
    np.testing.assert_array_equal(
        np.take_along_axis(np.asarray(places), order, axis=-1), np.tile(np.arange(10), (5, 1))
    )
    np.testing.assert_array_equal(ragged.merged_places(a, b[:, :0]), np.tile(np.arange(6), (5, 1)))
