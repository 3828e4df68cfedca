"""How well a backbone renders heads that it was not trained on: python -m dnerf_jax.heldout --out DIR

Scores and a sheet of latents that no other pack or training render has, from poses within +-30 degrees. Pretraining
scores its held-out identities with the same functions as it goes.
"""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, files
from dnerf_jax.models import generator, scenes
from dnerf_jax.networks.superresolution import resize
from dnerf_jax.ops import cameras, consistency, metrics, triplane
from dnerf_jax.training import process
from dnerf_jax.viz import pictures
from dnerf_jax.worlds import heads

SEED = 105  # of the latents; the packs have others


def main(out: str, checkpoint: str = "heads", count: int = 90):
    """Scores a generator of the heads world, with a trained super-resolution, on views that nothing else has.

    out: folder for heldout.json and heldout.jpg
    checkpoint: the generator
    count: how many latents, one view each
    """
    if count < 1:
        raise ValueError(f"--count is {count}: scores need at least one view.")
    process.prepare()
    model, out = _load(checkpoint), Path(out)
    if model.config.z_dim != heads.Z_DIM:
        raise ValueError(
            f"{checkpoint} takes latents of {model.config.z_dim} numbers, the heads world's have {heads.Z_DIM}: score "
            "a generator that was fitted to it."
        )
    views = world_views(range(count), model.config.image_resolution)
    scores = evaluate(model.config, model.variables, views, out / "heldout.jpg", final=True) | {"views": count}
    with files.atomic_file(out / "heldout.json") as file:
        file.write_text(json.dumps(scores, indent=1) + "\n")
    print("  ".join(f"{name} {value:.4g}" for name, value in scores.items()))


def world_views(latents, resolution):
    """z, camera, image, alpha and distance of one view, rendered by the world, of each latent of this stream."""
    parts = []
    for number in latents:
        rng = np.random.default_rng([SEED, number, 1])
        z = rng.standard_normal(heads.Z_DIM).astype(np.float32)
        pose = heads.sample_camera(rng)
        view = heads.render(heads.build(z), *pose, resolution)
        parts.append((z, *pose, view.image, np.round(view.alpha * 255).astype(np.uint8), view.distance))
    z, cam2world, intrinsics, image, alpha, distance = (np.stack(part) for part in zip(*parts, strict=True))
    return z, cameras.Camera(cam2world, intrinsics), image, alpha, distance


def evaluate(config, variables, views, sheet, *, final):
    """Scores of views of several identities, and a sheet of the first eight: true, rendered, depth.

    psnr_raw: of the neural rendering. opacity_iou, depth_error_median (world units) at its resolution. consistency:
    `consistency.warped_psnr` between neural renderings of one identity, 4 degrees apart. With `final` also of the
    final image: psnr and its standard error, psnr_foreground (of pixels that the head covers whole), ssim.

    Args:
      views: (z, camera, image, alpha, distance) of B views, as `head_batches.views` reads them.
      sheet: path of the picture.
      final: score and show the final image, not the neural rendering: its super-resolution is trained.
    """
    z, camera, image, alpha, distance = views
    features, ws, found_distance, opacity = map(np.asarray, render_features(config, variables, z, camera))
    true = image.astype(np.float32) / 127.5 - 1
    small = lambda x: np.asarray(resize(jnp.asarray(x), features.shape[1], antialias=True))  # noqa: E731
    solid = small(alpha[..., None].astype(np.float32) / 255)[..., 0]
    both = (solid > 0.999) & (opacity > 0.5)
    error = np.abs(found_distance - small(distance[..., None].astype(np.float32))[..., 0])[both]
    scores = {
        "psnr_raw": np.mean(metrics.psnr(features[..., :3], small(true))),
        "opacity_iou": ((solid > 0.5) & (opacity > 0.5)).sum() / ((solid > 0.5) | (opacity > 0.5)).sum(),
        "depth_error_median": np.median(error) if error.size else float("nan"),
        "consistency": _consistency(config, variables, z[0]),
    }
    if final:
        resolve = lambda one: generator.super_resolve(config, variables, *one)  # noqa: E731
        shown = np.clip(jax.lax.map(resolve, (features, ws)), -1, 1)
        covered = (alpha == 255)[..., None]
        error = np.sum(np.square(shown - true) * covered, axis=(1, 2, 3)) / (3 * covered.sum((1, 2, 3)))
        psnr = metrics.psnr(shown, true)
        scores["psnr"], scores["psnr_standard_error"] = np.mean(psnr), np.std(psnr) / len(psnr) ** 0.5
        scores["psnr_foreground"] = np.mean(10 * np.log10(4 / error))
        scores["ssim"] = np.mean(metrics.ssim(shown, true))
    else:
        shown = np.asarray(resize(features[:8, ..., :3], true.shape[1], antialias=False))
    limits = {"near": config.rendering.ray_start, "far": config.rendering.ray_end}
    depth = np.where(opacity > 0.5, found_distance, 0)[:8]
    times = true.shape[1] // depth.shape[1]
    depth = [pictures.enlarge(pictures.depth_picture(one, **limits), times) for one in depth]
    rows = [[pictures.to_uint8(x) for x in true[:8]], [pictures.to_uint8(x) for x in shown[:8]], depth]
    with files.atomic_file(sheet) as file:
        Image.fromarray(pictures.sheet(rows)).save(file, quality=90)
    return {name: float(score) for name, score in scores.items()}


@functools.partial(jax.jit, static_argnums=0)
def render_features(config, variables, z, camera):
    """Feature images (B, h, w, F) in [-1, 1], ws, distance and opacity of latents z (B, Z) from cameras (B)."""
    ws = generator.map_latents(config, variables, z)
    outputs = generator.synthesize_planes(config, variables, ws)
    planes = triplane.split_channels(outputs.last, len(config.plane_axes))
    rays = cameras.rays(camera, config.neural_rendering_resolution)
    # One image at a time: a batch of samples would not fit beside the training state on a small machine.
    samples = lambda one: generator.march(config, variables, one[0], one[1])  # noqa: E731
    render = lambda one: (lambda s: (generator.feature_image(config, s), s.distance, s.opacity))(samples(one))  # noqa: E731
    features, distance, opacity = jax.lax.map(render, (planes, rays))
    return features, ws, distance, opacity


def _consistency(config, variables, z):
    """Agreement in dB of neighbouring neural renderings of one latent z (Z,)."""
    camera = scenes.default_camera(config, yaw=np.radians([-6.0, -2.0, 2.0, 6.0]))
    features, _, distance, opacity = map(
        np.asarray, render_features(config, variables, np.broadcast_to(z, (4, len(z))), camera)
    )
    return consistency.warped_psnr(features[..., :3], np.where(opacity > 0.5, distance, 0), camera)


_load = checkpoints.load  # the door has a parameter of this module's name


if __name__ == "__main__":
    cli.door(main)
