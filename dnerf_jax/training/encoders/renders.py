"""What an encoder learns from: neural renderings of random latents of a generator, in shards on the disk.

Identity i has the key `fold_in(key(seed), i)`, whatever the shards, the processes and the restarts; a shard is written
whole or not at all, and skipped if it is there. n identities of V views of r x r pixels, the neural rendering's:

    z (n, z_dim) float32        image (n, V, r, r, 3) uint8        pose (n, V, 2) float32, yaw and pitch in radians
"""

import functools
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.io import arrays, checkpoints, files, workers
from dnerf_jax.models import scenes
from dnerf_jax.models.model import Model
from dnerf_jax.ops import images
from dnerf_jax.training.encoders.plan import Data

SHARD = 256  # identities
NAMES = ("z", "image", "pose")


def render(checkpoint: str, fingerprint: str, seed: int, data: Data, folder: Path) -> dict[str, np.ndarray]:
    """All views by name (see above, all identities in one array), those that are missing in `folder` rendered first.

    Prints a line for every shard. Raises ValueError, naming the folder to delete: a shard is damaged.
    """
    files.remove_partials(folder)
    name = f"{fingerprint}_seed{seed}_{data.views}_views_{data.yaw:g}_{data.pitch:g}"
    counts = {start: min(SHARD, data.identities - start) for start in range(0, data.identities, SHARD)}
    paths = {start: folder / f"{name}_{start:06d}_{count}" for start, count in counts.items()}
    missing = [start for start, path in paths.items() if not path.exists()]
    begun = time.monotonic()
    for done, start in enumerate(_each(checkpoint, seed, data, {s: (paths[s], counts[s]) for s in missing}), start=1):
        left = (len(missing) - done) * (time.monotonic() - begun) / done
        print(f"rendered {paths[start].name}  {done}/{len(missing)} shards  {left / 60:.1f} min left", flush=True)
    shards = [[arrays.map_array(path / f"{part}.npy") for path in paths.values()] for part in NAMES]
    return {part: np.concatenate(arrays) for part, arrays in zip(NAMES, shards, strict=True)}


def _each(checkpoint: str, seed: int, data: Data, missing: dict[int, tuple[Path, int]]) -> Iterator[int]:
    """Renders the shards that are missing, and yields the start of each when it is there."""
    if data.processes == 1:
        for start, (path, count) in missing.items():
            write_shard(checkpoint, seed, data, start, count, path)
            yield start
        return
    calls = {start: (checkpoint, seed, data, start, count, path) for start, (path, count) in missing.items()}
    with workers.environment({"NPROC": "1"}):  # the processes are the parallelism
        yield from workers.each(write_shard, calls, data.processes)


def write_shard(checkpoint: str, seed: int, data: Data, start: int, count: int, path: Path) -> None:
    """Renders identities `start` to `start + count - 1` into the folder `path`."""
    model = _load(checkpoint)
    config = model.generator.config
    key, limits = jax.random.key(seed), np.radians([data.yaw, data.pitch])
    made: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    for identity in range(start, start + count):
        of_z, of_pose = jax.random.split(jax.random.fold_in(key, identity))
        z = jax.random.normal(of_z, (config.z_dim,), jnp.float32)
        pose = jax.random.uniform(of_pose, (data.views, 2), jnp.float32, minval=-1.0, maxval=1.0) * limits
        made["z"].append(np.asarray(z))
        made["image"].append(images.to_uint8(np.asarray(_views(model, z, pose)), span=(-1, 1)))
        made["pose"].append(np.asarray(pose, np.float32))
    with files.atomic_folder(path) as folder:
        for name, parts in made.items():
            np.save(folder / f"{name}.npy", np.stack(parts))


@functools.cache
def _load(checkpoint: str) -> Model:
    return checkpoints.load(checkpoint).replace(semantic=None)


@jax.jit
def _views(model: Model, z: jax.Array, pose: jax.Array) -> jax.Array:
    """Neural renderings (V, r, r, 3) of a latent from poses (V, 2)."""
    camera = scenes.default_camera(model, pose[:, 0], pose[:, 1])
    return scenes.render(model, scenes.synthesize(model, z), camera, skip_empty=True).image_raw
