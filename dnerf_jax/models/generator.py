"""EG3D's generator: its configuration, its weights, and pure functions over both.

    z, c -> ws -> planes -> (rays: see `marching`) -> features -> image

Leading batch dimensions of z, ws, planes and features are free. The tree of variables, {"params", "buffers"}, follows
PyTorch's names (see `networks`).
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from dnerf_jax.models import articulated
from dnerf_jax.models.articulated import ArticulationConfig
from dnerf_jax.networks import stylegan2
from dnerf_jax.networks.decoders import Decoder, ShapeDecoder
from dnerf_jax.networks.superresolution import Superresolution, SuperresolutionConfig
from dnerf_jax.ops import cameras, checks, keys, triplane
from dnerf_jax.ops.ranges import Count, Layers, Natural, Positive


@dataclasses.dataclass(frozen=True)
class RenderingConfig:
    """Where rays are sampled. Distances in world units, of which the box has `box_warp` along each side.

    Attributes:
      depth_resolution: stratified samples per ray.
      depth_resolution_importance: further samples where the first found density.
      ray_start, ray_end: sampling limits, or both "auto": the box.
      box_warp: side of the tri-plane's box.
      white_back: empty rays are white (ShapeNet, and the embedded heads), otherwise black.
      disparity_space_sampling: space stratified samples evenly in 1 / distance.
      avg_camera_radius, avg_camera_pivot: default cameras circle the origin at this radius and look at the pivot.
      avg_camera_focal: their focal length, in image sizes.
      metres_per_unit: the scale of the world, its mean where scenes differ, or None where the generator has none.
    """

    depth_resolution: Count = 48
    depth_resolution_importance: Natural = 48
    ray_start: Positive | Literal["auto"] = 2.25
    ray_end: Positive | Literal["auto"] = 3.3
    box_warp: Positive = 1.0
    white_back: bool = False
    disparity_space_sampling: bool = False
    avg_camera_radius: Positive = 2.7
    avg_camera_pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)
    avg_camera_focal: Positive = cameras.FOCAL
    metres_per_unit: Positive | None = None

    def __post_init__(self) -> None:
        limits = self.ray_start, self.ray_end
        numbers = not any(isinstance(limit, str) for limit in limits)
        if limits != ("auto", "auto") and not (numbers and self.ray_start < self.ray_end):  # type: ignore[operator]
            raise ValueError(
                f"ray_start is {limits[0]!r}, ray_end {limits[1]!r}: both must be 'auto', or both numbers, the smaller "
                "first"
            )


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """The architecture of one EG3D generator; the defaults are the published 512-pixel models'.

    Attributes:
      z_dim, c_dim, w_dim: sizes of latent, conditioning camera (25, or 0 for none) and intermediate latent.
      mapping_layers: layers of the mapping network.
      plane_resolution, plane_channels: size of each of the three planes.
      channel_base, channel_max: a block at resolution R has min(channel_base // R, channel_max) channels.
      conv_clamp: bound on the backbone's activations, or None.
      feature_channels: channels rendered per ray; the first three are the raw image.
      decoder_hidden, decoder_lr_mul: width and learning-rate multiplier of the decoder.
      neural_rendering_resolution: side of the rendered feature image.
      plane_axes: the planes' frames (see `triplane`).
      c_scale, c_gen_conditioning_zero: how the conditioning camera is scaled, or that it is replaced by zeros.
      dtype: of the convolutions; everything else is float32.
      articulation: how its body moves, where its planes are those of a canonical pose, or None.
    """

    z_dim: Count = 512
    c_dim: Natural = 25
    w_dim: Count = 512
    mapping_layers: Layers = 2
    plane_resolution: Count = 256
    plane_channels: Count = 32
    channel_base: Count = 32768
    channel_max: Count = 512
    conv_clamp: Positive | None = 256.0
    feature_channels: Count = 32
    decoder_hidden: Count = 64
    decoder_lr_mul: Positive = 1.0
    neural_rendering_resolution: Count = 128
    plane_axes: tuple[tuple[tuple[float, ...], ...], ...] = triplane.EG3D_AXES
    c_scale: float = 1.0
    c_gen_conditioning_zero: bool = False
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    superresolution: SuperresolutionConfig = SuperresolutionConfig()
    rendering: RenderingConfig = RenderingConfig()
    articulation: ArticulationConfig | None = None

    def __post_init__(self) -> None:
        size = self.plane_resolution
        if size < 4 or size & (size - 1):
            raise ValueError(f"plane_resolution is {size}, expected a power of two from 4: blocks double it")

    @property
    def image_resolution(self) -> int:
        """Side of the final image."""
        return self.superresolution.resolutions[-1]

    @property
    def num_ws(self) -> int:
        """How many intermediate latents the backbone consumes."""
        return stylegan2.num_ws(self.plane_resolution)


@struct.dataclass
class Generator:
    """A generator: its configuration, static under `jit`, and its variables {"params", "buffers"}.

    An articulated one has {"template"} besides, see `articulated.abstract_template`.
    """

    config: GeneratorConfig = struct.field(pytree_node=False)
    variables: Mapping[str, Any]


class Networks(nn.Module):
    """All of EG3D's networks under one roof; each is reached through its own method."""

    config: GeneratorConfig

    def setup(self) -> None:
        config = self.config
        dtype = jnp.dtype(config.dtype)
        self.mapping = stylegan2.Mapping(config.z_dim, config.c_dim, config.w_dim, config.mapping_layers)
        self.synthesis = stylegan2.Synthesis(
            config.plane_resolution,
            len(config.plane_axes) * config.plane_channels,
            config.channel_base,
            config.channel_max,
            config.conv_clamp,
            dtype,
        )
        self.decoder = Decoder(config.feature_channels, config.decoder_hidden, config.decoder_lr_mul)
        self.superresolution = Superresolution(config.superresolution, dtype)

    def __call__(self, z: jax.Array, c: jax.Array | None) -> jax.Array:
        """Runs everything once, which creates every parameter."""
        config = self.config
        w = self.mapping(z, c)
        ws = jnp.broadcast_to(w[:, None], (w.shape[0], config.num_ws, w.shape[-1]))
        outputs = self.synthesis(ws, "none")
        planes = triplane.split_channels(outputs.last, len(config.plane_axes))
        self.decoder(planes[:, 0, :1, 0])
        size = config.superresolution.input_resolution
        return self.superresolution(jnp.zeros((w.shape[0], size, size, config.feature_channels), jnp.float32), w)


@functools.partial(jax.jit, static_argnums=0)
def init(config: GeneratorConfig, key: jax.Array) -> Generator:
    """A generator with random variables."""
    c = jnp.zeros((1, config.c_dim), jnp.float32) if config.c_dim else None
    variables = Networks(config).init(key, jnp.zeros((1, config.z_dim), jnp.float32), c)
    made = {"params": variables["params"], "buffers": variables["buffers"]}
    if config.articulation is not None:
        made["template"] = articulated.abstract_template(config.articulation)
        if config.articulation.shape_hidden:
            of_shape = jax.random.fold_in(key, 1)
            told = shape_decoder(config.articulation).init(of_shape, jnp.zeros((1, config.w_dim), jnp.float32))
            made["params"] = {**made["params"], "shape": told["params"]}
    return Generator(config, made)


def abstract(config: GeneratorConfig) -> Generator:
    """A generator of shapes and dtypes instead of arrays."""
    return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def map_latents(
    generator: Generator,
    z: jax.Array,
    c: jax.Array | None = None,
    *,
    truncation_psi: float | jax.Array = 1.0,
    truncation_cutoff: int | None = None,
) -> jax.Array:
    """Intermediate latents ws (..., num_ws, w_dim) of latents z (..., z_dim).

    Args:
      c: (..., 25) the camera that conditions the mapping: frontal in EG3D's scripts, and not the rendering camera.
        Needed where config.c_dim is not 0.
      truncation_psi: 1 leaves w as it is, 0 gives the average w.
      truncation_cutoff: only the first so many latents are truncated; None for all.
    """
    config = generator.config
    if jnp.issubdtype(getattr(z, "dtype", jnp.float32), jax.dtypes.prng_key):
        raise ValueError(f"z is a random key: draw latents with it, jax.random.normal(key, ({config.z_dim},))")
    z = jnp.asarray(z, jnp.float32)
    if z.shape[-1:] != (config.z_dim,) or not z.size:
        raise ValueError(f"z must have {config.z_dim} numbers in its last axis, and not be empty; got shape {z.shape}.")
    checks.finite("z", z)
    batch = z.shape[:-1]
    z = z.reshape((-1, config.z_dim))
    if config.c_dim:
        if c is None:
            raise ValueError(
                "This generator's mapping is conditioned on a camera: pass c (..., 25), "
                "for instance cameras.to_eg3d of a frontal camera."
            )
        c = jnp.asarray(c, jnp.float32)
        if c.shape[-1:] != (config.c_dim,):
            raise ValueError(f"c must have {config.c_dim} numbers in its last axis; got shape {c.shape}.")
        c = jnp.broadcast_to(c, (*batch, config.c_dim)).reshape((-1, config.c_dim)) * config.c_scale
        c = jnp.zeros_like(c) if config.c_gen_conditioning_zero else c
    w: Any = Networks(config).apply(generator.variables, z, c, method=lambda g, z, c: g.mapping(z, c))
    ws = jnp.broadcast_to(w[:, None], (w.shape[0], config.num_ws, config.w_dim))
    cutoff = config.num_ws if truncation_cutoff is None else truncation_cutoff
    psi = jnp.where(jnp.arange(config.num_ws) < cutoff, jnp.asarray(truncation_psi, jnp.float32), 1.0)[:, None]
    w_avg = generator.variables["buffers"]["mapping"]["w_avg"]
    return (w_avg + psi * (ws - w_avg)).reshape(batch + ws.shape[1:])


def body_shape(generator: Generator, ws: jax.Array) -> jax.Array | None:
    """What the mean of ws (..., num_ws, w_dim) says of the template's shape (..., S); None if nothing.

    Truncation, which moves w towards its average, moves the shape towards the mean one.
    """
    articulation = generator.config.articulation
    if articulation is None or not articulation.shape_hidden:
        return None
    told: Any = {"params": generator.variables["params"]["shape"]}
    return jnp.asarray(shape_decoder(articulation).apply(told, jnp.mean(ws, axis=-2)))


def shape_decoder(articulation: ArticulationConfig) -> ShapeDecoder:
    """What tells a latent's shape from its w."""
    return ShapeDecoder(articulation.num_shapes, articulation.shape_hidden)


def synthesize_blocks(
    generator: Generator, ws: jax.Array, *, noise_mode: str = "const", key: jax.Array | None = None
) -> stylegan2.BlockOutputs:
    """All block outputs of latents ws (..., num_ws, w_dim); `to_planes` makes planes of the last.

    noise_mode: "const", "none", or "random", which needs a `key` of the batch's shape; static under `jit`.
    """
    ws = jnp.asarray(ws, jnp.float32)
    config, batch = generator.config, ws.shape[:-2]
    if ws.shape[-2:] != (config.num_ws, config.w_dim) or not ws.size:
        raise ValueError(f"ws must end in ({config.num_ws}, {config.w_dim}), and not be empty; got shape {ws.shape}.")
    key = keys.of_batch(key, batch, entry="latent")
    outputs: Any = Networks(config).apply(
        generator.variables,
        ws.reshape((-1, *ws.shape[-2:])),
        noise_mode,
        None if key is None else key.reshape(-1),
        method=lambda g, *args: g.synthesis(*args),
    )
    return jax.tree.map(lambda x: x.reshape(batch + x.shape[1:]), outputs)


def to_planes(config: GeneratorConfig, outputs: stylegan2.BlockOutputs) -> jax.Array:
    """EG3D's planes (..., P, R, R, C): the last block's image."""
    return triplane.split_channels(outputs.last, len(config.plane_axes))


def decode(generator: Generator, planes: jax.Array, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Raw density (..., N) and colour features (..., N, F) at points (..., N, 3) of planes (..., P, H, W, C).

    Points are of the world, or of the canonical one where the generator is articulated.
    """
    config = generator.config
    features = triplane.sample(planes, points, plane_axes=config.plane_axes, box_warp=config.rendering.box_warp)
    features = features / planes.shape[-4]
    decoded: Any = Networks(config).apply(generator.variables, features, method=lambda g, x: g.decoder(x))
    return decoded


def super_resolve(
    generator: Generator, features: jax.Array, ws: jax.Array, *, key: jax.Array | None = None
) -> jax.Array:
    """The final image (..., R, R, 3), about [-1, 1], of a feature image (..., h, w, F) and ws (..., num_ws, w_dim).

    key: of the batch's shape, where the super-resolution's noise is random.
    """
    config, batch = generator.config, features.shape[:-3]
    key = keys.of_batch(key, batch, entry="image")
    image: Any = Networks(config).apply(
        generator.variables,
        features.reshape((-1, *features.shape[-3:])),
        ws[..., -1, :].reshape((-1, config.w_dim)),
        None if key is None else key.reshape(-1),
        method=lambda g, *args: g.superresolution(*args),
    )
    return image.reshape(batch + image.shape[1:])
