"""Loss networks: those that come with the package, by name, and folders that `converters` writes (see `io.networks`).

name          what it is                                stands in for
squeezenet    SqueezeNet 1.1 of ImageNet, uncalibrated  the paper's VGG-based perceptual loss, LPIPS
dlib_face     dlib's face descriptor                    the paper's face identity loss (ArcFace)
"""

import os

from dnerf_jax.io import networks
from dnerf_jax.io.networks import DTYPES, MARKER, describe, save
from dnerf_jax.models.identity import Identity
from dnerf_jax.models.perception import Perception

__all__ = ["DTYPES", "MARKER", "describe", "load_identity", "load_perception", "save"]


def load_perception(path: str | os.PathLike = "squeezenet") -> Perception:
    """The perceptual network in a folder, or the embedded one of that name.

    Raises ValueError, naming the file: there is none, it is of another kind or a newer schema, or damaged.
    """
    return networks.load(path, "perception")


def load_identity(path: str | os.PathLike = "dlib_face") -> Identity:
    """The network that tells faces apart in a folder, or the embedded one of that name; raises as `load_perception`."""
    return networks.load(path, "identity")
