"""Resizing: doubling is what JAX's own resize does, and so is everything else."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.ops import resizing

# Compiled as wholes: operation by operation takes many times as long.
resize = jax.jit(resizing.resize, static_argnums=1, static_argnames="antialias")
add_resized = jax.jit(resizing.add_resized, static_argnums=1)


@functools.partial(jax.jit, static_argnums=1)
def reference(image, resolution):
    shape = (*image.shape[:-3], resolution, resolution, image.shape[-1])
    return jax.image.resize(image, shape, "bilinear", precision="highest")


@pytest.mark.parametrize("shape", [(8, 8, 3), (2, 5, 5, 4), (2, 1, 1, 1, 2), (6, 8, 3)])
@pytest.mark.parametrize("antialias", [False, True])
def test_twice_the_size_is_as_jax_has_it(generator, shape, antialias):
    image = jnp.asarray(generator.standard_normal(shape), jnp.float32)
    found = resize(image, 2 * shape[-2], antialias=antialias)
    np.testing.assert_allclose(found, reference(image, 2 * shape[-2]), atol=2e-6)
    assert found.dtype == jnp.float32
    assert resize(image.astype(jnp.bfloat16), 2 * shape[-2], antialias=antialias).dtype == jnp.bfloat16


def test_sums_of_sizes_are_sums_of_resized_images(generator):
    images = [jnp.asarray(generator.standard_normal((2, size, size, 3)), jnp.float32) for size in (4, 8, 16)]
    wanted = sum(reference(image, 16) for image in images)
    np.testing.assert_allclose(add_resized(images, 16), wanted, atol=5e-6)
