"""Chosen rays are the view's, and a whole view has their gradient in the expected place and size."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import pixels, scenes
from dnerf_jax.ops import orbiting

pytestmark = pytest.mark.slow  # all render

CHOSEN = np.array([0, 9, 27, 28, 36, 62, 63])


@pytest.fixture(scope="module")
def scene(small_model):
    z = np.random.default_rng(3).standard_normal(8).astype(np.float32)
    return jax.jit(scenes.synthesize)(small_model, z)


@pytest.fixture(scope="module")
def pose(tiny_config):
    """An orbit, in whose numbers there are gradients."""
    options = tiny_config.rendering
    return orbiting.default(
        radius=options.avg_camera_radius,
        pivot=options.avg_camera_pivot,
        focal=options.avg_camera_focal,
        yaw=0.3,
        pitch=-0.1,
    )


def test_chosen_rays_are_those_of_the_view(small_model, scene, pose):
    camera = orbiting.camera(pose)
    view = jax.jit(scenes.render)(small_model, scene, camera)
    chosen = jax.jit(pixels.sample)(small_model, scene, camera, CHOSEN)
    np.testing.assert_allclose(chosen.features[:, :3], view.image_raw.reshape(-1, 3)[CHOSEN], atol=1e-5)
    scores = pixels.scores(small_model, chosen)
    np.testing.assert_allclose(scores, view.semantic_raw.reshape(-1, 5)[CHOSEN], atol=1e-4)


def test_every_ray_may_have_its_own_camera_and_another_resolution(small_model, scene, pose):
    yaw = jnp.array([-0.4, 0.0, 0.4])
    cameras = orbiting.camera(pose.replace(yaw=yaw).spread())
    index = np.array([5, 40, 100])
    found = jax.jit(pixels.sample, static_argnames="resolution")(small_model, scene, cameras, index, resolution=16)
    images = jax.jit(lambda *seen: scenes.render(*seen, resolution=16).image_raw)(small_model, scene, cameras)
    expected = images.reshape(3, -1, 3)[np.arange(3), index]
    np.testing.assert_allclose(found.features[:, :3], expected, atol=1e-5)


def test_without_a_branch_rays_have_no_labels(small_model, scene, pose):
    plain = small_model.replace(semantic=None, label_map=None)
    chosen = jax.eval_shape(pixels.sample, plain, scene, orbiting.camera(pose), CHOSEN)
    assert chosen.semantic is None
    with pytest.raises(ValueError, match="the model has no semantic branch. Train one first"):
        pixels.scores(plain, chosen)


PARTS = np.random.default_rng(0).permutation(64).reshape(4, 16)
WEIGHTS = [np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate([(16, 16, 3), (16, 16, 5)])]


def look(image, logits):
    """A number that all of a view has a part in, and the view."""
    return jnp.sum(image * WEIGHTS[0]) + jnp.sum(logits * WEIGHTS[1]), (image, logits)


@jax.jit
@partial(jax.grad, argnums=(0, 1, 2), has_aux=True)
def of_chosen(model, scene, pose, index):
    """Gradients of a view through some of its rays, and the view."""
    camera = orbiting.camera(pose)
    return look(*pixels.complete(model, scene, camera, pixels.sample(model, scene, camera, index), index))


@pytest.fixture(scope="module")
def completed(small_model, scene, pose):
    """The same of every part of a division of the pixels."""
    return [of_chosen(small_model, scene, pose, part) for part in PARTS]


def test_a_completed_view_is_the_view_whatever_was_chosen(small_model, scene, pose, completed):
    render = jax.jit(scenes.render, static_argnames="skip_empty")
    view = render(small_model, scene, orbiting.camera(pose), skip_empty=True)
    twice = of_chosen(small_model, scene, pose, PARTS[0] // 2)
    for _, (image, logits) in (*completed, twice):
        np.testing.assert_allclose(image, view.image, atol=1e-4)
        np.testing.assert_allclose(logits, view.logits, atol=1e-3)


def error(a, b):
    """Norm of the difference, relative."""
    a, b = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]) for tree in (a, b))
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def test_a_completed_views_gradient_is_the_full_views_in_expectation(small_model, scene, pose, completed):
    """Over the parts of any division of the pixels exactly, and so over draws."""

    @jax.jit
    @partial(jax.grad, argnums=(0, 1, 2), has_aux=True)
    def of_all(model, scene, pose):
        view = scenes.render(model, scene, orbiting.camera(pose))
        return look(view.image, view.logits)

    true, _ = of_all(small_model, scene, pose)
    found = [jax.tree.map(np.asarray, gradient) for gradient, _ in completed]
    mean = jax.tree.map(lambda *parts: sum(parts) / 4, *found)
    for field in (0, 1, 2):  # in the weights that render, as tuning has it, in the scene, and in the pose
        assert error(mean[field], true[field]) < 0.02
        assert error(found[0][field], mean[field]) > 0.1
