"""Renders the bodies world: python -m dnerf_jax.worlds.bodies --out DIR --num N --views V --seed S --resolution R"""

from dnerf_jax import cli
from dnerf_jax.io import folders
from dnerf_jax.ops.ranges import Count, Natural
from dnerf_jax.worlds import bodies, renders


def main(out: str, num: Count = 8, views: Count = 3, seed: Natural = 0, resolution: Count = 256) -> None:
    """Writes posed labelled renders of random bodies, each in a pose of its own.

    Image and mask PNG, depth and canonical npy, pose npz, cameras.json.

    out: folder to write into
    num: number of identities
    views: views per identity, from all around
    seed: of the identities and poses; the same give the same pictures
    resolution: pixels along each side
    """
    with folders.claimed(out, known_by=renders.KNOWN_BY) as folder:
        renders.write(bodies, folder, num, views, seed, resolution)
    print(f"{num} identities x {views} views in {folder}")


if __name__ == "__main__":
    cli.door(main)
