"""Labels carried by depth: exactly where it can be known, and on embedded heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.io import checkpoints
from dnerf_jax.labelling import carrying
from dnerf_jax.models import scenes
from dnerf_jax.ops import cameras, warping
from dnerf_jax.worlds import views


def look(z=0.0, x=0.0):
    """One camera at (x, 0, z) that looks along +z."""
    pose = np.eye(4)
    pose[0, 3], pose[2, 3] = x, z
    return pose, np.array([[1.0, 0, 0.5], [0, 1.0, 0.5], [0, 0, 1]])


def test_a_plane_shifts_and_what_is_hidden_stays_ignored(generator):
    """A wall at depth 2 of 16 pixels' width of 2: a camera 0.5 to the right sees all 4 pixels further left."""
    depth = np.full((16, 16), 2.0)
    labels = np.kron(generator.integers(0, 4, (4, 4)), np.ones((4, 4))).astype(np.uint8)
    camera = tuple(x[None] for x in look())
    made = carrying.carry(labels[None], depth[None], camera, depth, look(x=0.5))
    expected = np.full((16, 16), 255)
    expected[:, :12] = carrying.inner(labels)[:, 4:]
    np.testing.assert_array_equal(made, expected)
    near = depth.copy()
    near[:, 8:] = 1.0  # something that the new camera does not see: what is behind it was not seen
    made = carrying.carry(labels[None], near[None], camera, depth, look(x=0.5))
    assert (made[:, 4:] == 255).all()
    np.testing.assert_array_equal(made[:, :4], expected[:, :4])


def test_what_is_empty_takes_the_label_of_the_empty():
    depth = np.full((8, 8), np.inf)
    depth[2:6, 2:6] = 2.0
    labels = np.zeros((8, 8), np.uint8)
    labels[2:6, 2:6] = 1
    camera = tuple(x[None] for x in look())
    made = carrying.carry(labels[None], depth[None], camera, depth, look())
    expected = np.full((8, 8), 255)
    expected[[0, 7]] = expected[:, [0, 7]] = 0
    expected[3:5, 3:5] = 1
    np.testing.assert_array_equal(made, expected)
    assert (carrying.carry(np.full((1, 8, 8), 255, np.uint8), depth[None], camera, depth, look()) == 255).all()
    dab = np.full((8, 8), 255, np.uint8)
    dab[:2, :4] = 2  # a stroke that left the outline
    assert (carrying.carry(dab[None], depth[None], camera, depth, look()) == 255).all()
    both = tuple(np.concatenate([x, x]) for x in camera)
    made = carrying.carry(np.stack([dab, labels]), np.stack([depth, depth]), both, depth, look())
    np.testing.assert_array_equal(made, expected)  # the other view says what is empty


def test_depth_breaks_off_between_pixels():
    depth = np.full((4, 4), 2.0)
    depth[1, 1], depth[3, 3] = 1.0, np.inf
    expected = np.zeros((4, 4))
    expected[1, 0] = expected[1, 1] = expected[3, 2] = 1
    expected[0, 1] = expected[2, 3] = 2
    expected[1, 1] = 3
    np.testing.assert_array_equal(carrying.jumps(depth), expected)
    slope = 2 + 0.01 * np.arange(16).reshape(4, 4)  # 2 % from row to row, which is no jump
    assert not carrying.jumps(slope + 0.2).any()
    assert not carrying.jumps(np.full((4, 4), np.inf)).any()


@pytest.mark.slow
def test_heads_carry_their_labels_from_the_front_to_25_degrees():
    """Exact masks of the world are the painter; the depth that carries them is the embedded generator's."""
    model, world = checkpoints.load("heads"), views.named("heads")
    z = np.random.default_rng(3).standard_normal(world.Z_DIM).astype(np.float32)
    exact = views.render(world, z, [world.orbit(yaw, 0.0) for yaw in (0.0, 25.0)], 256)
    camera = cameras.Camera(jnp.asarray(exact.cam2world), jnp.asarray(exact.intrinsics))
    scene = jax.jit(scenes.synthesize)(model, jnp.asarray(z))
    # Of a quarter of the rays, which is quicker.
    depth_z = np.asarray(jax.jit(lambda *x: scenes.render(*x, resolution=64).depth_z)(model, scene, camera))
    pose, k = warping.matrices(camera)
    made = carrying.carry(exact.mask[:1], depth_z[:1], (pose[:1], k[:1]), depth_z[1], (pose[1], k[1]))
    known = made != 255
    solid = exact.mask[1] > 0
    assert known.mean() > 0.8 and known[solid].mean() > 0.7
    assert (made == exact.mask[1])[known].mean() >= 0.98
    assert (made == exact.mask[1])[known & solid].mean() >= 0.97
