"""A model smaller than the tiny one, for what is done with a model whatever its parts: a third less to compile.

Its fixtures are known to all tests, as conftest.py's are.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.io import checkpoints, packs
from dnerf_jax.models import scenes, semantic
from dnerf_jax.models.generator import Generator
from dnerf_jax.ops.images import to_uint8


@pytest.fixture(scope="session")
def small_model(tiny_semantic_model, random_arrays):
    """The tiny model with a branch, less its generator's finest block; the branch takes the planes alone."""
    made = tiny_semantic_model.generator
    config = dataclasses.replace(made.config, plane_resolution=8)
    variables = {
        kind: tree | {"synthesis": {name: block for name, block in tree["synthesis"].items() if name != "b16"}}
        for kind, tree in made.variables.items()
    }
    form = dataclasses.replace(tiny_semantic_model.semantic.config, features="last")
    branch = semantic.abstract(form, config)
    return tiny_semantic_model.replace(
        generator=Generator(config, variables), semantic=branch.replace(params=random_arrays(branch.params, 2))
    )


@pytest.fixture(scope="session")
def small_checkpoint(small_model, tmp_path_factory):
    """The folder of that model."""
    folder = tmp_path_factory.mktemp("small") / "model"
    checkpoints.save(folder, small_model)
    return folder


@pytest.fixture(scope="session")
def small_assets(small_model, tmp_path_factory):
    """A folder with its generator, and a pack of six views of it to train on."""
    folder, bare = tmp_path_factory.mktemp("small_assets"), small_model.replace(semantic=None, label_map=None)
    checkpoints.save(folder / "heads", bare)
    packs.save(folder / "heads_train", looked_at(bare, small_model.label_map)[:6])
    return folder


def looked_at(model, label_map):
    """Nine views, three of each of three latents: the model's own images, labelled by where the points lie."""
    z = jnp.asarray(np.random.default_rng(5).standard_normal((3, 8)), jnp.float32)
    yaw = np.tile(np.array([-0.4, 0.0, 0.4], np.float32), 3)
    camera = jax.jit(lambda yaw: scenes.default_camera(model.generator.config, yaw))(yaw)
    z = np.repeat(z, 3, axis=0)

    @jax.jit
    def see(model, z, camera):
        view = scenes.render(model, scenes.synthesize(model, z), camera)
        return view.image, view.opacity, view.points

    image, opacity, points = see(model, z, camera)
    right, up = points[..., 0] > 0, points[..., 1] > 0
    return packs.Annotations(
        images=to_uint8(image, span=(-1, 1)),
        masks=np.where(opacity > 0.5, 1 + right + 2 * up, 0).astype(np.uint8),
        z=z,
        cam2world=camera.cam2world,
        intrinsics=camera.intrinsics,
        latent_id=np.repeat(np.arange(3), 3),
        label_map=label_map,
        fingerprint=model.fingerprint,
        name="tiny",
    )
