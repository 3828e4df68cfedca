"""The bodies world's template, as an articulated generator has it: its configuration and its arrays.

Not imported by the world itself, which needs neither JAX nor Flax.
"""

import numpy as np

from dnerf_jax.models.articulated import ArticulationConfig
from dnerf_jax.worlds.bodies import table
from dnerf_jax.worlds.bodies.building import METRES_PER_UNIT

HULL, SHELL = 0.060 / METRES_PER_UNIT, 0.055 / METRES_PER_UNIT  # what is worn stands off by up to 4.2 cm


def articulation() -> ArticulationConfig:
    """How the world's bodies move: 38 bones, and 16 shapes that a generator tells from w."""
    stored = table.load()
    return ArticulationConfig(
        bones=table.BONES,
        parents=table.PARENTS,
        num_vertices=len(stored.template_mean),
        num_faces=len(stored.template_faces),
        num_shapes=len(stored.template_shapes),
        hull=HULL,
        shell=SHELL,
        shape_hidden=256,
    )


def template() -> dict[str, np.ndarray]:
    """The template, in world units; see `models.articulated.abstract_template`."""
    stored = table.load()

    def units(x: np.ndarray) -> np.ndarray:
        return (x / METRES_PER_UNIT).astype(np.float32)

    return {
        "vertices": units(stored.template_mean),
        "joints": units(stored.joints),
        "weights": stored.template_weights.astype(np.float32),
        "canonical": stored.canonical.astype(np.float32),
        "vertex_shapes": units(stored.template_shapes),
        "joint_shapes": units(stored.joint_shapes),
        "faces": stored.template_faces.astype(np.int32),
    }
