"""Tests run on the CPU, split into 4 simulated devices; both must be said before JAX is imported."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from dnerf_jax import generator as eg3d  # noqa: E402
from dnerf_jax import semantic  # noqa: E402
from dnerf_jax.checkpoint import Model  # noqa: E402
from dnerf_jax.generator import GeneratorConfig, RenderingConfig  # noqa: E402
from dnerf_jax.labels import LabelMap  # noqa: E402
from dnerf_jax.networks.superresolution import SuperresolutionConfig  # noqa: E402
from dnerf_jax.semantic import SemanticConfig  # noqa: E402


@pytest.fixture
def key() -> jax.Array:
    """The same JAX key in every test."""
    return jax.random.key(0)


@pytest.fixture
def generator() -> np.random.Generator:
    """NumPy's random numbers, the same in every test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def tiny_config() -> GeneratorConfig:
    """The smallest generator that has every part of a real one: camera conditioning, clamp, noise, two scales."""
    return GeneratorConfig(
        z_dim=8,
        c_dim=25,
        w_dim=16,
        plane_resolution=16,
        plane_channels=4,
        channel_base=128,
        channel_max=16,
        feature_channels=8,
        decoder_hidden=16,
        neural_rendering_resolution=8,
        superresolution=SuperresolutionConfig(input_resolution=8, widths=(8, 8), upsample=(False, True)),
        rendering=RenderingConfig(depth_resolution=6, depth_resolution_importance=6),
    )


@pytest.fixture(scope="session")
def tiny_model(tiny_config: GeneratorConfig) -> Model:
    """A random generator without a semantic branch; rays through it are stopped to all degrees."""
    variables = shaken(eg3d.init(tiny_config, jax.random.key(1)), 2)
    density = {"weight": np.ones(9, np.float32), "bias": np.zeros(9, np.float32)}
    density["weight"][0], density["bias"][0] = 6.0, 3.0
    last = variables["params"]["decoder"]["fc1"]
    last["weight"], last["bias"] = last["weight"] * density["weight"], last["bias"] + density["bias"]
    return Model(tiny_config, variables, info=(("license", "none"), ("origin", "random numbers")))


@pytest.fixture(scope="session")
def tiny_semantic_model(tiny_model: Model) -> Model:
    """The same generator with a random semantic branch of five classes on all its features."""
    config = SemanticConfig(
        num_classes=5, features="hidden+last", channels="all", hidden=16, feature_channels=8, superresolution_width=8
    )
    params = shaken(semantic.init(config, tiny_model.config, jax.random.key(3)), 4)
    names = ("background", "skin", "eye", "mouth", "hair")
    colors = tuple((40 * i, 20 * i, 255 - 40 * i) for i in range(5))
    return tiny_model.replace(
        semantic_config=config, semantic_params=params, label_map=LabelMap(names, colors)
    )


def shaken(tree, seed):
    """The tree with a little noise on every array, so that nothing is zero or one by initialisation."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    noisy = [leaf + 0.2 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, noisy)
