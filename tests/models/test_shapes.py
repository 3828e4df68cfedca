"""Meshes of scenes: in the box, coloured, labelled; and what points say alone is what opaque rays say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import generator, scenes, semantic, shapes

pytestmark = pytest.mark.slow  # all render or train

# Compiled as wholes: operation by operation takes many times as long.
decode, classify = jax.jit(generator.decode), jax.jit(semantic.classify, static_argnums=1)


@pytest.fixture(scope="module")
def scene(tiny_semantic_model):
    return jax.jit(scenes.synthesize)(tiny_semantic_model, np.random.default_rng(0).standard_normal(8))


def test_a_mesh_of_a_scene_has_colours_and_labels(tiny_semantic_model, scene):
    # The density is random: its median is a surface somewhere.
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (500, 3)).astype(np.float32)
    level = float(np.median(decode(tiny_semantic_model.generator, scene.planes, points)[0]))
    mesh = shapes.extract_mesh(tiny_semantic_model, scene, resolution=12, level=level)
    assert np.abs(mesh.vertices).max() <= 0.5 and len(mesh.faces) > 20
    assert mesh.colors.shape == mesh.vertices.shape and mesh.label_map is tiny_semantic_model.label_map
    found = classify(
        tiny_semantic_model.semantic, tiny_semantic_model.generator.config, scene.semantic_planes, mesh.vertices
    )
    np.testing.assert_array_equal(mesh.labels, np.argmax(found, axis=-1))


def test_a_batch_of_scenes_has_no_one_mesh(tiny_semantic_model, scene):
    with pytest.raises(ValueError, match=r"batch of shape \(1,\), expected one: index it"):
        shapes.extract_mesh(tiny_semantic_model, scene[None])
    with pytest.raises(ValueError, match="the scene no planes for it"):
        shapes.extract_mesh(tiny_semantic_model, scene.replace(semantic_planes=None))


def test_points_are_classified_as_rays_that_they_stop(tiny_semantic_model, scene):
    branch, config = tiny_semantic_model.semantic, tiny_semantic_model.generator.config
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (6, 3)).astype(np.float32)
    raw = classify(branch, config, scene.semantic_planes, points)
    # The same as the raw map of a picture of these rays.
    selected = semantic.Selected(jnp.asarray(points).reshape(2, 3, 1, 3), jnp.ones((2, 3, 1)))

    @jax.jit
    def look(branch, planes, selected):
        features = semantic.render(branch, config, planes, selected)
        return semantic.super_resolve(branch, config, jnp.pad(features, ((0, 1), (0, 0), (0, 0)))[None])

    expected, _ = look(branch, scene.semantic_planes, selected)
    np.testing.assert_allclose(raw.reshape(2, 3, 5), expected[0, :2], rtol=1e-4, atol=1e-5)
