"""An edit of the tiny model: a square in the middle of its frontal view becomes another class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.training.editing import wanted
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.subject import Subject


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
