"""Gauss-Newton: least squares in one iteration, curved valleys in few, and only what has a derivative moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.training.inversion import newton


def linear(model, target, params, key):
    return model @ jnp.concatenate([params["a"], params["b"][None]]) - target


def test_linear_least_squares_take_one_iteration(generator):
    a, b = generator.standard_normal((40, 13)).astype(np.float32), generator.standard_normal(40).astype(np.float32)
    start = {"a": jnp.zeros(12), "b": jnp.zeros(())}
    found = newton.refine(a, b, start, residuals=linear, iterations=1, damping=0.0)
    best = np.linalg.lstsq(a, b)[0]
    np.testing.assert_allclose(found.params["a"], best[:-1], atol=1e-4)
    np.testing.assert_allclose(found.params["b"], best[-1], atol=1e-4)
    np.testing.assert_allclose(found.losses, [np.sum(b**2)], rtol=1e-5)  # before the iteration


def valley(model, target, params, key):
    """Rosenbrock's: a curved valley, whose floor falls to (1, 1)."""
    x, y = params
    return jnp.stack([10 * (y - x * x), 1 - x])


def test_a_curved_valley_takes_few_iterations():
    told = []
    start = jnp.array([-1.2, 1.0])
    options = {"residuals": valley, "tell": lambda done, value: told.append((done, value))}
    found = newton.refine(None, None, start, iterations=30, **options)
    np.testing.assert_allclose(found.params, [1, 1], atol=1e-3)
    assert len(found.losses) < 25 and (np.diff(found.losses) < 0).all()
    assert [done for done, _ in told] == list(range(1, len(told) + 1)) and told[-1][1] < 1e-6


@jax.custom_vjp
def backwards_only(x):
    return jnp.sin(x)


def _forward(x):
    return jnp.sin(x), x


def _backward(x, cotangent):
    return (jnp.cos(x) * cotangent,)


backwards_only.defvjp(_forward, _backward)


def test_what_has_reverse_derivatives_only_is_refined(generator):
    """As the lookup of planes has, whose transposed form is written by hand."""
    a = jnp.asarray(generator.standard_normal((8, 3)), jnp.float32)
    true = jnp.array([0.3, -0.2, 0.4])

    def residuals(model, target, params, key):
        return backwards_only(a @ params) - jnp.sin(a @ true)

    with pytest.raises(TypeError, match="jvp"):
        jax.jvp(backwards_only, (true,), (true,))
    found = newton.refine(None, None, jnp.zeros(3), residuals=residuals, iterations=12)
    np.testing.assert_allclose(found.params, true, atol=1e-3)


def test_what_changes_nothing_stays_and_harms_nothing():
    """The length of z is such a direction, where the mapping normalises it."""

    def residuals(model, target, params, key):
        unit = params["z"] / jnp.linalg.norm(params["z"])
        return jnp.concatenate([unit - target, params["idle"] * 0.0])

    target = jnp.array([0.6, 0.8, 0.0])
    start = {"z": jnp.array([2.0, 0.1, 1.0]), "idle": jnp.array([7.0, -3.0])}
    found = newton.refine(None, target, start, residuals=residuals, iterations=15)
    np.testing.assert_array_equal(found.params["idle"], start["idle"])
    unit = found.params["z"] / jnp.linalg.norm(found.params["z"])
    np.testing.assert_allclose(unit, target, atol=1e-3)
    assert 1 < float(jnp.linalg.norm(found.params["z"])) < 6


def test_the_best_is_left_as_it_is_and_ends_at_once():
    def residuals(model, target, params, key):
        return jnp.concatenate([params, jnp.ones(1)])

    found = newton.refine(None, None, jnp.zeros(2), residuals=residuals, iterations=9)
    np.testing.assert_array_equal(found.params, 0)
    assert found.losses.tolist() == [1.0]
    assert newton.refine(None, None, jnp.ones(2), residuals=residuals, iterations=0).losses.shape == (0,)


@pytest.mark.exact
def test_trials_of_an_iteration_are_compared_on_the_same_draws(key):
    """So noise never looks like progress: with other draws each time, half of the useless steps would be taken."""
    seen = []

    def residuals(model, target, params, key):
        jax.debug.callback(lambda data: seen.append(tuple(np.ravel(data).tolist())), jax.random.key_data(key))
        return jnp.atleast_1d(jax.random.normal(jax.random.fold_in(key, 1)) + 0.0 * params[0])

    found = newton.refine(None, None, jnp.ones(1), residuals=residuals, iterations=3, key=key)
    jax.effects_barrier()
    assert len(found.losses) == 1 and set(seen) == {
        tuple(np.ravel(jax.random.key_data(jax.random.fold_in(key, 0))).tolist())
    }
