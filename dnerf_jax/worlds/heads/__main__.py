"""Renders the heads world: python -m dnerf_jax.worlds.heads --out DIR --num N --views V --seed S --resolution R"""

from dnerf_jax import cli
from dnerf_jax.io import folders
from dnerf_jax.ops.ranges import Count, Natural
from dnerf_jax.worlds import heads, renders


def main(out: str, num: Count = 8, views: Count = 3, seed: Natural = 0, resolution: Count = 256) -> None:
    """Writes posed labelled renders of random heads: image and mask PNG, depth npy, cameras.json.

    out: folder to write into
    num: number of identities
    views: views per identity, within +-30 degrees
    seed: of the identities; the same give the same pictures
    resolution: pixels along each side
    """
    with folders.claimed(out, known_by=renders.KNOWN_BY) as folder:
        renders.write(heads, folder, num, views, seed, resolution)
    print(f"{num} identities x {views} views in {folder}")


if __name__ == "__main__":
    cli.door(main)
