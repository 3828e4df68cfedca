"""The encoder's network: sizes follow from the configuration, before training it guesses the average, and it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.networks.encoder import POSE, Encoder, EncoderConfig

TINY = EncoderConfig(resolution=16, widths=(6, 8, 8, 12), blocks=1, hidden=10, z_dim=5)


def test_outputs_are_a_latent_and_a_pose_and_zero_before_training(key, generator):
    images = jnp.asarray(generator.uniform(-1, 1, (3, 16, 16, 3)), jnp.float32)
    made, variables = jax.jit(Encoder(TINY).init_with_output)(key, images)
    assert made.shape == (3, TINY.z_dim + len(POSE)) and made.dtype == jnp.float32
    np.testing.assert_array_equal(made, 0)  # the mean of what is guessed, so that no training starts far off
    blocks = [name for name in variables["params"] if name.startswith("block")]
    assert len(blocks) == 4 * TINY.blocks
    # The head sees an image a sixteenth as large: places count, they are not averaged.
    assert variables["params"]["hidden"]["kernel"].shape == (1 * 1 * (12 // 3), 10)


def test_every_image_is_seen_alone_and_everything_has_a_gradient(key, generator):
    images = jnp.asarray(generator.uniform(-1, 1, (2, 16, 16, 3)), jnp.float32)
    params, apply = jax.jit(Encoder(TINY).init)(key, images)["params"], jax.jit(Encoder(TINY).apply)
    params["out"]["kernel"] = jnp.asarray(generator.standard_normal(params["out"]["kernel"].shape), jnp.float32)
    both = apply({"params": params}, images)
    np.testing.assert_allclose(apply({"params": params}, images.at[0].set(0))[1:], both[1:], atol=1e-5)
    grads = jax.jit(jax.grad(lambda params: jnp.sum(jnp.sin(Encoder(TINY).apply({"params": params}, images)))))(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(leaf).all() and np.any(leaf != 0), jax.tree_util.keystr(path)


def test_a_resolution_that_cannot_be_halved_four_times_is_refused():
    with pytest.raises(ValueError, match="resolution is 24, expected a multiple of 16"):
        EncoderConfig(resolution=24)
