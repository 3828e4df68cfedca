"""Renders many identities of the heads world into shards: folders of .npy arrays that can be memory-mapped.

Identity i draws its latent and then its cameras (yaw, pitch of view 0, of view 1, ...) from its stream, "identities"
of the seed: it is the same whatever the shards, the processes and the restarts. A shard is written whole or not at all,
and skipped if it is there, so that rendering can be repeated until all is done. n identities of V views at R x R
pixels:

    z (n, 52) float32                     image (n, V, R, R, 3) uint8, on white
    cam2world (n, V, 4, 4) float32        alpha (n, V, R, R) uint8
    intrinsics (3, 3) float32             mask (n, V, R, R) uint8
                                          distance (n, V, R, R) float16 along the ray, 0 where empty
"""

import os
import pathlib
import time
from collections.abc import Sequence

import numpy as np

from dnerf_jax.io import arrays, files, workers
from dnerf_jax.worlds import heads, streams
from dnerf_jax.worlds.views import render

SHARD = 250  # identities
# Degrees; wider than the evaluation's, so that its borders are learned too.
YAW, PITCH = (-35.0, 35.0), (-15.0, 20.0)


def identity(seed: int, index: int, views: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws identity `index`: z (Z_DIM,) float32, cam2world (views, 4, 4) and intrinsics (3, 3) float32."""
    rng = streams.stream("identities", seed, index)
    z = rng.standard_normal(heads.Z_DIM).astype(np.float32)
    cameras = [heads.sample_camera(rng, YAW, PITCH) for _ in range(views)]
    return z, np.stack([cam2world for cam2world, _ in cameras]), cameras[0][1]


def write_shard(
    path: str | os.PathLike, seed: int, start: int, num_identities: int, views: int, resolution: int
) -> bool:
    """Renders identities start to start + num_identities - 1 into the folder `path`; False if it was there already."""
    path = pathlib.Path(path)
    if path.exists():
        return False
    shape = (num_identities, views, resolution, resolution)
    arrays = {
        "cam2world": np.zeros((num_identities, views, 4, 4), np.float32),
        "image": np.zeros((*shape, 3), np.uint8),
        "alpha": np.zeros(shape, np.uint8),
        "distance": np.zeros(shape, np.float16),
        "mask": np.zeros(shape, np.uint8),
    }
    latents = np.zeros((num_identities, heads.Z_DIM), np.float32)
    for row in range(num_identities):
        latents[row], poses, intrinsics = identity(seed, start + row, views)
        rendered = render(heads, latents[row], [(cam2world, intrinsics) for cam2world in poses], resolution)
        for name, array in arrays.items():
            array[row] = getattr(rendered, name)
    with files.atomic_folder(path) as folder:
        for name, array in (arrays | {"z": latents, "intrinsics": intrinsics}).items():
            np.save(folder / f"{name}.npy", array)
    return True


def read_shard(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Maps a shard's arrays into memory, read-only, by name. Raises ValueError, naming the file: one is damaged."""
    return {file.stem: arrays.map_array(file) for file in sorted(pathlib.Path(path).glob("*.npy"))}


class Shards:
    """Identities 0 to n - 1 of a folder of shards: `shards[i]` is a dictionary of that identity's arrays.

    intrinsics: (3, 3), which all views share.
    """

    def __init__(self, paths: Sequence[str | os.PathLike]) -> None:
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
    """Renders the shards that are missing in `folder`, in several processes, and opens all of them.

    Prints a line for every shard, with the rate and the time that is left. Nobody else may render into the folder
    meanwhile. Raises ValueError for counts below 1.
    """
    counts = {"identities": identities, "views": views, "resolution": resolution, "processes": processes}
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"the number of {name} is {value}, expected at least 1: give another")
    paths = {}
    for start in range(0, identities, SHARD):
        count = min(SHARD, identities - start)
        name = f"shard_{start:06d}_{count}_{views}x{resolution}_seed{seed}"
        paths[start] = pathlib.Path(folder) / name, count
    files.remove_partials(folder)
    missing = {start: entry for start, entry in paths.items() if not entry[0].exists()}
    if missing:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the processes are the parallelism
        begun, done, total = time.monotonic(), 0, sum(count for _, count in missing.values())
        print(f"rendering {total:,} identities in {views} views each; the first {SHARD} take minutes", flush=True)
        calls = {path: (path, seed, start, count, views, resolution) for start, (path, count) in missing.items()}
        counted = dict(missing.values())
        for path in workers.each(write_shard, calls, processes):
            done += counted[path]
            rate = done / (time.monotonic() - begun)
            print(
                f"{path.name}: {rate:.2f} identities/s, {rate * views:.1f} views/s, "
                f"{(total - done) / rate / 60:.1f} min left",
                flush=True,
            )
    return Shards([path for path, _ in paths.values()])
