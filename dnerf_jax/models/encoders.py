"""Guesses the latent and the camera of an image: where an inversion starts.

An encoder belongs to one generator, whose fingerprint it holds: it has learned from that one's own renderings.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dnerf_jax.networks.encoder import POSE, Encoder, EncoderConfig
from dnerf_jax.ops.resizing import resize

# What one unit of an output means: radians of yaw, pitch and roll, image sizes right and down, logarithm of zoom.
UNITS = np.array([0.5, 0.25, 0.25, 0.1, 0.1, 0.2], np.float32)


@struct.dataclass
class TrainedEncoder:
    """An encoder: its configuration, static under `jit`, its parameters, and whose images it knows.

    generator: `Model.fingerprint` of the generator that it was trained on.
    """

    config: EncoderConfig = struct.field(pytree_node=False)
    params: Any
    generator: str = struct.field(pytree_node=False, default="")


@struct.dataclass
class Guess:
    """What an encoder makes of images (...): z (..., z_dim), and how they are seen.

    yaw, pitch, roll (...) in radians; right, down (...) how far the subject is off the middle, in image sizes; zoom
    (...) the natural logarithm of its scale. With roll, right, down and zoom at 0, images are framed as the generator's
    own.
    """

    z: jax.Array
    yaw: jax.Array
    pitch: jax.Array
    roll: jax.Array
    right: jax.Array
    down: jax.Array
    zoom: jax.Array


@functools.partial(jax.jit, static_argnums=0)
def init(config: EncoderConfig, key: jax.Array) -> Any:
    """Random parameters."""
    return Encoder(config).init(key, jnp.zeros((1, config.resolution, config.resolution, 3), jnp.float32))["params"]


def outputs(config: EncoderConfig, params: Any, image: jax.Array) -> tuple[jax.Array, jax.Array]:
    """z (N, z_dim) and pose (N, 6), in units of UNITS, of images (N, R, R, 3) at the encoder's resolution."""
    made: Any = Encoder(config).apply({"params": params}, image)
    return made[:, : config.z_dim], made[:, config.z_dim :]


@jax.jit
def guess(encoder: TrainedEncoder, image: jax.Array) -> Guess:
    """The latent and the camera of images (..., H, H, 3) in [-1, 1], of any size."""
    config, batch = encoder.config, image.shape[:-3]
    small = resize(image.reshape((-1, *image.shape[-3:])), config.resolution, antialias=True)
    z, pose = outputs(config, encoder.params, small)
    pose = (pose * UNITS).reshape((*batch, len(POSE)))
    return Guess(z.reshape((*batch, config.z_dim)), *(pose[..., i] for i in range(len(POSE))))
