"""Renders the heads world: python -m dnerf_jax.worlds.heads --out DIR --num N --views V --seed S --resolution R"""

import pathlib

import numpy as np

from dnerf_jax import cli
from dnerf_jax.io import files, folders, png
from dnerf_jax.ops.ranges import Count, Natural
from dnerf_jax.worlds import heads, streams
from dnerf_jax.worlds.views import render


def main(out: str, num: Count = 8, views: Count = 3, seed: Natural = 0, resolution: Count = 256) -> None:
    """Writes posed labelled renders of random heads: image and mask PNG, depth npy, cameras.json.

    out: folder to write into
    num: number of identities
    views: views per identity, within +-30 degrees
    seed: of the identities; the same give the same pictures
    resolution: pixels along each side
    """
    with folders.claimed(out, known_by=["cameras.json", "00000_00_image.png"]) as folder:
        write(folder, num, views, seed, resolution)
    print(f"{num} identities x {views} views in {folder}")


def write(folder: pathlib.Path, num: int, views: int, seed: int, resolution: int) -> None:
    """Writes `num` identities, each in `views` views, and their cameras into a folder."""
    cameras = {}
    for index in range(num):
        rng = streams.stream("identities", seed, index)
        z = rng.standard_normal(heads.Z_DIM)
        rendered = render(heads, z, [heads.sample_camera(rng) for _ in range(views)], resolution)
        for number in range(views):
            name = f"{index:05d}_{number:02d}"
            png.save_image(folder / f"{name}_image.png", rendered.image[number])
            png.save_mask(folder / f"{name}_mask.png", rendered.mask[number], heads.LABELS)
            np.save(folder / f"{name}_depth.npy", rendered.depth_z[number])
            cameras[name] = {
                "cam2world": rendered.cam2world[number].tolist(),
                "intrinsics": rendered.intrinsics[number].tolist(),
                "metres_per_unit": float(rendered.metres_per_unit[number]),
            }
    files.write_json(folder / "cameras.json", cameras)


if __name__ == "__main__":
    cli.door(main)
