"""What bounds say is empty is empty, within the box and outside; they are cheap, but not another density."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import generator, occupancy, scenes
from dnerf_jax.ops import triplane

decode = jax.jit(generator.decode)


@pytest.fixture(scope="module")
def planes():
    """Planes (3, 16, 16, 4) that change little from pixel to pixel."""
    coarse = np.random.default_rng(0).standard_normal((3, 4, 4, 4))
    return np.asarray(jax.image.resize(coarse, (3, 16, 16, 4), "cubic"), np.float32)


@pytest.mark.parametrize("axes", [triplane.EG3D_AXES, triplane.ORTHOGONAL_AXES], ids=["eg3d", "orthogonal"])
def test_corners_have_the_density_of_the_decoder(axes, tiny_model, planes):
    config = dataclasses.replace(tiny_model.generator.config, plane_axes=axes)
    made = tiny_model.generator.replace(config=config)
    corner_density = jax.jit(occupancy.corner_density, static_argnames="cells")
    density = np.asarray(corner_density(made, planes, cells=5))
    assert density.shape == (8, 8, 8)
    corners = (np.arange(-1, 7) / 5 - 0.5) * config.rendering.box_warp
    points = np.stack(np.meshgrid(corners, corners, corners, indexing="ij"), axis=-1).astype(np.float32)
    expected, _ = decode(made, planes, points.reshape(-1, 3))
    np.testing.assert_allclose(density.reshape(-1), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_what_is_called_empty_is(tiny_model, planes):
    """Of random points within the box and beyond, few that have any density are called empty, and none by much."""
    found = jax.jit(occupancy.bounds)(tiny_model.generator, planes)
    box = tiny_model.generator.config.rendering.box_warp
    points = np.random.default_rng(1).uniform(-0.7 * box, 0.7 * box, (20_000, 3)).astype(np.float32)
    raw = np.asarray(decode(tiny_model.generator, planes, points)[0])
    flagged = np.asarray(occupancy.look_up(found, points, box_warp=box))
    dense = raw > occupancy.EMPTY
    assert 0.2 < dense.mean() < 0.9  # something is there, and something is not
    assert (dense & ~flagged).sum() < 0.005 * dense.sum()
    assert (flagged & ~dense).sum() < 0.5 * (~dense).sum()  # not everything is called full


def test_bounds_have_the_dimensions_of_their_scenes(tiny_model):
    z = jax.ShapeDtypeStruct((2, 3, 8), jnp.float32)
    found = jax.eval_shape(lambda z: scenes.bounds(tiny_model, scenes.synthesize(tiny_model, z)), z)
    assert found.batch_shape == (2, 3)
    assert found.occupied.shape[2:] == (occupancy.PARTS * (16 + 2),) * 3
