"""EG3D's generator as pure functions: latents to w, w to tri-planes, tri-planes to rays' samples, features to images.

Every function takes the configuration and the Flax variables first. `variables` is {"params", "buffers"}; the tree
follows PyTorch's names (see `networks`). Leading batch dimensions of z, ws and cameras are free; `march` works on
one image and is vmapped by `scene.render`.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from dnerf_jax.networks import stylegan2
from dnerf_jax.networks.decoders import Decoder
from dnerf_jax.networks.superresolution import Superresolution, SuperresolutionConfig
from dnerf_jax.ops import triplane, volume


@dataclasses.dataclass(frozen=True)
class RenderingConfig:
    """Where rays are sampled. Distances in world units.

    Attributes:
      depth_resolution: stratified samples per ray.
      depth_resolution_importance: further samples where the first found density.
      ray_start, ray_end: sampling limits, or both "auto": the box.
      box_warp: side of the tri-plane's box.
      white_back: empty rays are white (ShapeNet, and the embedded heads), otherwise black.
      disparity_space_sampling: space stratified samples evenly in 1 / distance.
      avg_camera_radius, avg_camera_pivot: the orbit of default cameras.
    """

    depth_resolution: int = 48
    depth_resolution_importance: int = 48
    ray_start: float | str = 2.25
    ray_end: float | str = 3.3
    box_warp: float = 1.0
    white_back: bool = False
    disparity_space_sampling: bool = False
    avg_camera_radius: float = 2.7
    avg_camera_pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)


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
    """

    z_dim: int = 512
    c_dim: int = 25
    w_dim: int = 512
    mapping_layers: int = 2
    plane_resolution: int = 256
    plane_channels: int = 32
    channel_base: int = 32768
    channel_max: int = 512
    conv_clamp: float | None = 256.0
    feature_channels: int = 32
    decoder_hidden: int = 64
    decoder_lr_mul: float = 1.0
    neural_rendering_resolution: int = 128
    plane_axes: tuple[tuple[tuple[float, ...], ...], ...] = triplane.EG3D_AXES
    c_scale: float = 1.0
    c_gen_conditioning_zero: bool = False
    dtype: str = "float32"
    superresolution: SuperresolutionConfig = SuperresolutionConfig()
    rendering: RenderingConfig = RenderingConfig()

    @property
    def image_resolution(self):
        """Side of the final image."""
        return self.superresolution.resolutions[-1]

    @property
    def num_ws(self):
        """How many intermediate latents the backbone consumes."""
        return stylegan2.num_ws(self.plane_resolution)


@struct.dataclass
class Samples:
    """What one pass along the rays of an image leaves for every modality to composite.

    points: (..., H, W, S, 3) world positions. weights: (..., H, W, S) of the samples, summing to the opacity.
    features: the decoded colour features (..., H, W, S', F) of coarse and of fine samples, a tuple. depths:
    (..., H, W, S) sorted along the ray, and order: (..., H, W, S) the permutation that sorts the samples.
    distance, opacity: (..., H, W).
    """

    points: jax.Array
    weights: jax.Array
    features: tuple[jax.Array, ...]
    depths: jax.Array
    order: jax.Array
    distance: jax.Array
    opacity: jax.Array


class Generator(nn.Module):
    """All of EG3D's networks under one roof; each is reached through its own method."""

    config: GeneratorConfig

    def setup(self):
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

    def __call__(self, z, c):
        """Runs everything once, which creates every parameter."""
        config = self.config
        w = self.mapping(z, c)
        ws = jnp.broadcast_to(w[:, None], (w.shape[0], config.num_ws, w.shape[-1]))
        outputs = self.synthesis(ws, "none")
        planes = triplane.split_channels(outputs.last, len(config.plane_axes))
        self.decoder(planes[:, 0, :1, 0])
        size = config.superresolution.input_resolution
        return self.superresolution(jnp.zeros((w.shape[0], size, size, config.feature_channels)), w)


@functools.partial(jax.jit, static_argnums=0)
def init(config, key):
    """Random variables {"params", "buffers"} of a generator."""
    c = jnp.zeros((1, config.c_dim)) if config.c_dim else None
    variables = Generator(config).init(key, jnp.zeros((1, config.z_dim)), c)
    return {"params": variables["params"], "buffers": variables["buffers"]}


def abstract_variables(config):
    """Shapes and dtypes of a generator's variables, without making them."""
    return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def map_latents(config, variables, z, c=None, *, truncation_psi=1.0, truncation_cutoff=None):
    """Intermediate latents ws (..., num_ws, w_dim) of latents z (..., z_dim).

    Args:
      c: (..., 25) the camera that conditions the mapping: frontal in EG3D's scripts, and not the rendering camera.
        Needed where config.c_dim is not 0.
      truncation_psi: 1 leaves w as it is, 0 gives the average w.
      truncation_cutoff: only the first so many latents are truncated; None for all.
    """
    if z.shape[-1] != config.z_dim:
        raise ValueError(f"z must have {config.z_dim} numbers in its last axis; got shape {z.shape}.")
    batch = z.shape[:-1]
    z = z.reshape((-1, config.z_dim)).astype(jnp.float32)
    if config.c_dim:
        if c is None:
            raise ValueError(
                "This generator's mapping is conditioned on a camera: pass c (..., 25), "
                "for instance cameras.to_eg3d of a frontal camera."
            )
        if c.shape[-1] != config.c_dim:
            raise ValueError(f"c must have {config.c_dim} numbers in its last axis; got shape {c.shape}.")
        c = jnp.broadcast_to(c, batch + (config.c_dim,)).reshape((-1, config.c_dim)) * config.c_scale
        c = jnp.zeros_like(c) if config.c_gen_conditioning_zero else c
    w = Generator(config).apply(variables, z, c, method=lambda g, z, c: g.mapping(z, c))
    ws = jnp.broadcast_to(w[:, None], (w.shape[0], config.num_ws, config.w_dim))
    cutoff = config.num_ws if truncation_cutoff is None else truncation_cutoff
    psi = jnp.where(jnp.arange(config.num_ws) < cutoff, truncation_psi, 1.0)[:, None]
    w_avg = variables["buffers"]["mapping"]["w_avg"]
    return (w_avg + psi * (ws - w_avg)).reshape(batch + ws.shape[1:])


def synthesize_planes(config, variables, ws, *, noise_mode="const", key=None):
    """All block outputs (`BlockOutputs`) of latents ws (..., num_ws, w_dim); `.last` are the planes' channels.

    `key` has the batch's shape and is needed for noise_mode="random" only.
    """
    batch = ws.shape[:-2]
    if ws.shape[-2:] != (config.num_ws, config.w_dim):
        raise ValueError(f"ws must end in ({config.num_ws}, {config.w_dim}); got shape {ws.shape}.")
    outputs = Generator(config).apply(
        variables,
        ws.reshape((-1,) + ws.shape[-2:]),
        noise_mode,
        None if key is None else key.reshape(-1),
        method=lambda g, *args: g.synthesis(*args),
    )
    return jax.tree.map(lambda x: x.reshape(batch + x.shape[1:]), outputs)


def decode(config, variables, planes, points):
    """Raw density (..., N) and colour features (..., N, F) at world points (..., N, 3) of planes (..., P, H, W, C)."""
    features = triplane.sample(planes, points, plane_axes=config.plane_axes, box_warp=config.rendering.box_warp)
    return Generator(config).apply(variables, features / planes.shape[-4], method=lambda g, x: g.decoder(x))


def draw_uniforms(config, shape, *, key=None):
    """What places the samples of rays of `shape`: (coarse (*shape, S), fine (*shape, S')) numbers in [0, 1).

    key: draws them at random, as EG3D does; None gives fixed quantiles, which do not flicker.
    """
    coarse, fine = config.rendering.depth_resolution, config.rendering.depth_resolution_importance
    if key is None:
        quantiles = (jnp.arange(fine) + 0.5) / max(fine, 1)
        return jnp.full(shape + (coarse,), 0.5), jnp.broadcast_to(quantiles, shape + (fine,))
    keys = jax.random.split(key)
    return jax.random.uniform(keys[0], shape + (coarse,)), jax.random.uniform(keys[1], shape + (fine,))


def ray_limits(config, rays):
    """Where along the rays of an image sampling starts and ends, each (..., h, w)."""
    options = config.rendering
    return volume.ray_limits(rays, options.ray_start, options.ray_end, options.box_warp)


def march(config, variables, planes, rays, *, key=None, uniforms=None, limits=None):
    """Samples the rays of one image through one scene: the density once, for every modality (`Samples`).

    Args:
      planes: (P, H, W, C) of one scene.
      rays: `Rays` (h, w, 3) of one camera.
      key: draws depths at random (`draw_uniforms`).
      uniforms: what `draw_uniforms` returns, to use instead.
      limits: what `ray_limits` returns, for rays that are a part of an image.
    """
    options = config.rendering
    coarse, fine = options.depth_resolution, options.depth_resolution_importance
    u_coarse, u_fine = uniforms or draw_uniforms(config, rays.directions.shape[:-1], key=key)
    start, end = limits or ray_limits(config, rays)
    depths = volume.stratified_depths(
        None, start, end, coarse, disparity=options.disparity_space_sampling, uniforms=u_coarse
    )
    points, sigma, features = _decode_along(config, variables, planes, rays, depths)
    features, order = (features,), jnp.broadcast_to(jnp.arange(coarse), depths.shape)
    if fine:
        weights = volume.weights_from_density(sigma, depths)
        fine_depths = volume.importance_depths(None, depths, weights, fine, uniforms=u_fine)
        more = _decode_along(config, variables, planes, rays, fine_depths)
        points, features = jnp.concatenate([points, more[0]], axis=-2), (*features, more[2])
        depths, order = volume.merge_sorted(depths, fine_depths)
        sigma = jnp.take_along_axis(jnp.concatenate([sigma, more[1]], axis=-1), order, axis=-1)
    weights = volume.weights_from_density(sigma, depths)
    distance, opacity = volume.expected_depth(weights, depths)
    # Weights go back to the order in which samples were decoded: cheaper than sorting their features.
    in_order = jnp.take_along_axis(volume.sample_weights(weights), volume.invert_permutation(order), axis=-1)
    return Samples(points, in_order, features, depths, order, distance, opacity)


def feature_image(config, samples):
    """The rendered features (..., H, W, F) in [-1, 1]; the first three channels are the raw image."""
    image = volume.blend(samples.weights, samples.features)
    if config.rendering.white_back:
        image = image + 1 - samples.opacity[..., None]
    return image * 2 - 1


def super_resolve(config, variables, features, ws, *, key=None):
    """The final image (..., R, R, 3), about [-1, 1], of a feature image (..., h, w, F) and ws (..., num_ws, w_dim)."""
    batch = features.shape[:-3]
    image = Generator(config).apply(
        variables,
        features.reshape((-1,) + features.shape[-3:]),
        ws[..., -1, :].reshape((-1, config.w_dim)),
        None if key is None else key.reshape(-1),
        method=lambda g, *args: g.superresolution(*args),
    )
    return image.reshape(batch + image.shape[1:])


def _decode_along(config, variables, planes, rays, depths):
    """Points (h, w, S, 3), raw densities (h, w, S) and features (h, w, S, F) at depths (h, w, S) along rays."""
    points = rays.origins[..., None, :] + depths[..., None] * rays.directions[..., None, :]
    sigma, features = decode(config, variables, planes, points.reshape(-1, 3))
    return points, sigma.reshape(depths.shape), features.reshape(depths.shape + features.shape[-1:])
