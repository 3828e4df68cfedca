"""An edit of the tiny model: a square in the middle of its frontal view becomes another class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.training.editing import plan, wanted
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.subject import Subject

STAGE = plan.Stage(steps=4, learning_rate=2e-2, rays=24, whole=False, newton=0)


@pytest.fixture(scope="session")
def edit_settings() -> plan.Settings:
    """Few steps of few rays."""
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


@pytest.fixture(scope="session")
def tiny_before(edit_settings, tiny_semantic_model) -> wanted.Before:
    """The tiny model's scene of one latent, from in front and from -25 degrees."""
    z = jnp.asarray(np.random.default_rng(3).standard_normal(8), jnp.float32)
    view = subjects.default_orbit(tiny_semantic_model)
    return wanted.look(edit_settings, tiny_semantic_model, Subject(z, None, view), view)


@pytest.fixture(scope="session")
def painted(tiny_before) -> np.ndarray:
    """Its mask with a square that is another class, the commonest but one."""
    mask = tiny_before.mask[0].copy()
    order = np.argsort(-np.bincount(mask.reshape(-1), minlength=5))
    mask[5:11, 5:11] = np.where(mask[5:11, 5:11] == order[0], order[1], mask[5:11, 5:11])
    return mask


@pytest.fixture(scope="session")
def tiny_wanted(edit_settings, tiny_semantic_model, tiny_before, painted) -> wanted.Wanted:
    """What that edit wants."""
    return jax.tree.map(jnp.asarray, wanted.prepare(edit_settings, tiny_semantic_model, tiny_before, painted))
