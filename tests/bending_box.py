"""A body of twelve faces and two bones: a box whose upper half turns about the middle."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from dnerf_jax.models.articulated import ArticulationConfig, Pose
from dnerf_jax.models.generator import Generator

BONES = ArticulationConfig(("root", "upper"), (-1, 0), 8, 12, hull=0.1, shell=0.3)


def in_a_box(model):
    """A model whose generator has become that of such a body."""
    corners = np.float32(
        np.stack(np.meshgrid([-0.2, 0.2], [-0.4, 0.4], [-0.15, 0.15], indexing="ij"), -1).reshape(8, 3)
    )
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.int32([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))])
    upper = np.float32(corners[:, 1] > 0)
    template = {
        "vertices": jnp.asarray(corners),
        "faces": jnp.asarray(faces),
        "joints": jnp.zeros((2, 3)),
        "weights": jnp.asarray(np.stack([1 - upper, upper], -1)),
        "canonical": jnp.broadcast_to(jnp.eye(3), (2, 3, 3)),
    }
    made = model.generator
    config = dataclasses.replace(made.config, articulation=BONES)
    return model.replace(generator=Generator(config, {**made.variables, "template": template}))


def turn(angle, axis=1):
    """The rotation by an angle about an axis."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    made = np.eye(3, dtype=np.float32)
    made[i, i] = made[j, j] = c
    made[i, j], made[j, i] = -s, s
    return jnp.asarray(made)


def pose(*rotations, translation=(0.0, 0.0, 0.0), scale=1.0):
    """A pose of these rotations, of none without any."""
    rotations = rotations or (jnp.eye(3), jnp.eye(3))
    return Pose(jnp.stack(rotations), jnp.float32(translation), jnp.float32(scale), jnp.zeros(0))
