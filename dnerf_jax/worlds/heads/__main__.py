"""Renders the heads world: python -m dnerf_jax.worlds.heads --out DIR --num N --views V --seed S --resolution R"""

import pathlib

import numpy as np

from dnerf_jax import cli
from dnerf_jax.io import files, png
from dnerf_jax.worlds import heads, streams
from dnerf_jax.worlds.views import render


def main(out: str, num: int = 8, views: int = 3, seed: int = 0, resolution: int = 256) -> None:
    """Writes posed labelled renders of random heads: image and mask PNG, depth npy, cameras.json.

    out: folder to write into
    num: number of identities
    views: views per identity, within +-30 degrees
    seed: of the identities; the same give the same pictures
    resolution: pixels along each side
    """
    for name, value in {"num": num, "views": views, "resolution": resolution}.items():
        if value < 1:
            raise ValueError(f"--{name} is {value}, expected at least 1: give another")
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
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
    print(f"{num} identities x {views} views in {folder}")


if __name__ == "__main__":
    cli.door(main)
