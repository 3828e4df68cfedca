"""Renders many identities of a world into shards: folders of .npy arrays that can be memory-mapped.

Identity i draws its latent, its cameras (yaw, pitch of view 0, of view 1, ...), and its pose where bodies are posed,
from its stream, "identities" of the seed: it is the same whatever the shards, the processes and the restarts. A shard
is written whole or not at all, and skipped if it is there, so that rendering can be repeated until all is done. n
identities of V views at R x R pixels:

    z (n, Z) float32                      image (n, V, R, R, 3) uint8, on white
    cam2world (n, V, 4, 4) float32        alpha (n, V, R, R) uint8
    intrinsics (3, 3) float32             mask (n, V, R, R) uint8
                                          distance (n, V, R, R) float16 along the ray, 0 where empty

and what else the world knows of an identity, by its `facts`: of bodies shape (n, S), rotations (n, B, 3, 3) and
translation (n, 3).
"""

import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from dnerf_jax.io import arrays, files, workers
from dnerf_jax.worlds import streams, views
from dnerf_jax.worlds.views import World

SHARD = 250  # identities


def identity(world: World, seed: int, index: int, count: int, posed: bool) -> tuple[np.ndarray, list[views.Pose], Any]:
    """Draws identity `index`: z (Z_DIM,) float32, `count` cameras, and its scene, posed at random or as it is.

    What is not posed is what a generator's planes hold, see `World.unposed`, and seen from farther around.
    """
    rng = streams.stream("identities", seed, index)
    z = rng.standard_normal(world.Z_DIM).astype(np.float32)
    if not posed:
        return z, [world.sample_training_camera(rng) for _ in range(count)], world.unposed(z)
    cameras = [world.sample_camera(rng) for _ in range(count)]
    return z, cameras, world.build(z, world.sample_pose(rng))


def write_shard(
    path: str | os.PathLike, name: str, seed: int, start: int, count: int, views_each: int, resolution: int, posed: bool
) -> bool:
    """Renders `count` identities of the world of this name, from `start`, into a folder; False if it is there."""
    path = pathlib.Path(path)
    if path.exists():
        return False
    world = views.named(name)
    parts: dict[str, list[np.ndarray]] = {}
    for index in range(start, start + count):
        z, cameras, scene = identity(world, seed, index, views_each, posed)
        rendered = views.of_scene(world, z, scene, cameras, resolution)
        entry = {key: getattr(rendered, key) for key in ("cam2world", "image", "alpha", "mask")}
        entry |= {"z": z, "distance": rendered.distance.astype(np.float16)} | world.facts(scene)
        for key, array in entry.items():
            parts.setdefault(key, []).append(array)
    with files.atomic_folder(path) as folder:
        for key, found in parts.items():
            np.save(folder / f"{key}.npy", np.stack(found))
        np.save(folder / "intrinsics.npy", cameras[0][1])
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

    @property
    def views_each(self) -> int:
        """How many views there are of every identity."""
        return int(self._shards[0]["alpha"].shape[1])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"identity {index} of {len(self)}")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        row = index - self._starts[number]
        return {name: array[row] for name, array in self._shards[number].items() if name != "intrinsics"}


def render_shards(
    folder: str | os.PathLike,
    world: str,
    seed: int,
    identities: int,
    views_each: int,
    resolution: int,
    processes: int,
    *,
    first: int = 0,
    posed: bool = False,
) -> Shards:
    """Renders the shards of a world that are missing in `folder`, in several processes, and opens all of them.

    first: the number of the first identity.

    Prints a line for every shard, with the rate and the time that is left. Nobody else may render into the folder
    meanwhile. Raises ValueError for counts below 1.
    """
    counts = {"identities": identities, "views": views_each, "resolution": resolution, "processes": processes}
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"the number of {name} is {value}, expected at least 1: give another")
    paths = {}
    for start in range(first, first + identities, SHARD):
        count = min(SHARD, first + identities - start)
        name = f"shard_{start:06d}_{count}_{views_each}x{resolution}_seed{seed}{'_posed' if posed else ''}"
        paths[start] = pathlib.Path(folder) / name, count
    files.remove_partials(folder)
    missing = {start: entry for start, entry in paths.items() if not entry[0].exists()}
    if missing:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the processes are the parallelism
        begun, done, total = time.monotonic(), 0, sum(count for _, count in missing.values())
        print(f"rendering {total:,} identities in {views_each} views each; the first {SHARD} take minutes", flush=True)
        calls = {
            path: (path, world, seed, start, count, views_each, resolution, posed)
            for start, (path, count) in missing.items()
        }
        counted = dict(missing.values())
        for path in workers.each(write_shard, calls, processes):
            done += counted[path]
            rate = done / (time.monotonic() - begun)
            print(
                f"{path.name}: {rate:.2f} identities/s, {rate * views_each:.1f} views/s, "
                f"{(total - done) / rate / 60:.1f} min left",
                flush=True,
            )
    return Shards([path for path, _ in paths.values()])
