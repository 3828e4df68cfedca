"""Leaving out what is empty changes nothing that one sees, whatever the scene, the batch, or the transformation."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import occupancy, scenes, semantic, skipping
from dnerf_jax.models.occupancy import Bounds

pytestmark = pytest.mark.slow  # all render

render = jax.jit(scenes.render, static_argnames=("skip_empty", "rows_at_once"))
skipped = partial(render, skip_empty=True)


@pytest.fixture(scope="module")
def poses(tiny_config):
    """Three cameras on the generator's orbit."""
    return scenes.default_camera(tiny_config, jnp.array([-0.4, 0.0, 0.3]), jnp.array([0.1, 0.0, -0.2]))


@pytest.fixture(scope="module")
def made(small_model):
    """Three scenes, and bounds that call nothing empty: then the same samples are composited."""
    z = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    scene = jax.jit(scenes.synthesize)(small_model, z)
    size = occupancy.PARTS * (8 + 2)
    return scene, Bounds(jnp.ones((3, size, size, size), bool))


@pytest.fixture(scope="module")
def whole(small_model, made, poses):
    return jax.tree.map(np.asarray, render(small_model, made[0], poses))


@pytest.fixture(scope="module")
def views(small_model, made, poses):
    return jax.tree.map(np.asarray, skipped(small_model, made[0], poses, bounds=made[1]))


def assert_nearly_the_same(view, other, tolerance):
    """Relative errors of all that is to be seen: what is cut gets `skipping.MISSED` of a ray's light at most."""
    labelled = ("logits", "semantic_raw") if view.mask is not None else ()
    for name in ("image", "image_raw", "opacity", *labelled):
        ours, theirs = np.asarray(getattr(view, name)), np.asarray(getattr(other, name))
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        assert error <= tolerance, f"{name} differs by {error:.2g}"
    solid = np.isfinite(view.distance) & np.isfinite(other.distance)
    assert (np.isfinite(view.distance) == np.isfinite(other.distance)).mean() > 0.99
    np.testing.assert_allclose(np.asarray(view.depth_z)[solid], np.asarray(other.depth_z)[solid], atol=10 * tolerance)
    if labelled:
        assert (np.asarray(view.mask) == np.asarray(other.mask)).mean() > 0.98


def test_a_scene_that_fills_everything_is_not_cut(views, whole):
    """Every sample of every ray is looked at, which takes all the chunks and blocks that there are."""
    assert_nearly_the_same(views, whole, skipping.MISSED / 5)
    normals = np.abs(views.normal - whole.normal)
    assert np.quantile(normals, 0.98) < 1e-2


def test_rays_that_guesses_cut_too_early_are_looked_at_again(small_model, made, poses, views, monkeypatch):
    """Guesses that everything is hidden at once do not change the view."""
    monkeypatch.setattr(skipping, "_at_least", lambda raw, depths: jnp.full_like(depths[:, 1:], 1e3))

    @jax.jit
    def again(scene, camera, bounds):
        view = scenes.render(small_model, scene, camera, bounds=bounds, skip_empty=True)
        return view.image_raw, view.opacity

    image, opacity = again(made[0], poses, made[1])
    assert np.isfinite(image).all()
    assert np.abs(opacity - views.opacity).max() < 0.3  # importance depths come from other coarse densities
    assert np.abs(opacity.mean() - views.opacity.mean()) < 0.03


def test_empty_scenes_are_background(small_model, made, poses):
    scene, full = made
    nothing = skipped(small_model, scene, poses, bounds=Bounds(jnp.zeros_like(full.occupied)))
    assert not np.asarray(nothing.opacity).any() and not np.isfinite(nothing.distance).any()
    assert not np.asarray(nothing.normal).any()
    np.testing.assert_array_equal(nothing.image_raw, -1)
    raw = np.asarray(nothing.semantic_raw)
    np.testing.assert_array_equal(raw, np.broadcast_to(raw[0, 0, 0], raw.shape))
    np.testing.assert_allclose(raw[0, 0, 0], small_model.semantic.params["background"][:5], rtol=1e-5)


def test_a_view_has_the_same_bits_whatever_it_is_beside(small_model, made, poses, views):
    """Views are made one after the other by one program, whatever the others are."""
    scene, full = made
    beside = skipped(small_model, scene[np.array([2, 1, 0])], poses[np.array([2, 1, 0])], bounds=full)
    for name in ("image", "logits", "distance", "mask"):
        np.testing.assert_array_equal(getattr(beside, name)[1], getattr(views, name)[1], err_msg=name)


def test_views_do_not_depend_on_how_many_views_and_rays_are_rendered_at_once(small_model, made, poses, views):
    scene, full = made
    alone = skipped(small_model, scene[1:2], poses[1:2], bounds=full[1:2], rows_at_once=1)
    assert_nearly_the_same(alone[0], views[1], 1e-5)


def test_scenes_and_cameras_broadcast_and_bounds_are_found(small_model, made, poses):
    """Without bounds they are found; entry (i, j) of a grid is scene i from camera j, under `vmap` too."""
    scene, _ = made
    found = jax.jit(scenes.bounds)(small_model, scene)
    grid = skipped(small_model, scene[:2, None], poses)
    expected = skipped(small_model, scene, poses, bounds=found)  # by the program of all views here
    assert grid.image.shape == (2, 3, 16, 16, 3)

    @jax.jit
    @jax.vmap
    def mapped(scene, camera, bounds):
        view = scenes.render(small_model, scene, camera, bounds=bounds, skip_empty=True)
        return view.image_raw, view.semantic_raw

    image, semantic_raw = mapped(scene[:2], poses[:2], found[:2])
    for i in range(2):
        assert_nearly_the_same(grid[i, i], expected[i], 1e-5)
        np.testing.assert_allclose(image[i], expected.image_raw[i], atol=1e-4)
        np.testing.assert_allclose(semantic_raw[i], expected.semantic_raw[i], atol=1e-3)


def test_random_depths_are_those_of_the_key(small_model, made, poses):
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(7), i))(jnp.arange(3))
    model, scene = small_model.replace(semantic=None, label_map=None), made[0].replace(semantic_planes=None)
    view = skipped(model, scene, poses, bounds=made[1], key=keys)
    expected = render(model, scene, poses, key=jax.random.clone(keys))
    assert_nearly_the_same(view, expected, skipping.MISSED / 5)


def test_a_branch_with_its_own_density_is_rendered_as_ever(small_model, made, poses):
    """Its density may lie anywhere, so that nothing can be skipped: the program is the same."""
    generator_config = small_model.generator.config
    config = dataclasses.replace(small_model.semantic.config, density_prior=False)
    model = small_model.replace(semantic=semantic.abstract(config, generator_config))

    def program(skip_empty):
        def see(model, scene, camera):
            return scenes.render(model, scene, camera, skip_empty=skip_empty).logits

        return jax.jit(see).lower(model, made[0], poses).as_text()

    assert program(True) == program(False)
