"""How well a generator renders heads, or bodies in poses, that it was not trained on: views rendered, scored, drawn.

The views are of latents that no other pack or training render has, from where the world is looked at. Pretraining
scores its held-out identities with the same functions as it goes.
"""

import os
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dnerf_jax.io import png
from dnerf_jax.models import features, generator, scenes
from dnerf_jax.models.articulated import Pose
from dnerf_jax.models.generator import Generator
from dnerf_jax.models.model import Model
from dnerf_jax.models.views import Scene
from dnerf_jax.ops import consistency, images, metrics
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.resizing import resize
from dnerf_jax.training.pretraining.batches import TrueViews
from dnerf_jax.viz import pictures
from dnerf_jax.worlds import labelled, streams, views
from dnerf_jax.worlds.views import World

SHOWN = 8  # views on a sheet


@struct.dataclass
class Rendered:
    """ws (B, num_ws, w_dim), feature images (B, h, w, F) in [-1, 1], distance and opacity (B, h, w)."""

    ws: jax.Array
    features: jax.Array
    distance: jax.Array
    opacity: jax.Array


def score_unseen(model: Model, count: int, *, picture: str | os.PathLike) -> dict[str, float]:
    """Scores a generator of a world, with a trained super-resolution, on `count` views that nothing else has.

    picture: path of the sheet. Raises ValueError: there is no view, or the generator is of another world.
    """
    if count < 1:
        raise ValueError(f"count is {count}: scores need at least one view.")
    config, world = model.generator.config, views.of_classes(model.label_map)
    if config.z_dim != world.Z_DIM:
        raise ValueError(
            f"this generator takes latents of {config.z_dim} numbers, its world's have {world.Z_DIM}: score "
            "a generator that was fitted to it."
        )
    true = world_views(world, range(count), config.image_resolution)
    return score_views(model.generator, true, picture=picture, final=True) | {"views": count}


def world_views(world: World, latents: Iterable[int], resolution: int) -> TrueViews:
    """One view, rendered by the world, of each latent of this stream, in a pose if it has any."""
    parts, facts = [], []
    for number in latents:
        rng = streams.stream("packs", streams.SEEDS["held_out"], number)
        z = rng.standard_normal(world.Z_DIM).astype(np.float32)
        camera = world.sample_camera(rng)
        scene = world.build(z, world.sample_pose(rng)) if world.articulation() else world.build(z)
        parts.append(views.of_scene(world, z, scene, [camera], resolution))
        facts.append(world.facts(scene))
    made = views.concatenate(parts)
    seen = Camera(made.cam2world, made.intrinsics)
    return TrueViews(made.z, seen, made.image, made.alpha, made.distance, labelled.pose_of(facts))


@jax.jit
def render_features(made: Generator, z: jax.Array, camera: Camera, pose: Pose | None = None) -> Rendered:
    """The neural renderings of latents z (B, Z) from cameras (B), of bodies in poses (B)."""
    scene, resolution = scenes.synthesize(Model(made), z, pose=pose), made.config.neural_rendering_resolution
    # Bodies leave most of a picture empty: parts without any of them are not rendered.
    rows = resolution if pose is None else max(1, resolution // 16)

    def render(one: tuple[Scene, Camera]) -> tuple[jax.Array, jax.Array, jax.Array]:
        image, _, surface = features.render(Model(made), resolution, rows, *one)
        return image, surface.distance, surface.opacity

    # One image at a time: a batch of samples would not fit beside the training state on a small machine.
    return Rendered(scene.ws, *jax.lax.map(render, (scene, camera)))


def score_views(made: Generator, true: TrueViews, *, picture: str | os.PathLike, final: bool) -> dict[str, float]:
    """Scores of views of several identities, and a sheet of the first eight: true, rendered, depth.

    psnr_raw: of the neural rendering. opacity_iou, depth_error_median (world units) at its resolution. consistency:
    `consistency.warped_psnr` between neural renderings of one identity, 4 degrees apart. With `final` also of the
    final image: psnr and its standard error, psnr_foreground (of pixels that the head covers whole), ssim.

    Args:
      picture: path of the sheet.
      final: score and show the final image, not the neural rendering: its super-resolution is trained.
    """
    rendered = jax.tree.map(np.asarray, render_features(made, true.z, true.camera, true.pose))
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
