"""A pack of random images and masks, with orderly latents and cameras."""

import numpy as np

from dnerf_jax.io.packs import Annotations
from dnerf_jax.ops import cameras
from dnerf_jax.ops.labels import LabelMap

LABELS = LabelMap(("background", "skin", "hair"), ((0, 0, 0), (230, 180, 150), (90, 60, 20)))
SIZE = 16


def make_pack(latents=3, views=2, z_dim=8, size=SIZE, seed=0, **changes):
    """A pack of `latents` x `views` views with random content and orderly cameras."""
    rng = np.random.default_rng(seed)
    latent_id = np.repeat(np.arange(latents), views)
    camera = cameras.orbit(np.tile(np.linspace(-0.5, 0.5, views), latents), 0.1)
    fields = {
        "images": rng.integers(0, 256, (latents * views, size, size, 3)).astype(np.uint8),
        "masks": rng.choice([0, 1, 2, 255], (latents * views, size, size)).astype(np.uint8),
        "z": rng.normal(size=(latents, z_dim))[latent_id],
        "cam2world": camera.cam2world,
        "intrinsics": camera.intrinsics,
        "latent_id": latent_id,
        "label_map": LABELS,
        "fingerprint": "abc",
        "name": "test",
        "licence": "CC0-1.0",
    }
    return Annotations(**(fields | changes))
