"""Tests run on the CPU, split into 4 simulated devices; both must be said before JAX is imported."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
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
    variables = random_arrays(eg3d.abstract_variables(tiny_config), 1)
    last = variables["params"]["decoder"]["fc1"]
    # Density that varies strongly around a mean where half of the light passes.
    density = last["weight"][:, 0]
    last["weight"] = last["weight"].at[:, 0].set(30.0 * (density - density.mean()))
    last["bias"] = last["bias"].at[0].set(0.0)
    return Model(tiny_config, variables, info=(("license", "none"), ("origin", "random numbers")))


@pytest.fixture(scope="session")
def tiny_semantic_model(tiny_model: Model) -> Model:
    """The same generator with a random semantic branch of five classes on all its features."""
    config = SemanticConfig(
        num_classes=5,
        features="hidden+last",
        channels="all",
        hidden=16,
        feature_channels=8,
        superresolution_width=8,
    )
    template = jax.eval_shape(lambda: semantic.init(config, tiny_model.config, jax.random.key(0)))
    names = ("background", "skin", "eye", "mouth", "hair")
    colors = tuple((40 * i, 20 * i, 255 - 40 * i) for i in range(5))
    return tiny_model.replace(
        semantic_config=config, semantic_params=random_arrays(template, 2), label_map=LabelMap(names, colors)
    )


def random_arrays(template, seed):
    """Arrays of the template's shapes, drawn by NumPy, which compiles nothing; no bias, strength or average is zero."""
    draws = np.random.default_rng(seed)

    def draw(path, leaf):
        names = [entry.key for entry in path]
        scale = 1.0 if names[-1] in ("weight", "const", "noise_const", "first_weight") else 0.2
        scale *= 100.0 if "mapping" in names and names[-2] != "embed" and names[-1] == "weight" else 1.0
        mean = 1.0 if names[-2:] == ["affine", "bias"] else 0.0
        return jnp.asarray(mean + scale * draws.standard_normal(leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, template)
