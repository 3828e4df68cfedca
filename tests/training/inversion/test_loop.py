"""Scanned steps are the plain loop's, go on where they were saved, and stop where nothing is gained or all is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from interruption import kill

from dnerf_jax.training import runs
from dnerf_jax.training.inversion import loop

START = {"z": np.array([2.0, -1.0, 0.5], np.float32), "pose": np.float32(0.3)}
TARGET = jnp.array([0.5, 0.25, -1.0])
ADAM = optax.adam(optax.cosine_decay_schedule(0.1, 50))


def noisy(model, target, params, key):
    """A bowl whose bottom trembles."""
    away = model * params["z"] - target + 0.1 * jax.random.normal(key, (3,))
    return jnp.sum(jnp.square(away)) + jnp.square(params["pose"])


def plain(steps, key):
    """The same by a loop in Python."""
    params, losses = jax.tree.map(jnp.asarray, START), []
    memory = ADAM.init(params)
    for step in range(steps):
        value, grads = jax.value_and_grad(noisy, argnums=2)(2.0, TARGET, params, jax.random.fold_in(key, step))
        updates, memory = ADAM.update(grads, memory, params)
        params = optax.apply_updates(params, updates)
        losses.append(float(value))
    return params, losses


def found(**options):
    return loop.invert(2.0, TARGET, START, **{"loss": noisy, "optimizer": ADAM, "steps": 23} | options)


@pytest.mark.parametrize("steps_at_once", [1, 7, 50])
def test_steps_are_those_of_a_plain_loop_however_many_at_once(key, steps_at_once):
    told = []
    made = found(key=key, steps_at_once=steps_at_once, tell=lambda done, value: told.append((done, value)))
    params, losses = plain(23, key)
    np.testing.assert_allclose(made.losses, losses, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), made.params, params)
    assert [done for done, _ in told] == [*range(steps_at_once, 23, steps_at_once), 23]
    last = 23 % steps_at_once or steps_at_once
    assert told[-1][1] == pytest.approx(np.mean(losses[-last:]), rel=1e-5)


def test_the_start_stays_the_callers_and_no_steps_leave_it():
    start = jax.tree.map(jnp.asarray, START)
    loop.invert(2.0, TARGET, start, loss=noisy, optimizer=ADAM, steps=3)
    jax.tree.map(np.testing.assert_array_equal, start, START)
    made = found(steps=0)
    jax.tree.map(np.testing.assert_array_equal, made.params, START)
    assert made.losses.shape == (0,)


def test_one_program_serves_other_models_and_targets():
    before = loop._steps._cache_size()
    for shift in (0.0, 1.0, 2.0):
        loop.invert(2.0 + shift, TARGET + shift, START, loss=noisy, optimizer=ADAM, steps=10, steps_at_once=5)
    assert loop._steps._cache_size() <= before + 1


def test_a_killed_search_goes_on_with_equal_results(tmp_path):
    def saved(folder):
        with runs.Checkpoints(tmp_path / folder, every=1) as checkpoints:
            return found(steps_at_once=5, saved=checkpoints)

    straight = saved("straight")
    kill(lambda: saved("killed"), loop, "_steps", 2)
    resumed = saved("killed")
    again = saved("killed")  # and a finished one is not repeated
    for other in (resumed, again):
        jax.tree.map(np.testing.assert_array_equal, other, straight)


def still(model, target, params, key):
    return 1.0 + 0.0 * jnp.sum(params["z"])


def test_patience_ends_what_brings_nothing_and_saved_it_stays_ended(tmp_path):
    with runs.Checkpoints(tmp_path / "saved", every=1) as checkpoints:
        options = {"loss": still, "steps": 100, "steps_at_once": 4, "patience": 6, "saved": checkpoints}
        assert len(found(**options).losses) == 12  # twice the patience, at the next look
        assert len(found(**options).losses) == 12
    falling = loop.invert(
        1.0, TARGET, START, loss=noisy, optimizer=optax.sgd(0.01), steps=40, steps_at_once=4, patience=6
    )
    assert len(falling.losses) == 40


@pytest.mark.parametrize("what", ["loss", "norm of the parameters"])
def test_what_is_not_finite_stops_at_its_step_with_what_was_saved(tmp_path, what):
    def breaking(model, target, params, key):
        # Of the square root at 0 the value is finite, its derivative is not.
        hole = jnp.sqrt(jnp.abs(params["z"][0])) if what != "loss" else jnp.log(params["z"][0])
        return 0.0 * hole + jnp.sum(params["z"])

    start = {"z": jnp.array([3.0, 0.0])}
    with runs.Checkpoints(tmp_path / "saved", every=1) as checkpoints:
        with pytest.raises(FloatingPointError, match=f"{what} is .*at step 4"):
            loop.invert(
                1.0,
                TARGET,
                start,
                loss=breaking,
                optimizer=optax.sgd(1.0),
                steps=20,
                steps_at_once=1 if what != "loss" else 2,
                saved=checkpoints,
            )
        assert checkpoints.latest_step == (3 if what != "loss" else 2)
