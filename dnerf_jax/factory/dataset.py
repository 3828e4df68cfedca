"""Makes labelled data: python -m dnerf_jax.generate --config configs/generate.py --checkpoint DIR --out DIR

Each latent becomes a folder, written whole or not at all; latents that are there are skipped, so a run that was
stopped continues. Latent i comes from fold_in(key(seed), i): it does not depend on the batch or on how many there are.

    000000/image_00.png         (R, R) RGB              000000/depth_z_00.npy    (R, R) float32, 0 where empty
    000000/mask_00.png          (R, R) index PNG        000000/distance_00.npy   the same along the ray
    000000/cameras.json         cam2world, intrinsics   000000/cloud.ply         fused points, colours, labels
    dataset.json                seed, settings, fingerprint, units and frame    labelmap.json    sheet.png
"""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, files
from dnerf_jax.models import scenes
from dnerf_jax.ops import points
from dnerf_jax.training import logs, process, runs
from dnerf_jax.viz import pictures

FRAME = (
    "World frame: x to the image's right in a frontal view, y up, z towards the frontal camera; lengths in units of "
    "the tri-plane box. Cameras are OpenCV camera-to-world (x right, y down, z forward); intrinsics are divided by the "
    "image size. depth_z is along the optical axis, distance along the ray."
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """A dataset.

    Attributes:
      latents, views: how many latents, and cameras of each.
      batch: latents synthesised at a time; changes nothing in the data.
      yaw, pitch: cameras lie within +-yaw and +-pitch degrees of frontal; yaws are spread over equal parts.
      truncation_psi: see `scenes.synthesize`.
      voxel_size: of the fused clouds, in world units.
    """

    seed: int
    latents: int
    views: int
    batch: int
    yaw: float
    pitch: float
    truncation_psi: float
    voxel_size: float


def main(config, checkpoint: str, out: str):
    """Generates images, masks, depth, cameras and labelled point clouds.

    checkpoint: folder of the model, or an embedded name
    out: folder of the dataset; latents that are there are kept
    """
    process.prepare()
    generate(cli.as_dataclass(config, Settings), _load(checkpoint), Path(out))


def generate(run, model, out):
    """Writes the dataset of `run` into the folder `out`, and its contact sheet."""
    runs.remember(out, run, may_change=("latents", "batch"))
    _describe(run, model, out)
    missing = [i for i in range(run.latents) if not (out / f"{i:06d}").is_dir()]
    progress = logs.Progress(len(missing))
    for start in range(0, len(missing), run.batch):
        indices = missing[start : start + run.batch]
        for index, views in zip(indices, render_latents(run, model, indices), strict=True):
            write_latent(out / f"{index:06d}", views, model.label_map, run.voxel_size)
        progress.update(start + len(indices))
    write_sheet(run, model, out)


def render_latents(run, model, indices):
    """The views of latents by their indices: for each a `View` with the leading dimension (views,)."""
    # The batch is always full, so that there is one program to compile; what is too many is dropped.
    padded = list(indices) + [indices[-1]] * (run.batch - len(indices))
    z, camera = jax.vmap(lambda i: draw(run, model.config, i))(jnp.asarray(padded))
    scenes = _synthesize(model, z, truncation_psi=run.truncation_psi)
    views = [_render(model, scenes, camera[:, v]) for v in range(run.views)]
    views = jax.tree.map(lambda *parts: np.stack([np.asarray(part) for part in parts], axis=1), *views)
    return [jax.tree.map(lambda x, i=i: x[i], views) for i in range(len(indices))]


def draw(run, config, index):
    """Latent z (z_dim,) and cameras (views,) of a sample, from the seed and its index alone."""
    z_key, yaw_key, pitch_key = jax.random.split(jax.random.fold_in(jax.random.key(run.seed), index), 3)
    z = jax.random.normal(z_key, (config.z_dim,))
    spread = (jnp.arange(run.views) + jax.random.uniform(yaw_key, (run.views,))) / run.views * 2 - 1
    pitch = jax.random.uniform(pitch_key, (run.views,), minval=-1.0, maxval=1.0)
    return z, scenes.default_camera(config, jnp.radians(run.yaw) * spread, jnp.radians(run.pitch) * pitch)


def write_latent(folder, views, label_map, voxel_size):
    """Writes the views (V, ...) of one latent and their fused cloud."""
    empty_is_zero = lambda x: np.where(np.isfinite(x), x, 0).astype(np.float32)  # noqa: E731
    with files.atomic_folder(folder) as temporary:
        for v in range(len(views.image)):
            Image.fromarray(pictures.to_uint8(views.image[v])).save(temporary / f"image_{v:02d}.png")
            if views.mask is not None:
                label_map.save_mask(temporary / f"mask_{v:02d}.png", views.mask[v])
            np.save(temporary / f"depth_z_{v:02d}.npy", empty_is_zero(views.depth_z[v]))
            np.save(temporary / f"distance_{v:02d}.npy", empty_is_zero(views.distance[v]))
        description = {
            "cam2world": views.camera.cam2world.tolist(),
            "intrinsics": views.camera.intrinsics.tolist(),
        }
        (temporary / "cameras.json").write_text(json.dumps(description, indent=1) + "\n")
        points.save_ply(temporary / "cloud.ply", fused_cloud(views, label_map, voxel_size))


def fused_cloud(views, label_map, voxel_size):
    """One cloud of all views (V, ...) of a latent."""
    return points.fuse([points.from_view(views, label_map=label_map)], voxel_size=voxel_size)


def write_sheet(run, model, out, count=8):
    """Writes sheet.png: the first latents, a row each; every view's image, mask and depth."""
    rows = []
    for index in range(min(count, run.latents)):
        folder, row = out / f"{index:06d}", []
        for v in range(run.views):
            row.append(np.asarray(Image.open(folder / f"image_{v:02d}.png")))
            if (folder / f"mask_{v:02d}.png").exists():
                row.append(model.label_map.colorize(model.label_map.load_mask(folder / f"mask_{v:02d}.png")))
            row.append(pictures.depth_picture(np.load(folder / f"depth_z_{v:02d}.npy")))
        rows.append(row)
    with files.atomic_file(out / "sheet.png") as file:
        Image.fromarray(pictures.sheet(rows)).save(file)
    print(f"{run.latents} latents x {run.views} views in {out}")


def _describe(run, model, out):
    origin = {"fingerprint": model.fingerprint, "semantic_fingerprint": None}
    if model.semantic_config is not None:
        origin["semantic_fingerprint"] = checkpoints.fingerprint(model.semantic_params)
    if (out / "dataset.json").exists():
        found = json.loads((out / "dataset.json").read_text())["checkpoint"]
        if any(found[name] != origin[name] for name in origin):
            raise ValueError(f"{out} holds a dataset of another checkpoint: name another folder, or delete that one.")
    description = {
        "schema_version": 1,
        "settings": dataclasses.asdict(run),
        "checkpoint": origin | dict(model.info),
        "frame": FRAME,
        "box_side": model.config.rendering.box_warp,
        "jax": jax.__version__,
    }
    out.mkdir(parents=True, exist_ok=True)
    with files.atomic_file(out / "dataset.json") as file:
        file.write_text(json.dumps(description, indent=2) + "\n")
    if model.semantic_config is not None:
        model.label_map.save(out / "labelmap.json")


_load = checkpoints.load  # the door has a parameter of this module's name
_synthesize, _render = jax.jit(scenes.synthesize), jax.jit(scenes.render)


if __name__ == "__main__":
    cli.door(main)
