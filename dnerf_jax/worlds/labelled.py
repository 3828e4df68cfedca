"""Labelled packs of the heads world for a generator trained on it, with exact labels: how the embedded ones are made.

Three packs, of latents that no other pack and no training render has, poses within +-30 degrees as in the paper's
section 4: heads_train, 30 latents from the left, the front and the right (90 views); heads_test, 90 latents, one view
each; heads_video, one latent in 61 frames from side to side. Images are the world's own renders, not the generator's.
"""

import dataclasses

import numpy as np

from dnerf_jax.io import packs
from dnerf_jax.models.model import Model
from dnerf_jax.worlds import heads, streams, views
from dnerf_jax.worlds.streams import SEEDS

LICENCE = "CC0: renders of the heads world (MakeHuman data, CC0)"


@dataclasses.dataclass(frozen=True)
class Pack:
    """A pack's name, the seed of its latents, how many, and the (yaw, pitch) in degrees of each one's views.

    poses: None for one view of each latent, its pose drawn at random.
    first: number of the first latent of the seed's stream.
    """

    name: str
    seed: int
    latents: int
    poses: tuple[tuple[float, float], ...] | None
    first: int = 0


PACKS = (
    Pack("heads_train", SEEDS["heads_train"], 30, ((-30.0, 0.0), (0.0, 0.0), (30.0, 0.0))),
    Pack("heads_test", SEEDS["heads_test"], 90, None),
    Pack("heads_video", SEEDS["heads_video"], 1, tuple((float(yaw), 0.0) for yaw in np.linspace(-30, 30, 61))),
)


def make(pack: Pack, model: Model, resolution: int) -> packs.Annotations:
    """Renders one pack for `model`; poses of None are within +-30 degrees of yaw and -8 to 12 of pitch."""
    numbers = range(pack.first, pack.first + pack.latents)
    parts = [_views(pack, number, resolution) for number in numbers]
    made = views.concatenate(parts)
    return packs.Annotations(
        images=made.image,
        masks=made.mask,
        z=made.z,
        cam2world=made.cam2world,
        intrinsics=made.intrinsics,
        latent_id=np.repeat(numbers, [len(part) for part in parts]),
        label_map=heads.LABELS,
        fingerprint=model.fingerprint,
        name=pack.name,
        licence=LICENCE,
    )


def _views(pack, number, resolution):
    rng = streams.stream("packs", pack.seed, number)
    z = rng.standard_normal(heads.Z_DIM).astype(np.float32)
    poses = [heads.orbit(*pose) for pose in pack.poses] if pack.poses else [heads.sample_camera(rng)]
    return views.render(heads, z, poses, resolution)
