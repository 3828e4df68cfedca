"""How well a generator renders heads that it was not trained on: views rendered, scored, drawn.

The views are of latents that no other pack or training render has, from poses within +-30 degrees. Pretraining scores
its held-out identities with the same functions as it goes.
"""

import os
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dnerf_jax.io import png
from dnerf_jax.models import generator, marching, scenes
from dnerf_jax.models.generator import Generator
from dnerf_jax.models.model import Model
from dnerf_jax.ops import cameras, consistency, images, metrics
from dnerf_jax.ops.cameras import Camera, Rays
from dnerf_jax.ops.resizing import resize
from dnerf_jax.training.pretraining.batches import TrueViews
from dnerf_jax.viz import pictures
from dnerf_jax.worlds import heads, streams, views

SHOWN = 8  # views on a sheet


@struct.dataclass
class Rendered:
    """Feature images (B, h, w, F) in [-1, 1], ws (B, num_ws, w_dim), distance and opacity (B, h, w)."""

    features: jax.Array
    ws: jax.Array
    distance: jax.Array
    opacity: jax.Array


def score_unseen(model: Model, count: int, *, picture: str | os.PathLike) -> dict[str, float]:
    """Scores a generator of the heads world, with a trained super-resolution, on `count` views that nothing else has.

    picture: path of the sheet. Raises ValueError: there is no view, or the generator is of another world.
    """
    if count < 1:
        raise ValueError(f"count is {count}: scores need at least one view.")
    config = model.generator.config
    if config.z_dim != heads.Z_DIM:
        raise ValueError(
            f"this generator takes latents of {config.z_dim} numbers, the heads world's have {heads.Z_DIM}: score "
            "a generator that was fitted to it."
        )
    true = world_views(range(count), config.image_resolution)
    return score_views(model.generator, true, picture=picture, final=True) | {"views": count}


def world_views(latents: Iterable[int], resolution: int) -> TrueViews:
    """One view, rendered by the world, of each latent of this stream."""
    parts = []
    for number in latents:
        rng = streams.stream("packs", streams.SEEDS["held_out"], number)
        z = rng.standard_normal(heads.Z_DIM).astype(np.float32)
        parts.append(views.render(heads, z, [heads.sample_camera(rng)], resolution))
    made = views.concatenate(parts)
    return TrueViews(made.z, Camera(made.cam2world, made.intrinsics), made.image, made.alpha, made.distance)


@jax.jit
def render_features(made: Generator, z: jax.Array, camera: Camera) -> Rendered:
    """The neural renderings of latents z (B, Z) from cameras (B)."""
    ws = generator.map_latents(made, z)
    planes = generator.to_planes(made.config, generator.synthesize_blocks(made, ws))
    rays = cameras.rays(camera, made.config.neural_rendering_resolution)

    def render(one: tuple[jax.Array, Rays]) -> tuple[jax.Array, jax.Array, jax.Array]:
        samples = marching.march(made, *one)
        return marching.feature_image(made.config, samples), samples.distance, samples.opacity

    # One image at a time: a batch of samples would not fit beside the training state on a small machine.
    features, distance, opacity = jax.lax.map(render, (planes, rays))
    return Rendered(features, ws, distance, opacity)


def score_views(made: Generator, true: TrueViews, *, picture: str | os.PathLike, final: bool) -> dict[str, float]:
    """Scores of views of several identities, and a sheet of the first eight: true, rendered, depth.

    psnr_raw: of the neural rendering. opacity_iou, depth_error_median (world units) at its resolution. consistency:
    `consistency.warped_psnr` between neural renderings of one identity, 4 degrees apart. With `final` also of the
    final image: psnr and its standard error, psnr_foreground (of pixels that the head covers whole), ssim.

    Args:
      picture: path of the sheet.
      final: score and show the final image, not the neural rendering: its super-resolution is trained.
    """
    rendered = jax.tree.map(np.asarray, render_features(made, true.z, true.camera))
    wanted, resolution = images.from_uint8(true.image), rendered.opacity.shape[-1]

    def small(x: np.ndarray) -> np.ndarray:
        return np.asarray(resize(jnp.asarray(x), resolution, antialias=True))

    solid = small(true.alpha[..., None].astype(np.float32) / 255)[..., 0]
    both = (solid > 0.999) & (rendered.opacity > 0.5)
    error = np.abs(rendered.distance - small(true.distance[..., None].astype(np.float32))[..., 0])[both]
    stopped, covered = rendered.opacity > 0.5, solid > 0.5
    scores = {
        "psnr_raw": np.mean(metrics.psnr(rendered.features[..., :3], small(wanted))),
        "opacity_iou": (covered & stopped).sum() / (covered | stopped).sum(),
        "depth_error_median": np.median(error) if error.size else float("nan"),
        "consistency": neighbours_agree(made, true.z[0]),
    }
    if final:
        shown = np.clip(_super_resolve(made, rendered.features, rendered.ws), -1, 1)
        psnr = np.asarray(metrics.psnr(shown, wanted))
        scores["psnr"] = np.mean(psnr)
        scores["psnr_standard_error"] = np.std(psnr, ddof=1) / len(psnr) ** 0.5 if len(psnr) > 1 else float("nan")
        scores["psnr_foreground"] = np.mean(metrics.psnr(shown, wanted, mask=true.alpha == 255))
        scores["ssim"] = np.mean(metrics.ssim(shown, wanted))
    else:
        shown = np.asarray(resize(jnp.asarray(rendered.features[:SHOWN, ..., :3]), wanted.shape[1], antialias=False))
    png.save_image(picture, sheet(made, wanted, shown, rendered))
    return {name: float(score) for name, score in scores.items()}


def sheet(made: Generator, wanted: np.ndarray, shown: np.ndarray, rendered: Rendered) -> np.ndarray:
    """A picture of the first views: true images and rendered ones (B, R, R, 3) in [-1, 1], and depth."""
    options = made.config.rendering
    depth = np.where(rendered.opacity > 0.5, rendered.distance, np.inf)[:SHOWN]
    colored = [pictures.depth_picture(one, near=options.ray_start, far=options.ray_end) for one in depth]
    rows = [list(images.to_uint8(image[:SHOWN], span=(-1, 1))) for image in (wanted, np.asarray(shown))]
    return pictures.sheet([*rows, [pictures.enlarge(one, wanted.shape[1] // len(one)) for one in colored]])


def neighbours_agree(made: Generator, z: np.ndarray) -> float:
    """Agreement in dB of neighbouring neural renderings of one latent z (Z,)."""
    camera = scenes.default_camera(made.config, yaw=np.radians([-6.0, -2.0, 2.0, 6.0]))
    rendered = jax.tree.map(np.asarray, render_features(made, np.broadcast_to(z, (4, len(z))), camera))
    distance = np.where(rendered.opacity > 0.5, rendered.distance, np.inf)
    return consistency.warped_psnr(rendered.features[..., :3], distance, camera)


@jax.jit
def _super_resolve(made: Generator, features: jax.Array, ws: jax.Array) -> jax.Array:
    """Final images (B, R, R, 3), one after the other."""
    return jax.lax.map(lambda one: generator.super_resolve(made, *one), (features, ws))
