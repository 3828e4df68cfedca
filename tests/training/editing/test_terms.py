"""The loss of an edit: 0 where nothing changed, its estimates on rays, and its gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.training.editing import plan, terms

TERMS = plan.Terms(label=1.0, rgb=0.5, perceptual=0.0, identity=0.0, staying=0.1)


@pytest.fixture(scope="module")
def params(tiny_wanted):
    return {"z": tiny_wanted.subject.z, "camera": {}}


@pytest.fixture(scope="module")
def moved(params):
    return params | {"z": params["z"] + 0.3}


def test_before_the_edit_only_labels_are_wrong(tiny_semantic_model, tiny_wanted, params, moved, key):
    found = jax.jit(terms.ray_terms, static_argnums=0)(256, tiny_semantic_model, tiny_wanted, params, key)
    assert float(found["rgb"]) < 1e-8 and float(found["label"]) > 0
    away = jax.jit(terms.ray_terms, static_argnums=0)(256, tiny_semantic_model, tiny_wanted, moved, jax.random.key(1))
    assert float(away["rgb"]) > 1e-4
    assert float(terms.staying(tiny_semantic_model, tiny_wanted, params)) == 0
    length = float(jnp.sum(jnp.square(params["z"])))
    assert float(terms.staying(tiny_semantic_model, tiny_wanted, moved)) == pytest.approx(8 * 0.09 / length, rel=1e-4)


def test_residuals_squared_sum_to_the_colours_and_staying(tiny_semantic_model, tiny_wanted, moved, key):
    without = dataclasses.replace(TERMS, label=0.0)
    made = jax.jit(terms.residuals, static_argnums=(0, 1))(256, without, tiny_semantic_model, tiny_wanted, moved, key)
    same = jax.random.key(0)
    rgb = jax.jit(terms.ray_terms, static_argnums=0)(256, tiny_semantic_model, tiny_wanted, moved, same)["rgb"]
    away = terms.staying(tiny_semantic_model, tiny_wanted, moved)
    assert float(jnp.sum(jnp.square(made))) == pytest.approx(float(0.5 * rgb + 0.1 * away), rel=1e-3)


def test_images_are_compared_outside_of_the_region(tiny_wanted, tiny_before):
    first, logits = jnp.zeros((), jnp.int32), jnp.asarray(tiny_before.logits)
    inside = 1 - tiny_wanted.outside[0][..., None]
    painted = tiny_wanted.image[0] + inside
    found = terms.of_image(TERMS, tiny_wanted, first, painted, logits)
    assert set(found) == {"label", "rgb"} and float(found["rgb"]) == 0
    changed = terms.of_image(TERMS, tiny_wanted, first, tiny_wanted.image[0] + 0.1, logits)
    assert float(changed["rgb"]) == pytest.approx(0.01 * float(tiny_wanted.outside[0].mean()), rel=1e-4)
    other = terms.of_image(TERMS, tiny_wanted, jnp.ones((), jnp.int32), painted, logits)
    assert float(other["label"]) == 0  # only the first view has a mask


def test_a_whole_image_has_gradients_of_all_terms(tiny_semantic_model, tiny_wanted, moved, key):
    stage = plan.Stage(steps=1, learning_rate=1e-2, rays=16, whole=True, newton=0)
    loss = terms.of_stage(stage, TERMS)
    assert loss is terms.of_stage(stage, TERMS)
    value, grads = jax.jit(jax.value_and_grad(loss, argnums=2))(tiny_semantic_model, tiny_wanted, moved, key)
    assert np.isfinite(float(value)) and float(jnp.max(jnp.abs(grads["z"]))) > 0
