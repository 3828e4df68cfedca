"""Renders many identities of the heads world into shards: folders of .npy arrays that can be memory-mapped.

    python -m dnerf_jax.worlds.head_shards --out DIR --identities 5000 --views 8 --resolution 128

Identity i draws its latent and then its cameras (yaw, pitch of view 0, of view 1, ...) from PCG64([seed, i]):
it is the same whatever the shards, the processes and the restarts. A shard is written whole or not at all,
and skipped if it is there, so the command can be repeated until all is done. n identities of V views at R x R
pixels:

    z (n, 52) float32                     image (n, V, R, R, 3) uint8, on white
    cam2world (n, V, 4, 4) float32        alpha (n, V, R, R) uint8
    intrinsics (3, 3) float32             mask (n, V, R, R) uint8
                                          distance (n, V, R, R) float16 along the ray, 0 where empty
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import os
import pathlib
import shutil
import time

import numpy as np

from dnerf_jax.worlds import heads

SHARD = 250  # identities
YAW, PITCH = (
    (-35.0, 35.0),
    (-15.0, 20.0),
)  # degrees; wider than the evaluation's, so that its borders are learned too


def identity(seed: int, index: int, views: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws identity `index`: z (Z_DIM,) float32, cam2world (views, 4, 4) and intrinsics (3, 3) float32."""
    generator = np.random.Generator(np.random.PCG64([seed, index]))
    z = generator.standard_normal(heads.Z_DIM).astype(np.float32)
    cameras = [heads.sample_camera(generator, YAW, PITCH) for _ in range(views)]
    return z, np.stack([cam2world for cam2world, _ in cameras]), cameras[0][1]


def write_shard(
    path: pathlib.Path, seed: int, start: int, num_identities: int, views: int, resolution: int
) -> bool:
    """Renders identities start to start + num_identities - 1 into the folder `path`; False if it was there
    already."""
    path = pathlib.Path(path)
    if path.exists():
        return False
    shape = (num_identities, views, resolution, resolution)
    arrays = {
        "z": np.zeros((num_identities, heads.Z_DIM), np.float32),
        "cam2world": np.zeros((num_identities, views, 4, 4), np.float32),
        "image": np.zeros((*shape, 3), np.uint8),
        "alpha": np.zeros(shape, np.uint8),
        "distance": np.zeros(shape, np.float16),
        "mask": np.zeros(shape, np.uint8),
    }
    for row in range(num_identities):
        z, cam2world, intrinsics = identity(seed, start + row, views)
        arrays["z"][row], arrays["cam2world"][row], arrays["intrinsics"] = z, cam2world, intrinsics
        head = heads.build(z)
        for number in range(views):
            view = heads.render(head, cam2world[number], intrinsics, resolution)
            at = row, number
            arrays["image"][at], arrays["mask"][at], arrays["distance"][at] = (
                view.image,
                view.mask,
                view.distance,
            )
            arrays["alpha"][at] = view.alpha * 255 + 0.5
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def read_shard(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Maps a shard's arrays into memory, read-only, by name."""
    return {file.stem: np.load(file, mmap_mode="r") for file in sorted(pathlib.Path(path).glob("*.npy"))}


class Shards:
    """Identities 0 to n - 1 of a folder of shards: `shards[i]` is a dictionary of that identity's arrays.

    intrinsics: (3, 3), which all views share.
    """

    def __init__(self, paths: list[pathlib.Path]):
        self._shards = [read_shard(path) for path in paths]
        self._starts = np.cumsum([0] + [len(shard["z"]) for shard in self._shards])
        self.intrinsics = np.asarray(self._shards[0]["intrinsics"])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"identity {index} of {len(self)}")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        row = index - self._starts[number]
        return {name: array[row] for name, array in self._shards[number].items() if name != "intrinsics"}


def render_shards(
    folder: str | os.PathLike, seed: int, identities: int, views: int, resolution: int, processes: int
) -> Shards:
    """Renders the shards that are missing in `folder`, in several processes, and opens all of them."""
    paths = {}
    for start in range(0, identities, SHARD):
        count = min(SHARD, identities - start)
        name = f"shard_{start:06d}_{count}_{views}x{resolution}_seed{seed}"
        paths[start] = pathlib.Path(folder) / name, count
    missing = {start: entry for start, entry in paths.items() if not entry[0].exists()}
    if missing:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the processes are the parallelism
        begun, done, total = time.monotonic(), 0, sum(count for _, count in missing.values())
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(processes, spawn) as workers:
            pending = {
                workers.submit(write_shard, path, seed, start, count, views, resolution): (path, count)
                for start, (path, count) in missing.items()
            }
            for job in concurrent.futures.as_completed(pending):
                path, count = pending[job]
                job.result()
                done += count
                rate = done / (time.monotonic() - begun)
                print(
                    f"{path.name}: {rate:.2f} identities/s, {rate * views:.1f} views/s, "
                    f"{(total - done) / rate / 60:.1f} min left",
                    flush=True,
                )
    return Shards([path for path, _ in paths.values()])


def main() -> None:
    """Renders all shards in several processes and prints the rate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the shards")
    parser.add_argument("--identities", type=int, default=5000)
    parser.add_argument("--views", type=int, default=8, help="views per identity")
    parser.add_argument("--resolution", type=int, default=128, help="pixels along each side")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in ("identities", "views", "resolution", "processes"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(args, name)}")
    shards = render_shards(
        args.out, args.seed, args.identities, args.views, args.resolution, args.processes
    )
    print(f"{len(shards)} identities in {args.out}")


if __name__ == "__main__":
    main()
