"""Renders the heads world: python -m dnerf_jax.worlds.heads --out DIR --num N --views V --seed S --resolution R"""

import argparse
import json
import pathlib

import numpy as np

from dnerf_jax.worlds.heads import LABELS, Z_DIM, build, render, sample_camera


def main() -> None:
    """Writes posed labelled renders: image and mask PNG, depth npy, cameras json."""
    from PIL import Image

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder to write into")
    parser.add_argument("--num", type=int, default=8, help="number of identities")
    parser.add_argument("--views", type=int, default=3, help="views per identity")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resolution", type=int, default=256, help="pixels along each side")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cameras = {}
    for index in range(args.num):
        rng = np.random.Generator(np.random.PCG64([args.seed, index]))
        head = build(rng.standard_normal(Z_DIM))
        for number in range(args.views):
            cam2world, intrinsics = sample_camera(rng)
            view = render(head, cam2world, intrinsics, args.resolution)
            name = f"{index:05d}_{number:02d}"
            Image.fromarray(view.image).save(args.out / f"{name}_image.png")
            LABELS.save_mask(args.out / f"{name}_mask.png", view.mask)
            np.save(args.out / f"{name}_depth.npy", view.depth_z)
            cameras[name] = {
                "cam2world": cam2world.tolist(),
                "intrinsics": intrinsics.tolist(),
                "metres_per_unit": head.metres_per_unit,
            }
    (args.out / "cameras.json").write_text(json.dumps(cameras, indent=1))
    print(f"{args.num} identities x {args.views} views in {args.out}")


if __name__ == "__main__":
    main()
