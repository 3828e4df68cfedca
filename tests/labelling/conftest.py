"""A scene of the tiny model whose mask is edited."""

import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.io import scene_folders
from dnerf_jax.models import scenes


@pytest.fixture
def scene(tiny_semantic_model, tiny_checkpoint, tmp_path):
    """The folder of a scene, found from a camera 10 degrees beside."""
    z = jnp.asarray(np.random.default_rng(3).standard_normal(8), jnp.float32)
    ws, camera = scenes.to_ws(tiny_semantic_model.generator, z), scenes.default_camera(tiny_semantic_model, 0.175)
    where = tmp_path / "scene"
    scene_folders.save_scene(where, tiny_semantic_model, ws, camera, checkpoint=tiny_checkpoint, z=z)
    return where
