"""Labelled packs of the heads world for a generator trained on it, with exact labels: the embedded ones.

    python -m dnerf_jax.pack --checkpoint dnerf_jax/assets/heads --out dnerf_jax/assets

Three packs, of latents that no other pack and no training render has, poses within +-30 degrees as in the paper's
section 4: heads_train, 30 latents from the left, the front and the right (90 views); heads_test, 90 latents, one view
each; heads_video, one latent in 61 frames from side to side. Images are the world's own renders, not the generator's.
"""

import dataclasses
from pathlib import Path

import numpy as np

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, packs
from dnerf_jax.worlds import heads

LICENCE = "CC0: renders of the heads world (MakeHuman data, CC0)"


@dataclasses.dataclass(frozen=True)
class Pack:
    """A pack's name, the seed of its latents, how many, and the (yaw, pitch) in degrees of each one's views.

    first: number of the first latent of the seed's stream.
    """

    name: str
    seed: int
    latents: int
    poses: tuple[tuple[float, float], ...] | None
    first: int = 0


# Training renders come from PCG64([seed, identity]), packs from [seed, latent, 1]: different streams for all seeds.
# (A last entry of 0 would be as if it were not there.)
PACKS = (
    Pack("heads_train", 101, 30, ((-30.0, 0.0), (0.0, 0.0), (30.0, 0.0))),
    Pack("heads_test", 102, 90, None),
    Pack("heads_video", 103, 1, tuple((float(yaw), 0.0) for yaw in np.linspace(-30, 30, 61))),
)


def make(pack, model, resolution):
    """Renders one pack; poses of None are drawn within +-30 degrees of yaw and -8 to 12 of pitch, one a latent."""
    views = {name: [] for name in ("images", "masks", "z", "cam2world", "intrinsics", "latent_id")}
    for latent in range(pack.first, pack.first + pack.latents):
        rng = np.random.default_rng([pack.seed, latent, 1])
        z = rng.standard_normal(heads.Z_DIM).astype(np.float32)
        head = heads.build(z)
        cameras = [heads.orbit(*pose) for pose in pack.poses] if pack.poses else [heads.sample_camera(rng)]
        for cam2world, intrinsics in cameras:
            view = heads.render(head, cam2world, intrinsics, resolution)
            row = (view.image, view.mask, z, cam2world, intrinsics, latent)
            for name, value in zip(views, row, strict=True):
                views[name].append(value)
    return packs.Annotations(
        **{name: np.stack(values) for name, values in views.items()},
        label_map=heads.LABELS,
        fingerprint=model.fingerprint,
        name=pack.name,
        licence=LICENCE,
    )


def main(checkpoint: str, out: str):
    """Writes the packs heads_train, heads_test and heads_video.

    checkpoint: folder of the generator that was trained on the heads world
    out: folder to write the packs into; packs that are there are replaced
    """
    model = _load(checkpoint)
    for pack in PACKS:
        made = make(pack, model, model.config.image_resolution)
        packs.verify(made, model)
        packs.save(Path(out) / pack.name, made, replace=True)
        print(f"{pack.name}: {len(made)} views of {pack.latents} latents")


_load = checkpoints.load  # the door has a parameter of this module's name


if __name__ == "__main__":
    cli.door(main)
