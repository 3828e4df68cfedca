"""The pure functions under JAX's transformations: plain, jit, vmap, grad, pmap and a sharded jit, with equal results.

Every subject maps one sample to outputs; its value and the gradient of a fixed sum of its outputs in its floating
inputs are computed for four samples one by one, and then by each transformation. Plain is operation by operation. Of
marching, which takes long, only the sharded jit, which is one of a vmap; of a whole rendering, by that, pmap and plain,
the value alone: its parts show the rest.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from dnerf_jax.models import generator, marching, scenes, semantic
from dnerf_jax.networks import stylegan2
from dnerf_jax.ops import cameras, points, triplane

pytestmark = pytest.mark.slow  # all render or train

NUM = 4


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def camera_batch():
    """Four cameras whose intrinsics differ, too."""
    camera = jax.jit(cameras.orbit)(np.linspace(-0.5, 0.5, NUM), np.linspace(0.2, -0.1, NUM))
    scale = np.linspace(0.9, 1.1, NUM, dtype=np.float32)[:, None, None] * np.ones((3, 3), np.float32)
    scale[:, 2] = 1
    return camera.replace(intrinsics=camera.intrinsics * scale)


def keys():
    return jax.vmap(partial(jax.random.fold_in, jax.random.key(5)))(jnp.arange(NUM))


def of_rays(model):
    return partial(cameras.rays, resolution=5), (camera_batch(),)


def of_sample(model):
    function = partial(triplane.sample, box_warp=0.9)
    points = np.random.default_rng(1).uniform(-0.6, 0.6, (NUM, 40, 3)).astype(np.float32)
    return function, (draw(NUM, 3, 8, 8, 4), points)


def of_march(model):
    def function(planes, camera, key):
        samples = marching.march(model.generator, planes, cameras.rays(camera, 4), key=key)
        return marching.feature_image(model.generator.config, samples), samples.distance, samples.opacity

    return function, (draw(NUM, 3, 8, 8, 4), camera_batch(), keys())


def of_render(model):
    """From latent and camera to all that a view has, where it is finite; test_surfaces has the normals' gradients."""

    def function(z, camera, key):
        view = scenes.render(model, scenes.synthesize(model, z), camera, key=key)
        view = view.replace(normal=jax.lax.stop_gradient(view.normal))
        return jax.tree.map(lambda x: jnp.where(jnp.isfinite(x), x, 0), view)

    return function, (draw(NUM, 8), camera_batch(), keys())


def value_and_gradient(function):
    """Outputs of one sample, and the gradient of their weighted sum in all inputs but the key."""

    def total(inputs, key):
        outputs = function(*inputs, *key)
        leaves = [x for x in jax.tree.leaves(outputs) if jnp.issubdtype(x.dtype, jnp.floating)]
        return sum(jnp.mean(x * jnp.sin(jnp.arange(x.size) + 1.0).reshape(x.shape)) for x in leaves), outputs

    def run(*arguments):
        keyed = jnp.issubdtype(jax.tree.leaves(arguments[-1])[0].dtype, jax.dtypes.prng_key)
        inputs, key = (arguments[:-1], arguments[-1:]) if keyed else (arguments, ())
        (_, outputs), gradient = jax.value_and_grad(total, has_aux=True)(inputs, key)
        return outputs, gradient

    return run


def one_by_one(function):
    def run(*arguments):
        results = [function(*jax.tree.map(lambda x, i=i: x[i], arguments)) for i in range(NUM)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *results)

    return run


def sharded(function):
    """One jit whose batch is spread over four devices."""

    def run(*arguments):
        mesh = jax.make_mesh((NUM,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        spread = NamedSharding(mesh, PartitionSpec("data"))
        results = jax.jit(jax.vmap(function), out_shardings=spread)(*jax.device_put(arguments, spread))
        assert all(len(leaf.sharding.device_set) == NUM for leaf in jax.tree.leaves(results))
        return results

    return run


TRANSFORMATIONS = {"vmap": lambda function: jax.jit(jax.vmap(function)), "pmap": jax.pmap, "sharded": sharded}
SUBJECTS = {"rays": of_rays, "sample": of_sample, "march": of_march, "render": of_render}
CASES = [(part, transformation) for part in ("rays", "sample") for transformation in TRANSFORMATIONS]
CASES += [("march", "sharded")]


@pytest.fixture(scope="module")
def compiled(small_model):
    """The results of a subject, one sample by one under jit: computed once, when first asked for."""
    results = {}

    def get(name):
        if name not in results:
            function, arguments = SUBJECTS[name](small_model)
            run = one_by_one(jax.jit(value_and_gradient(function)))
            results[name] = jax.tree.map(np.asarray, run(*arguments))
        return results[name]

    return get


def assert_close(ours, expected):
    for value, reference in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        value, reference = np.asarray(value), np.asarray(reference)
        assert value.shape == reference.shape and value.dtype == reference.dtype
        if value.dtype == np.uint8:
            np.testing.assert_array_equal(value, reference)
            continue
        for sample in range(len(value)):
            error = np.linalg.norm(value[sample] - reference[sample]) / (np.linalg.norm(reference[sample]) + 1e-6)
            assert error < 1e-4


@pytest.mark.parametrize("subject, transformation", CASES)
def test_values_and_gradients_are_the_same(subject, transformation, small_model, compiled):
    assert jax.device_count() == NUM
    function, arguments = SUBJECTS[subject](small_model)
    results = TRANSFORMATIONS[transformation](value_and_gradient(function))(*arguments)
    assert_close(results, compiled(subject))


def test_values_and_gradients_are_the_same_without_jit(small_model, compiled):
    function, arguments = of_sample(small_model)
    first = value_and_gradient(function)(*first_of(arguments))
    assert_close(*(jax.tree.map(lambda x: x[None], result) for result in (first, first_of(compiled("sample")))))


@pytest.mark.parametrize("transformation", ["pmap", "sharded"])
def test_a_rendering_is_the_same(transformation, small_model, compiled):
    function, arguments = of_render(small_model)
    assert_close(TRANSFORMATIONS[transformation](function)(*arguments), compiled("render")[0])


def test_a_rendering_is_the_same_without_jit(small_model, compiled):
    """All of it but the labels, whose branch is more of the same operations."""
    unlabelled, (z, camera, key) = small_model.replace(semantic=None), first_of(of_render(small_model)[1])
    view = scenes.render(unlabelled, jax.jit(scenes.synthesize)(unlabelled, z), camera, key=key)
    view = jax.tree.map(lambda x: np.where(np.isfinite(x), x, 0), view)
    expected = first_of(compiled("render")[0]).replace(logits=None, mask=None, confidence=None, semantic_raw=None)
    assert_close(*(jax.tree.map(lambda x: x[None], result) for result in (view, expected)))


def first_of(tree):
    return jax.tree.map(lambda x: x[0], tree)


def test_numbers_are_float32_also_where_jax_has_float64(small_model, compiled):
    """Values, gradients and what is drawn are the same under JAX_ENABLE_X64; of a whole rendering, values."""
    render, march = (make(small_model) for make in (of_render, of_march))
    with jax.enable_x64(True):
        view = jax.jit(render[0])(*first_of(render[1]))
        marched = jax.jit(value_and_gradient(march[0]))(*first_of(march[1]))
    for results, expected in ((view, compiled("render")[0]), (marched, compiled("march"))):
        assert_close(*(jax.tree.map(lambda x: x[None], result) for result in (results, first_of(expected))))


def test_what_is_drawn_is_float32_also_where_jax_has_float64(small_model):
    generator_config, config = small_model.generator.config, small_model.semantic.config
    generator_config = dataclasses.replace(generator_config, plane_resolution=4)

    def draws(key):
        key, of_generator, of_branch, of_rays, of_noise = jax.random.split(key, 5)
        zeros = (jnp.zeros(shape, jnp.float32) for shape in ((1, 4, 4, 2), (1, 3)))
        return (
            generator.init(generator_config, of_generator),
            semantic.init(config, generator_config, of_branch),
            marching.draw_uniforms(generator_config.rendering, (2,), key=of_rays),
            stylegan2.ModulatedConv(2, 4).init_with_output(key, *zeros, "random", of_noise[None]),
        )

    expected = jax.jit(draws)(jax.random.key(0, impl="rbg"))
    with jax.enable_x64(True):
        found = jax.jit(draws)(jax.random.key(0, impl="rbg"))
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert ours.dtype == theirs.dtype == jnp.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_no_nan_is_made_on_the_way(tiny_semantic_model):
    """JAX_DEBUG_NANS looks at every result: of scenes with something and nothing to see, and of their clouds."""
    camera = scenes.default_camera(tiny_semantic_model, jnp.array([0.0, 0.1]))
    away = camera.cam2world @ np.diag([-1.0, 1, -1, 1]).astype(np.float32)
    with jax.debug_nans(True):
        scene = jax.jit(scenes.synthesize)(tiny_semantic_model, draw(8))
        for poses in (camera, camera.replace(cam2world=away)):
            view = jax.jit(scenes.render)(tiny_semantic_model, scene, poses)
            assert (len(points.from_view(view)) > 0) == (poses is camera)
            assert not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(view))


def test_the_default_device_is_where_things_are_made(small_model):
    first, other = jax.devices()[:2]
    with jax.default_device(other):
        camera = scenes.default_camera(small_model)
        scene = jax.jit(scenes.synthesize)(small_model, draw(8))
        view = jax.jit(scenes.render)(small_model, scene, camera)
    assert all(leaf.devices() == {other} for leaf in jax.tree.leaves((camera, scene, view)))
    # Arrays of several devices meet where one of them was put.
    on_first = jax.device_put(small_model, first)
    assert jax.jit(scenes.synthesize)(on_first, draw(8)).ws.devices() == {first}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_gradients_are_finite_and_reach_every_input(subject, compiled):
    _, gradient = compiled(subject)
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all()
        assert (np.abs(leaf).reshape(NUM, -1).max(-1) > 1e-8).all()


def test_each_sample_has_its_own_key(small_model):
    function, (planes, camera, key) = of_march(small_model)
    same = jnp.broadcast_to(planes[:1], planes.shape), jax.tree.map(lambda x: x[jnp.zeros(NUM, int)], camera)
    image = jax.jit(jax.vmap(function))(*same, key[jnp.array([0, 1, 1, 2])])[0]
    np.testing.assert_allclose(image[1], image[2], atol=1e-6)
    for other in (0, 3):
        assert np.abs(image[1] - image[other]).max() > 1e-3


def test_gradient_is_that_of_finite_differences(small_model):
    """Along a random direction, through planes and camera, at fixed sample depths."""
    config = small_model.generator.config
    rendering = dataclasses.replace(config.rendering, depth_resolution=12, depth_resolution_importance=0)
    made = small_model.generator.replace(config=dataclasses.replace(config, rendering=rendering))
    planes, direction = draw(3, 8, 8, 4), draw(3, 8, 8, 4, seed=1)

    @jax.jit
    def total(shift):
        rays = cameras.rays(cameras.orbit(0.2, 0.1), 3)
        samples = marching.march(made, planes + shift * direction, rays)
        return jnp.mean(marching.feature_image(made.config, samples)[..., :3]) + jnp.mean(samples.distance)

    step = 1e-3
    difference = (total(step) - total(-step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(total)(0.0), difference, rtol=0.02, atol=1e-4)
