"""Perceptual distances: zero of itself, symmetric, growing with what differs, weighed by masks, differentiable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.io import loss_networks
from dnerf_jax.models import perception
from dnerf_jax.models.perception import PerceptionConfig
from dnerf_jax.networks.squeezenet import SqueezeNetConfig
from dnerf_jax.networks.vgg import VGGConfig

# Compiled as wholes: operation by operation takes many times as long.
features, distance, compare = (jax.jit(f) for f in (perception.features, perception.distance, perception.compare))
SMALL = {
    "squeezenet": SqueezeNetConfig(stem=4, fires=(1,) * 8),
    "vgg": VGGConfig(widths=(2, 2, 4, 4, 4), depths=(1,) * 5),
}


@pytest.fixture(params=SMALL)
def network(request):
    config = PerceptionConfig(SMALL[request.param], (0.0,) * 3, (0.5,) * 3, calibrated=request.param == "vgg")
    return perception.init(config, jax.random.key(0))


@pytest.fixture
def images():
    return jax.random.uniform(jax.random.key(1), (2, 3, 33, 48, 3), minval=-1.0)


def test_features_are_of_unit_length_and_of_every_layer(network, images):
    found = features(network, images)
    assert [x.shape[-1] for x in found] == list(network.config.network.widths)
    assert all(x.shape[:2] == (2, 3) for x in found)
    lengths = jnp.linalg.norm(found[0], axis=-1)
    np.testing.assert_allclose(lengths[lengths > 0], 1.0, rtol=1e-5)


def test_distance_is_symmetric_and_zero_of_itself(network, images):
    a, b = images[0], images[1]
    forth = distance(network, a, b)
    assert forth.shape == (3,) and (forth > 0).all()
    np.testing.assert_allclose(forth, distance(network, b, a), rtol=1e-5)
    assert not distance(network, a, a).any()
    every = distance(network, a, images)  # leading dimensions broadcast
    np.testing.assert_allclose(every[1], forth, rtol=1e-5)
    known = compare(network, features(network, a), features(network, b))
    np.testing.assert_allclose(known, forth, rtol=1e-6)


def test_weights_say_what_counts(network, images):
    a, b = images[0], images[1]
    plain = distance(network, a, b)
    np.testing.assert_allclose(distance(network, a, b, weights=jnp.full((33, 48), 0.3)), plain, rtol=1e-4)
    assert not distance(network, a, b, weights=jnp.zeros((3, 33, 48))).any()
    half = jnp.zeros((33, 48)).at[:, 24:].set(1.0)
    mixed = jnp.where(half[..., None] > 0, a, b)  # the right half is a's
    right = distance(network, a, mixed, weights=half)
    left = distance(network, a, mixed, weights=1 - half)
    assert (right < left).all()


def test_gradients_are_finite_everywhere(network, images):
    gradient = jax.jit(jax.grad(lambda x, other: perception.distance(network, x, other)))
    a, b, black = images[0, 0], images[1, 0], jnp.zeros_like(images[0, 0])
    for pair in ((a, b), (a, a), (a, black), (black, a)):
        assert jnp.isfinite(gradient(*pair)).all()


def test_what_does_not_fit_is_refused(network, images):
    with pytest.raises(ValueError, match=r"expected \(..., H, W, 3\)"):
        perception.features(network, images[..., :2])
    with pytest.raises(ValueError, match="expected the same size"):
        perception.distance(network, images, images[..., :20, :])
    with pytest.raises(ValueError, match="pixels, expected at least"):
        perception.features(network, images[..., :15, :15, :])
    with pytest.raises(ValueError, match="weights have shape"):
        perception.distance(network, images, images, weights=jnp.ones((20, 20)))


@pytest.mark.slow
def test_the_embedded_network_sees_what_people_see():
    """More noise is further away; blur, which squared differences hardly see, too; red and blue are told apart."""
    network = loss_networks.load_perception()
    x, y = jnp.meshgrid(jnp.linspace(-3, 3, 64), jnp.linspace(-3, 3, 64))
    picture = jnp.stack([jnp.sin(3 * x * y), jnp.cos(4 * x), jnp.sin(5 * y)], -1) * 0.8
    noise = jax.random.normal(jax.random.key(0), picture.shape)
    distances = [distance(network, picture, picture + scale * noise) for scale in (0.02, 0.1, 0.3)]
    assert distances[0] < distances[1] < distances[2]
    blurred = jax.image.resize(jax.image.resize(picture, (16, 16, 3), "linear"), picture.shape, "linear")
    shifted = picture + jnp.sqrt(jnp.mean((blurred - picture) ** 2))  # as far in squared differences
    assert distance(network, picture, blurred) > 2 * distance(network, picture, shifted)
    assert distance(network, picture, picture[..., ::-1]) > 0.1
