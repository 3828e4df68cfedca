"""Leading dimensions of cameras, rays, scenes and views: indices, lengths, and no entry beyond the last."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.ops import cameras


@pytest.fixture
def camera():
    return cameras.orbit(jnp.array([0.0, 0.1, 0.2]), 0.0)


@pytest.mark.slow
def test_entries_are_those_of_every_array(camera):
    for index in (1, -1, slice(1, 3), np.array([2, 0]), np.array([True, False, True]), None, (None, 1)):
        chosen = camera[index]
        np.testing.assert_array_equal(chosen.cam2world, camera.cam2world[index])
        assert chosen.intrinsics.shape == (*chosen.batch_shape, 3, 3)


def test_there_is_no_entry_beyond_the_last(camera):
    for index in (3, -4):
        with pytest.raises(IndexError):
            camera[index]
    with pytest.raises(IndexError):  # and a matrix has no entries of its own
        camera[0][0]


def test_what_poses_share_is_spread_over_them(camera):
    mixed = camera.replace(intrinsics=camera.intrinsics[0])
    assert mixed.batch_shape == (3,) and mixed[1].intrinsics.shape == (3, 3)
    np.testing.assert_array_equal(mixed[1].cam2world, camera.cam2world[1])
    assert camera[[0, 2]].batch_shape == (2,)
    with pytest.raises(IndexError, match="would reach into the arrays"):
        camera[..., 0]


def test_iteration_ends(camera):
    assert len(camera) == 3 and [one.batch_shape for one in camera] == [()] * 3
    with pytest.raises(TypeError, match="a single Camera"):
        len(camera[0])
    assert camera and camera[0]


def test_an_index_may_be_traced(camera):
    second = jax.jit(lambda camera, i: camera[i])(camera, 1)
    np.testing.assert_array_equal(second.cam2world, camera.cam2world[1])


def test_a_repr_has_shapes_not_numbers(camera):
    assert repr(camera) == "Camera(cam2world=(3, 4, 4), intrinsics=(3, 3, 3))"
