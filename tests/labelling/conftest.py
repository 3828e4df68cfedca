"""A scene of the tiny model whose mask is edited, and settings of few steps."""

import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.io import scene_folders
from dnerf_jax.models import scenes
from dnerf_jax.training.editing import plan

STAGE = plan.Stage(steps=2, learning_rate=2e-2, rays=24, whole=False, newton=0)


@pytest.fixture(scope="session")
def few_steps():
    """Settings of an edit."""
    return plan.Settings(
        seed=0,
        stages=("z",),
        enough=1.0,
        terms=plan.Terms(label=1.0, rgb=0.1, perceptual=0.0, identity=0.0, staying=0.01),
        class_balance=0.5,
        margin=0.02,
        least=0.2,
        views=(-25.0,),
        z=STAGE,
        w=STAGE,
        wplus=STAGE,
        tune=STAGE,
    )


@pytest.fixture
def scene(tiny_semantic_model, tiny_checkpoint, tmp_path):
    """The folder of a scene, found from a camera 10 degrees beside."""
    z = jnp.asarray(np.random.default_rng(3).standard_normal(8), jnp.float32)
    ws, camera = scenes.to_ws(tiny_semantic_model.generator, z), scenes.default_camera(tiny_semantic_model, 0.175)
    where = tmp_path / "scene"
    scene_folders.save_scene(where, tiny_semantic_model, ws, camera, checkpoint=tiny_checkpoint, z=z)
    return where
