"""What is sought: free numbers leave it and return to it unchanged, and every description gives the same scene."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import scenes
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.subject import Subject


@pytest.fixture(scope="module")
def orbit(tiny_model):
    """Two poses."""
    return subjects.default_orbit(tiny_model, jnp.array([0.2, -0.3]), jnp.array([0.1, 0.0]))


@pytest.fixture(scope="module")
def z():
    return jnp.asarray(np.random.default_rng(0).standard_normal(8), jnp.float32)


@pytest.fixture(scope="module")
def weights(tiny_model):
    """The generator's parts that tuning changes."""
    params = tiny_model.generator.variables["params"]
    return {name: params[name] for name in subjects.TUNED if name in params}


@pytest.mark.parametrize("latent", ["z", "ws", "weights"])
@pytest.mark.parametrize("free", [(), ("yaw", "pitch"), tuple(subjects.UNITS)])
def test_what_is_free_comes_back_as_it_was(orbit, z, weights, latent, free):
    ws = jnp.ones((5, 16))
    one = Subject(z if latent == "z" else None, ws if latent != "z" else None, orbit, weights)
    params = subjects.free_part(one, latent, free)
    assert set(params) == {latent, "camera"} and set(params["camera"]) == set(free)
    back = subjects.joined(one, params)
    assert jax.tree.structure(back) == jax.tree.structure(one)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), back, one)


def test_a_change_of_what_is_free_is_a_change_of_that_alone(orbit, z):
    one = Subject(z, None, orbit)
    params = subjects.free_part(one, "z", ("focal", "yaw"))
    params["camera"]["focal"] += 0.5
    moved = subjects.joined(one, params)
    np.testing.assert_allclose(moved.orbit.focal, orbit.focal + 0.5 * subjects.UNITS["focal"], rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, moved.replace(orbit=orbit), one)
    np.testing.assert_array_equal(moved.orbit.pivot, orbit.pivot)


def test_a_latent_and_its_ws_are_one_scene(tiny_model, orbit, z):
    synthesize = jax.jit(subjects.synthesize)
    by_z = synthesize(tiny_model, Subject(z, None, orbit))
    expected = jax.jit(scenes.synthesize)(tiny_model, z)
    np.testing.assert_allclose(by_z.planes, expected.planes, atol=1e-4)
    one = subjects.ws_of(tiny_model, Subject(None, by_z.ws[:1], orbit))
    assert one.shape == by_z.ws.shape
    np.testing.assert_allclose(one, by_z.ws, atol=1e-6)  # without truncation, all layers have the same


def test_tuned_weights_are_those_that_render(tiny_model, orbit, z, weights):
    assert {"synthesis", "decoder"} <= set(weights)
    assert subjects.model_of(tiny_model, Subject(z, None, orbit)) is tiny_model
    changed = jax.tree.map(lambda x: x + 1, weights)
    tuned = subjects.model_of(tiny_model, Subject(z, None, orbit, changed))
    params, before = tuned.generator.variables["params"], tiny_model.generator.variables["params"]
    assert set(params) == set(before)
    for name in before:
        jax.tree.map(np.testing.assert_array_equal, params[name], changed.get(name, before[name]))


def test_the_default_orbit_is_the_generators(tiny_model):
    yaw, pitch = jnp.array([0.2, -0.3]), jnp.array([0.1, 0.0])
    camera = subjects.camera_of(Subject(None, None, subjects.default_orbit(tiny_model, yaw, pitch)))
    expected = scenes.default_camera(tiny_model, yaw, pitch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), camera, expected)


@pytest.mark.parametrize("latent", ["z", "ws"])
def test_a_first_scene_is_a_handful_of_programs(tiny_model, orbit, z, latent):
    """What stands outside of `jit` is compiled operation by operation, and a scene has hundreds."""
    one = Subject(z, None, orbit) if latent == "z" else Subject(None, jnp.ones((1, 16)), orbit)
    for function in (subjects.synthesize, lambda _, subject: subjects.camera_of(subject)):
        assert len(jax.make_jaxpr(function)(tiny_model, one).eqns) <= 3
