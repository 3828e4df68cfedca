"""Points, clouds and meshes of bodies go to the canonical world and back."""

import dataclasses

import bending_box
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import scenes, shapes
from dnerf_jax.models.articulated import Pose
from dnerf_jax.models.generator import Generator
from dnerf_jax.worlds import bodies


@pytest.fixture(scope="module")
def model(tiny_semantic_model):
    """The tiny generator in the bodies world's template."""
    made = tiny_semantic_model.generator
    articulation = dataclasses.replace(bodies.articulation(), shape_hidden=0)
    rendering = dataclasses.replace(made.config.rendering, box_warp=1.0)
    config = dataclasses.replace(made.config, articulation=articulation, rendering=rendering)
    template = jax.tree.map(jnp.asarray, bodies.template())
    return tiny_semantic_model.replace(generator=Generator(config, {**made.variables, "template": template}))


@pytest.fixture(scope="module")
def scene(model):
    """A scene in a drawn pose."""
    drawn = bodies.sample_pose(np.random.default_rng(0))
    pose = Pose(drawn.rotations, drawn.translation, np.float32(1), np.zeros(16, np.float32))
    z = jax.random.normal(jax.random.key(3), (8,), jnp.float32)
    return jax.jit(scenes.synthesize)(model, z, pose=pose)


def test_points_near_the_surface_go_there_and_back(model, scene):
    rng = np.random.default_rng(1)
    corners = np.asarray(scene.body.posed)[np.asarray(scene.body.faces)]
    shares = rng.dirichlet(np.ones(3), len(corners))
    on = np.einsum("fk,fki->fi", shares, corners).astype(np.float32)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    points = on + 0.004 * across / np.linalg.norm(across, axis=1, keepdims=True)
    canonical, inside = jax.jit(scenes.to_canonical)(model, scene, points)
    back, still_inside = jax.jit(scenes.to_posed)(model, scene, canonical)
    assert np.asarray(inside).all() and np.asarray(still_inside).all()
    # Where limbs bend, faces overlap in one of the two worlds.
    off = np.linalg.norm(np.asarray(back) - points, axis=1)
    assert np.median(off) < 2e-6 and np.mean(off < 2e-4) > 0.85
    on_canonical = np.einsum("fk,fki->fi", shares, np.asarray(scene.body.canonical)[np.asarray(scene.body.faces)])
    found = np.linalg.norm(np.asarray(canonical) - on_canonical, axis=1)
    np.testing.assert_allclose(np.median(found), 0.004, atol=2e-4)


@pytest.fixture(scope="module")
def box(tiny_semantic_model):
    """A model of few faces, and a scene of it in a pose."""
    made = bending_box.in_a_box(tiny_semantic_model)
    pose = bending_box.pose(bending_box.turn(0.4, axis=0), bending_box.turn(0.6), translation=(0.1, 0.0, -0.2))
    return made, jax.jit(scenes.synthesize)(made, np.linspace(-1, 1, 8, dtype=np.float32), pose=pose)


def test_a_mesh_is_labelled_in_the_canonical_world_and_carried_into_the_pose(box):
    model, scene = box
    canonical = shapes.extract_mesh(model, scene, resolution=16, level=1.0, canonical=True)
    posed = shapes.extract_mesh(model, scene, resolution=16, level=1.0)
    np.testing.assert_array_equal(canonical.faces, posed.faces)
    np.testing.assert_array_equal(canonical.labels, posed.labels)
    moved, inside = jax.jit(scenes.to_posed)(model, scene, canonical.vertices)
    np.testing.assert_allclose(posed.vertices, moved, atol=1e-5)
    assert np.asarray(inside).mean() > 0.95
    assert np.abs(posed.vertices - canonical.vertices).max() > 0.1


def test_what_has_no_body_is_refused(tiny_semantic_model, box):
    model, scene = box
    plain = scene.replace(body=None)
    with pytest.raises(ValueError, match="has no body that could be in a pose"):
        scenes.to_canonical(tiny_semantic_model, plain, jnp.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"a batch of shape \(2,\), expected one"):
        scenes.to_posed(model, jax.tree.map(lambda x: jnp.stack([x, x]), scene), jnp.zeros((1, 3)))
