"""transforms.json of nerfstudio and instant-ngp: every identity is a scene of its own.

    train/00000012/transforms.json
                   images/00000012_00.png      as in the dataset
                   labels/00000012_00.png      as in the dataset: class ids
                   depths/00000012_00.png      16 bits, 0 where empty, thousandths of a world unit along the axis
                   points.ply                  the cloud, if there is one: where Gaussians begin
    labelmap.json

The world stays as it is (y up, world units); cameras are OpenGL's, camera to world: x right, y up, z backwards.
fl_x, fl_y, cx, cy are pixels, of pictures whose first pixel has its centre at 0.5, as both programs have it. They stand
at the top where all views share them, else in every frame.

- nerfstudio takes depths for millimetres of the world of the cameras (`depth_unit_scale_factor` 1e-3), and so they are
  written, rounded to 0.0005; instant-ngp reads `depth_path` by `integer_depth_scale`. Both mean depth along the axis.
- `label_path` is read by neither. As `mask_path` nerfstudio would learn from the pixels that are not 0 alone and leave
  open what is behind the head; rename the entry if that is what you want.
- scale, offset and aabb_scale make instant-ngp's unit cube the box of the tri-planes.
"""

from pathlib import Path
from typing import Any

import numpy as np

from dnerf_jax.factory import record
from dnerf_jax.factory.loading import Dataset
from dnerf_jax.factory.writers import identities
from dnerf_jax.factory.writers.streaming import View
from dnerf_jax.io import encoding, files
from dnerf_jax.ops import cameras

DEPTH_STEP = 1e-3  # world units
_POINTS = "points.ply"


def write(dataset: Dataset, out: Path) -> None:
    """Writes a scene for every identity; `out` is empty. Masks, depth and clouds are written where there are any."""
    identities.write_label_map(dataset, out)
    for scene in identities.scenes(dataset):
        folder = out / scene.place
        frames = [_frame(view, folder) for view in scene.views]
        lenses = [_lens(view, dataset.description.image_resolution) for view in scene.views]
        shared = all(lens == lenses[0] for lens in lenses)
        if not shared:
            frames = [lens | frame for lens, frame in zip(lenses, frames, strict=True)]
        content = (lenses[0] if shared else {}) | {
            "aabb_scale": 1,
            "scale": 1 / dataset.description.content["box_side"],
            "offset": [0.5, 0.5, 0.5],
            "up": [0, 1, 0],
            "applied_transform": np.eye(3, 4).tolist(),
        }
        if "depth_z" in dataset.forms:
            content["integer_depth_scale"] = DEPTH_STEP
        if "points" in dataset.plan.modalities:
            content["ply_file_path"] = _POINTS
            (folder / _POINTS).write_bytes(dataset.object("points", scene.identity))
        files.write_json(folder / "transforms.json", content | {"frames": frames})


def _frame(view: View, folder: Path) -> dict[str, Any]:
    """What transforms.json says of a view, whose pictures are written."""
    pictures = {"images": view.file("image")}
    if "mask" in view.forms:
        pictures["labels"] = view.file("mask")
    if "depth_z" in view.forms:
        pictures["depths"] = encoding.encode_png(_thousandths(view))
    names = {kind: f"{kind}/{view.own['key']}.png" for kind in pictures}
    for kind, data in pictures.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / names[kind]).write_bytes(data)
    entries = {"images": ("file_path",), "labels": ("label_path",), "depths": ("depth_file_path", "depth_path")}
    paths = {entry: names[kind] for kind in pictures for entry in entries[kind]}
    return paths | {"transform_matrix": record.numbers_of(cameras.flip_opengl(view.own["cam2world"]) + 0.0)}


def _lens(view: View, size: int) -> dict[str, Any]:
    """The intrinsics of a view in pixels. Raises ValueError: they have skew."""
    params = cameras.to_colmap(identities.camera_of(view), size)[-1]  # whose pixel centres lie at halves, too
    return dict(zip(("fl_x", "fl_y", "cx", "cy"), params, strict=True)) | {"w": size, "h": size}


def _thousandths(view: View) -> np.ndarray:
    """Depth in steps of DEPTH_STEP, uint16. Raises ValueError: it is too far for 16 bits."""
    depth = record.restored(view.forms["depth_z"], view.numbers("depth_z")).astype(np.float64)
    steps = np.rint(depth / DEPTH_STEP)
    if steps.max() > np.iinfo(np.uint16).max:
        raise ValueError(
            f"{view.own['key']}: its depth goes to {depth.max():.4g} world units, beyond the 65.535 that these files "
            "hold: export to another form"
        )
    return steps.astype(np.uint16)
