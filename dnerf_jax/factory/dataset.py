"""Datasets of labelled views: a folder per latent, with images, masks, depth, cameras and a labelled cloud.

Each latent becomes a folder, written whole or not at all; latents that are there with all their files are skipped, so
a run that was stopped continues. Latent i comes from fold_in(key(seed), i): it does not depend on the batch or on how
many there are.

    000000/image_00.png         (R, R) RGB              000000/depth_z_00.npy    (R, R) float32, 0 where empty
    000000/mask_00.png          (R, R) index PNG        000000/distance_00.npy   the same along the ray
    000000/cameras.json         cam2world, intrinsics   000000/latent.npy        z (z_dim,) float32
    000000/cloud.ply            fused points, colours, labels
    dataset.json                seed, settings, fingerprints, units and frame    labelmap.json    sheet.png
"""

import dataclasses
import functools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.io import arrays, files, ply, png
from dnerf_jax.models import scenes
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.model import Model, fingerprint
from dnerf_jax.models.scenes import View
from dnerf_jax.ops import images, points
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some
from dnerf_jax.ops.points import PointCloud
from dnerf_jax.ops.ranges import Angle, Count, HalfTurn, Positive, Seed, Truncation
from dnerf_jax.training import logs, runs
from dnerf_jax.viz import pictures

DESCRIPTION = "dataset.json"
FRAME = (
    "World frame: x to the image's right in a frontal view, y up, z towards the frontal camera. Lengths are in world "
    "units: the tri-plane's box has the side box_side, and a unit is some metres_per_unit metres (null: unknown). "
    "Cameras are OpenCV camera-to-world (x right, y down, z forward); intrinsics are divided by the image size. "
    "depth_z is along the optical axis, distance along the ray."
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """A dataset.

    Attributes:
      seed: of latents and cameras.
      latents, views: how many latents, and cameras of each.
      batch: latents synthesised at a time; changes nothing in the data.
      yaw, pitch: cameras lie within +-yaw and +-pitch degrees of frontal; yaws are spread over equal parts.
      truncation_psi: see `scenes.synthesize`.
      voxel_size: of the fused clouds, in world units.
    """

    seed: Seed
    latents: Count
    views: Count
    batch: Count
    yaw: HalfTurn
    pitch: Angle
    truncation_psi: Truncation
    voxel_size: Positive


def generate(settings: Settings, model: Model, out: Path, *, rows_at_once: int | None = None) -> None:
    """Writes a dataset into the folder `out`, and its contact sheet; latents that are there are kept.

    rows_at_once: see `scenes.render`. Raises ValueError: `out` holds a dataset of other settings or another checkpoint.
    """
    _describe(settings, model, out)
    names = set(_file_names(settings, model))
    missing = [i for i in range(settings.latents) if not _has(out / f"{i:06d}", names)]
    if surplus := [path.name for path in _latents(out) if int(path.name) >= settings.latents]:
        warnings.warn(f"{out} also has latents beyond these {settings.latents}: {some(surplus)}", stacklevel=2)
    done = settings.latents - len(missing)
    progress = logs.Progress(settings.latents, start=done, unit="latent")
    for start in range(0, len(missing), settings.batch):
        indices = missing[start : start + settings.batch]
        made = render_latents(settings, model, indices, rows_at_once=rows_at_once)
        for index, (z, views) in zip(indices, made, strict=True):
            write_latent(out / f"{index:06d}", z, views, model, settings.voxel_size)
        progress.update(done + start + len(indices))
    write_sheet(settings, model, out)


def render_latents(
    settings: Settings, model: Model, indices: Sequence[int], *, rows_at_once: int | None = None
) -> list[tuple[np.ndarray, View]]:
    """Latents by their indices: for each its z (z_dim,) and a `View` with the leading dimension (views,)."""
    # The batch is always full, so that there is one program to compile; what is too many is dropped.
    padded = list(indices) + [indices[-1]] * (settings.batch - len(indices))
    z, camera = _sample(_of_sample(settings), model.generator.config, jnp.asarray(padded, jnp.int32))
    made = _synthesize(model, z, truncation_psi=settings.truncation_psi)
    views = [_render(model, made, camera[:, v], rows_at_once=rows_at_once) for v in range(settings.views)]
    joined: View = jax.tree.map(lambda *parts: np.stack([np.asarray(part) for part in parts], axis=1), *views)
    return [(np.asarray(z[i]), joined[i]) for i in range(len(indices))]


def sample(settings: Settings, config: GeneratorConfig, index: int | jax.Array) -> tuple[jax.Array, Camera]:
    """Latent z (z_dim,) and cameras (views,) of number `index`, from the seed and the index alone."""
    key = jax.random.fold_in(jax.random.key(settings.seed), index)
    z_key, yaw_key, pitch_key = jax.random.split(key, 3)
    z, views = jax.random.normal(z_key, (config.z_dim,), jnp.float32), settings.views
    spread = jnp.arange(views, dtype=jnp.float32) + jax.random.uniform(yaw_key, (views,), jnp.float32)
    yaw = np.float32(np.radians(settings.yaw)) * (spread / views * 2 - 1)
    pitch = jax.random.uniform(pitch_key, (views,), jnp.float32, minval=-1.0, maxval=1.0)
    return z, scenes.default_camera(config, yaw, np.float32(np.radians(settings.pitch)) * pitch)


def write_latent(folder: Path, z: np.ndarray, views: View, model: Model, voxel_size: float) -> None:
    """Writes a latent z (z_dim,), its views (V,) and their fused cloud; a folder that is there is replaced."""
    label_map, scale = model.label_map, model.generator.config.rendering.metres_per_unit

    def empty_is_zero(x: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(x), x, 0).astype(np.float32)

    with files.atomic_folder(folder, replace=True) as temporary:
        for v in range(len(views)):
            png.save_image(temporary / f"image_{v:02d}.png", images.to_uint8(views.image[v], span=(-1, 1)))
            if views.mask is not None and label_map is not None:
                png.save_mask(temporary / f"mask_{v:02d}.png", views.mask[v], label_map)
            np.save(temporary / f"depth_z_{v:02d}.npy", empty_is_zero(views.depth_z[v]))
            np.save(temporary / f"distance_{v:02d}.npy", empty_is_zero(views.distance[v]))
        description = {
            "cam2world": views.camera.cam2world.tolist(),
            "intrinsics": views.camera.intrinsics.tolist(),
        }
        files.write_json(temporary / "cameras.json", description)
        np.save(temporary / "latent.npy", z)
        cloud = fused_cloud(views, label_map, voxel_size)
        ply.save_cloud(temporary / "cloud.ply", cloud, metres_per_unit=scale)


def fused_cloud(views: View, label_map: LabelMap | None, voxel_size: float) -> PointCloud:
    """One cloud of all views (V,) of a latent."""
    return points.fuse([points.from_view(views, label_map=label_map)], voxel_size=voxel_size)


def write_sheet(settings: Settings, model: Model, out: Path, count: int = 8) -> None:
    """Writes sheet.png: the first latents, a row each; every view's image, mask and depth."""
    rows = []
    for index in range(min(count, settings.latents)):
        folder = out / f"{index:06d}"
        try:
            rows.append(_row(folder, settings.views, model.label_map))
        except ValueError as error:
            raise ValueError(f"{error}. Delete {folder} and give the command again: it is made anew.") from error
    png.save_image(out / "sheet.png", pictures.sheet(rows))
    print(f"{settings.latents} latents x {settings.views} views in {out}")


def _row(folder: Path, views: int, label_map: LabelMap | None) -> list[np.ndarray]:
    """The pictures of a latent's views, side by side: image, mask, depth."""
    row = []
    for v in range(views):
        row.append(png.load_image(folder / f"image_{v:02d}.png"))
        if label_map is not None and (folder / f"mask_{v:02d}.png").exists():
            row.append(label_map.colorize(png.load_mask(folder / f"mask_{v:02d}.png", label_map)))
        row.append(pictures.depth_picture(arrays.load_array(folder / f"depth_z_{v:02d}.npy")))
    return row


def _latents(out: Path) -> list[Path]:
    """The folders of latents that a dataset has."""
    return sorted(path for path in out.glob("[0-9]*") if path.name.isdecimal())


def _file_names(settings: Settings, model: Model) -> list[str]:
    """What the folder of a latent has."""
    masks = ["mask_{:02d}.png"] if model.semantic is not None and model.label_map is not None else []
    each = ["image_{:02d}.png", "depth_z_{:02d}.npy", "distance_{:02d}.npy", *masks]
    names = [name.format(view) for view in range(settings.views) for name in each]
    return [*names, "cameras.json", "latent.npy", "cloud.ply"]


def _has(folder: Path, names: set[str]) -> bool:
    """Whether the folder of a latent has all its files, and none that a disk without space left empty."""
    return (
        folder.is_dir() and names <= set(os.listdir(folder)) and all((folder / name).stat().st_size for name in names)
    )


def _describe(settings: Settings, model: Model, out: Path) -> None:
    """Writes dataset.json. Raises ValueError: there is one of other settings, or of another checkpoint."""
    origin = {"fingerprint": model.fingerprint, "semantic_fingerprint": None}
    if model.semantic is not None:
        origin["semantic_fingerprint"] = fingerprint(model.semantic.params)
    new = runs.as_json(settings) | _named(origin)
    # Where no latent is, there is nothing yet that the settings could contradict.
    if (out / DESCRIPTION).exists() and _latents(out):
        found = files.read_json(out / DESCRIPTION, "the description of a dataset")
        parts = found.get("settings"), found.get("checkpoint")
        if not all(isinstance(part, dict) for part in parts):
            raise ValueError(f"{out / DESCRIPTION} lacks settings or checkpoint: restore it, or name another folder")
        old = found["settings"] | _named({name: found["checkpoint"].get(name) for name in origin})
        runs.require_same(out, old, new, except_for=("latents", "batch"))
    description = {
        "schema_version": 1,
        "settings": dataclasses.asdict(settings),
        "checkpoint": origin | dict(model.info),
        "frame": FRAME,
        "box_side": model.generator.config.rendering.box_warp,
        "metres_per_unit": model.generator.config.rendering.metres_per_unit,
        "jax": jax.__version__,
    }
    files.write_json(out / DESCRIPTION, description, indent=2)
    if model.semantic is not None and model.label_map is not None:
        png.save_label_map(out / "labelmap.json", model.label_map)


def _named(origin: dict[str, str | None]) -> dict[str, str | None]:
    """Fingerprints by what they are of."""
    return {"generator": origin["fingerprint"], "semantic branch": origin["semantic_fingerprint"]}


def _of_sample(settings: Settings) -> Settings:
    """The settings without what samples do not depend on, so that all share one program."""
    return dataclasses.replace(settings, latents=1, batch=1, truncation_psi=1.0, voxel_size=1.0)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sample(settings: Settings, config: GeneratorConfig, indices: jax.Array) -> tuple[jax.Array, Camera]:
    return jax.vmap(lambda i: sample(settings, config, i))(indices)


_synthesize, _render = jax.jit(scenes.synthesize), jax.jit(scenes.render, static_argnames="rows_at_once")
