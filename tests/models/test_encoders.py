"""What an encoder's outputs mean: latents and poses in their units, of images of any size and number."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import encoders
from dnerf_jax.models.encoders import TrainedEncoder
from dnerf_jax.networks.encoder import POSE, EncoderConfig
from dnerf_jax.ops.resizing import resize

CONFIG = EncoderConfig(resolution=16, widths=(6, 8, 8, 12), blocks=1, hidden=10, z_dim=5)


@pytest.fixture(scope="module")
def trained(random_arrays):
    template = jax.eval_shape(lambda: encoders.init(CONFIG, jax.random.key(0)))
    return TrainedEncoder(CONFIG, random_arrays(template, 0), "0" * 16)


def test_guesses_are_outputs_in_their_units(trained, generator):
    images = jnp.asarray(generator.uniform(-1, 1, (2, 3, 16, 16, 3)), jnp.float32)
    guess = encoders.guess(trained, images)
    outputs = jax.jit(encoders.outputs, static_argnums=0)
    z, pose = outputs(CONFIG, trained.params, images.reshape(6, 16, 16, 3))
    np.testing.assert_allclose(guess.z, z.reshape(2, 3, 5), rtol=1e-4, atol=1e-4)
    for i, name in enumerate(POSE):
        expected = pose[:, i].reshape(2, 3) * encoders.UNITS[i]
        np.testing.assert_allclose(getattr(guess, name), expected, rtol=1e-4, atol=1e-4)
    assert [field.name for field in dataclasses.fields(guess)] == ["z", *POSE]


def test_images_of_any_size_are_reduced_without_aliases(trained, generator):
    large = jnp.asarray(generator.uniform(-1, 1, (48, 48, 3)), jnp.float32)
    guess = encoders.guess(trained, large)
    assert guess.z.shape == (5,) and guess.yaw.shape == ()
    small = encoders.guess(trained, resize(large, 16, antialias=True))
    np.testing.assert_allclose(guess.z, small.z, atol=1e-4)


def test_parameters_follow_from_the_key():
    first, same, other = (jax.tree.leaves(encoders.init(CONFIG, jax.random.key(seed))) for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(first, same, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
