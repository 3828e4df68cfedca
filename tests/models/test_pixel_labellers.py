"""The ensemble: its votes, what its disagreement is where it is known, and its labels at any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.io import networks
from dnerf_jax.models import image_generators, pixel_labellers
from dnerf_jax.models.image_generators import ImageGeneratorConfig
from dnerf_jax.models.pixel_labellers import PixelLabellerConfig
from dnerf_jax.ops.labels import LabelMap

LABELS = LabelMap(("background", "skin", "eye"), ((0, 0, 0), (200, 100, 0), (0, 0, 255)))
CONFIG = ImageGeneratorConfig(z_dim=6, w_dim=8, mapping_layers=1, resolution=8, channel_base=64, channel_max=12)


@pytest.fixture(scope="module")
def labeller():
    return pixel_labellers.init(PixelLabellerConfig(sum(CONFIG.widths), (5, 4), 3, LABELS), jax.random.key(0))


def test_the_most_votes_win_and_of_equals_the_first():
    sure = 9.0 * jax.nn.one_hot(jnp.array([[2, 1], [2, 2], [1, 0]]), 3)
    np.testing.assert_array_equal(pixel_labellers.vote(sure), [2, 0])


def test_disagreement_is_that_of_distributions_not_of_unsure_ones():
    one, other = jnp.array([40.0, 0, 0]), jnp.array([0.0, 40, 0])
    found = pixel_labellers.divergence(jnp.stack([jnp.stack([one, one, 0 * one]), jnp.stack([one, other, 0 * one])]))
    np.testing.assert_allclose(found, [0, np.log(2), 0], atol=1e-6)
    p, q = (np.random.default_rng(seed).dirichlet(np.ones(3)) for seed in (0, 1))
    middle = (p + q) / 2
    wanted = np.sum(p * np.log(p / middle) + q * np.log(q / middle)) / 2
    np.testing.assert_allclose(pixel_labellers.divergence(jnp.log(jnp.stack([p, q]))[:, None])[0], wanted, rtol=1e-4)


def test_labels_are_those_of_the_features_at_any_size(labeller):
    generator = image_generators.init(CONFIG, jax.random.key(1))
    z, c = (jax.random.normal(jax.random.key(seed), (2, size)) for seed, size in ((2, 6), (3, 25)))
    image, labels = pixel_labellers.label(generator, labeller, z, c, resolution=12)
    assert image.shape == (2, 8, 8, 3) and labels.mask.shape == labels.uncertainty.shape == (2, 12, 12)

    @jax.jit
    def by_hand(generator, labeller, z, c):
        features = image_generators.pixel_features(image_generators.synthesize(generator, z, c), 12)
        flat = features.reshape(-1, features.shape[-1])
        made = jax.vmap(lambda params: labeller.config.module.apply(params, flat))(labeller.params)
        return made, pixel_labellers.divergence(made), pixel_labellers.vote(made)

    made, uncertainty, mask = by_hand(generator, labeller, z, c)
    assert made.shape == (3, 288, 3) and np.abs(made[0] - made[1]).max() > 1e-3, "networks of their own"
    np.testing.assert_allclose(labels.uncertainty.ravel(), uncertainty, atol=1e-5)
    assert np.mean(labels.mask.ravel() == mask) > 0.98


def test_a_folder_holds_all_networks(labeller, tmp_path):
    networks.save(tmp_path / "net", labeller, info={"license": "none"})
    loaded = networks.load(tmp_path / "net", "pixels")
    assert loaded.config == labeller.config
    jax.tree.map(np.testing.assert_array_equal, loaded.params, labeller.params)
