"""2D generators: coarse blocks are those of the whole, features have their number, and folders hold what they are."""

import jax
import numpy as np
import pytest

from dnerf_jax.io import networks
from dnerf_jax.models import image_generators
from dnerf_jax.models.image_generators import ImageGeneratorConfig
from dnerf_jax.networks import stylegan2

CONFIG = ImageGeneratorConfig(z_dim=6, w_dim=8, mapping_layers=1, resolution=16, channel_base=64, channel_max=12)


@pytest.fixture(scope="module")
def generator(random_arrays):
    made = image_generators.abstract(CONFIG)
    return made.replace(params=random_arrays(made.params, 3))


@pytest.fixture(scope="module")
def inputs():
    draws = np.random.default_rng(0)
    return draws.standard_normal((2, 6)).astype(np.float32), draws.standard_normal((2, 25)).astype(np.float32)


def test_coarse_blocks_are_those_of_the_whole(generator, inputs):
    synthesize = jax.jit(image_generators.synthesize, static_argnames="resolution")
    whole, coarse = synthesize(generator, *inputs), synthesize(generator, *inputs, resolution=8)
    assert whole.last.shape == (2, 16, 16, 3) and coarse.last.shape == (2, 8, 8, 3)
    np.testing.assert_allclose(coarse.last, whole.skip["b8"], atol=1e-5)
    other = synthesize(generator, inputs[0], inputs[1][::-1])
    assert np.abs(other.last - whole.last).max() > 1e-3, "the camera is a condition"


def test_a_pixel_has_the_features_of_all_blocks(generator, inputs):
    outputs = jax.jit(image_generators.synthesize)(generator, *inputs)
    features = jax.jit(image_generators.pixel_features, static_argnums=1)(outputs, 32)
    assert features.shape == (2, 32, 32, sum(CONFIG.widths)) and CONFIG.widths == (12, 8, 4)
    of_last = features[..., -4:]
    wide = stylegan2.by_resolution(outputs.hidden)[-1]
    # Enlarged from its own size, at unit mean square there.
    inner = of_last.reshape(2, 16, 2, 16, 2, 4).mean((2, 4))[:, 4:-4, 4:-4]
    scaled = wide / np.sqrt(np.mean(np.square(wide), axis=(1, 2, 3), keepdims=True))
    assert np.corrcoef(inner.ravel(), scaled[:, 4:-4, 4:-4].ravel())[0, 1] > 0.9


def test_a_folder_holds_a_generator(generator, tmp_path):
    networks.save(tmp_path / "net", generator, info={"license": "none"})
    loaded = networks.load(tmp_path / "net", "images")
    assert loaded.config == CONFIG
    jax.tree.map(np.testing.assert_array_equal, loaded.params, generator.params)


def test_what_is_no_latent_or_camera_is_refused(generator, inputs):
    z, c = inputs
    with pytest.raises(ValueError, match=r"z has shape \(2, 5\), expected \(2, 6\)"):
        image_generators.synthesize(generator, z[:, :5], c)
    with pytest.raises(ValueError, match=r"c has shape \(1, 25\), expected \(2, 25\)"):
        image_generators.synthesize(generator, z, c[:1])
    with pytest.raises(ValueError, match="resolution is 24, expected a power of two"):
        ImageGeneratorConfig(resolution=24)
