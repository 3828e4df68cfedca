"""Whose face it is: a face is found by five points, turned and scaled into a chip, and described by a few numbers.

    chips = align(network, images, points)           # (..., size, size, 3), differentiable in the images
    who = describe(network, chips)                   # (..., 128) or (..., 512), differentiable
    distance(who, describe(network, others))         # small for the same face

Points are (x, y) in pixels of the image, y down, the centre of pixel (i, j) at (j + 0.5, i + 0.5): `cameras.project`
times the resolution. Which five they are, every network says: the names in its configuration. Where a scene's landmarks
are known in 3D, its camera places them in every view, hidden ones too: `points_of`. Heads of the embedded generator are
aligned on their eye line and scaled by their height, so that the means of many (LANDMARKS) serve all of them.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from dnerf_jax.networks.arcface import ArcFace, ArcFaceConfig
from dnerf_jax.networks.face_descriptor import FaceDescriptor, FaceDescriptorConfig
from dnerf_jax.ops import cameras, checks
from dnerf_jax.ops.precision import einsum
from dnerf_jax.ops.ranges import Count, Positive

# Where faces of the embedded heads have what networks look for, in world units, left and right as the subject says it:
# means of 96 random heads of the heads world, found in its exact frontal masks and depth, and made symmetric. Standard
# deviations are at most 0.009 across, 0.017 up (of the mouth, which opens; of eyes 0.003) and 0.020 in depth.
LANDMARKS: dict[str, tuple[float, float, float]] = {
    "left_eye": (0.0585, 0.0200, 0.1269),
    "left_eye_inner": (0.0386, 0.0181, 0.1224),
    "left_eye_outer": (0.0792, 0.0193, 0.1167),
    "right_eye": (-0.0585, 0.0200, 0.1269),
    "right_eye_inner": (-0.0386, 0.0181, 0.1224),
    "right_eye_outer": (-0.0792, 0.0193, 0.1167),
    "nose_tip": (0.0, -0.0538, 0.1803),
    "nose_base": (0.0, -0.0709, 0.1605),
    "left_mouth": (0.0447, -0.1117, 0.1329),
    "right_mouth": (-0.0447, -0.1117, 0.1329),
}


@dataclasses.dataclass(frozen=True)
class IdentityConfig:
    """The network, and the faces that it wants.

    Attributes:
      network: which, and its sizes.
      size: pixels along each side of a chip.
      points: five landmarks, each with its place (x, y) in the chip, in pixels.
      mean, deviation: of red, green and blue in [-1, 1]: the network sees (x - mean) / deviation.
      unit: whether descriptors are divided by their lengths.
    """

    network: FaceDescriptorConfig | ArcFaceConfig
    size: Count
    points: tuple[tuple[str, float, float], ...]
    mean: tuple[float, float, float]
    deviation: tuple[Positive, Positive, Positive]
    unit: bool

    def __post_init__(self) -> None:
        if len(self.points) != 5:
            raise ValueError(f"there are {len(self.points)} points, expected 5")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the five landmarks, in order."""
        return tuple(name for name, _, _ in self.points)


@struct.dataclass
class Identity:
    """A network that tells faces apart: its configuration, static under `jit`, and its parameters."""

    config: IdentityConfig = struct.field(pytree_node=False)
    params: Mapping[str, Any]


@functools.partial(jax.jit, static_argnums=0)
def init(config: IdentityConfig, key: jax.Array) -> Identity:
    """A network with random parameters."""
    return Identity(config, _module(config).init(key, jnp.zeros((1, config.size, config.size, 3)))["params"])


def abstract(config: IdentityConfig) -> Identity:
    """A network of shapes and dtypes instead of arrays."""
    return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def describe(network: Identity, chips: jax.Array) -> jax.Array:
    """Descriptors (..., D) of chips (..., size, size, 3) in [-1, 1], as `align` makes them.

    Raises ValueError: chips have another shape.
    """
    config = network.config
    checks.shape("chips", chips, config.size, config.size, 3)
    flat = jnp.reshape(chips, (-1, *chips.shape[-3:])).astype(jnp.float32)
    made: Any = _module(config).apply(
        {"params": network.params}, (flat - jnp.array(config.mean)) / jnp.array(config.deviation)
    )
    if config.unit:
        made = made / jnp.linalg.norm(made, axis=-1, keepdims=True)
    return made.reshape((*chips.shape[:-3], made.shape[-1]))


def distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """Euclidean distances (...) of descriptors (..., D); their gradient is 0 where they are equal.

    For descriptors of unit length it is sqrt(2 - 2 cosine), by which ArcFace's are compared.
    """
    squared = jnp.sum(jnp.square(a - b), axis=-1)
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)


def align(network: Identity, images: jax.Array, points: jax.Array, *, samples: int = 1) -> jax.Array:
    """Chips (..., size, size, 3) of the faces in images (..., H, W, 3) whose five points (..., 5, 2) are given.

    The chip is the similarity (turned, scaled, moved) that brings the network's points nearest to the image's, in least
    squares; colours are bilinear between pixel centres, and beyond the image's edge those of the edge. Differentiable
    in the images, and in the points.

    samples: along each side of a chip's pixel, averaged: 2 where the face is more than twice as large as the chip.
      Static under `jit`.

    Raises ValueError: images or points have another shape, or their leading dimensions do not broadcast.
    """
    config = network.config
    checks.shape("images", images, 3)
    checks.shape("points", points, 5, 2)
    samples = checks.count("samples", samples)
    template = jnp.array([place for _, *place in config.points], jnp.float32)
    scale, turn, move = _similarity(template, jnp.asarray(points, jnp.float32))
    fine = (jnp.arange(config.size * samples) + 0.5) / samples
    x, y = jnp.meshgrid(fine, fine)
    # The chip's pixels in the image: (scale, turn) are the real and imaginary part of one complex number.
    at_x = scale[..., None, None] * x - turn[..., None, None] * y + move[..., 0, None, None]
    at_y = turn[..., None, None] * x + scale[..., None, None] * y + move[..., 1, None, None]
    try:
        batch = jnp.broadcast_shapes(images.shape[:-3], at_x.shape[:-2])
    except ValueError:
        raise ValueError(f"images {images.shape} and points {points.shape} have dimensions that do not fit") from None
    flat = jnp.broadcast_to(images, batch + images.shape[-3:]).reshape((-1, *images.shape[-3:])).astype(jnp.float32)
    places = [jnp.broadcast_to(at, batch + at.shape[-2:]).reshape((-1, *at.shape[-2:])) for at in (at_x, at_y)]
    chips = jax.vmap(_sample)(flat, *places)
    parts = chips.reshape((*batch, config.size, samples, config.size, samples, 3))
    return jnp.mean(parts, axis=(-4, -2))


def points_of(
    network: Identity,
    camera: cameras.Camera,
    resolution: int,
    *,
    landmarks: Mapping[str, tuple[float, float, float]] | None = None,
) -> jax.Array:
    """The network's five points (..., 5, 2) in images of `resolution` pixels from cameras (...).

    landmarks: 3D places in world units by name; None is LANDMARKS, those of the embedded heads.

    Raises ValueError: a landmark that the network needs is missing.
    """
    known = LANDMARKS if landmarks is None else landmarks
    absent = sorted(set(network.config.names) - set(known))
    if absent:
        raise ValueError(f"the network needs the landmarks {absent}, and there are {sorted(known)}: give their places")
    places = jnp.array([known[name] for name in network.config.names], jnp.float32)
    uv, _ = cameras.project(camera, places)
    return uv * resolution


def _module(config: IdentityConfig) -> nn.Module:
    if isinstance(config.network, FaceDescriptorConfig):
        return FaceDescriptor(config.network)
    return ArcFace(config.network)


def _similarity(source: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of all maps p -> (scale + i turn) p + move, that which brings source (5, 2) nearest to target (..., 5, 2)."""
    middle, there = jnp.mean(source, axis=-2), jnp.mean(target, axis=-2)
    a, b = source - middle, target - there[..., None, :]
    total = jnp.sum(jnp.square(a))
    scale = einsum("pi,...pi->...", a, b) / total
    turn = (einsum("p,...p->...", a[:, 0], b[..., 1]) - einsum("p,...p->...", a[:, 1], b[..., 0])) / total
    moved = jnp.stack([scale * middle[0] - turn * middle[1], turn * middle[0] + scale * middle[1]], axis=-1)
    return scale, turn, there - moved


def _sample(image: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Colours (h, w, 3) of an image (H, W, 3) at places (h, w) in pixels, bilinear, its edge repeated."""
    height, width = image.shape[:2]
    x, y = jnp.clip(x - 0.5, 0, width - 1), jnp.clip(y - 0.5, 0, height - 1)
    left, top = jnp.floor(x).astype(jnp.int32), jnp.floor(y).astype(jnp.int32)
    right, bottom = jnp.minimum(left + 1, width - 1), jnp.minimum(top + 1, height - 1)
    u, v = (x - left)[..., None], (y - top)[..., None]
    above = image[top, left] * (1 - u) + image[top, right] * u
    below = image[bottom, left] * (1 - u) + image[bottom, right] * u
    return above * (1 - v) + below * v
