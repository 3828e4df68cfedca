"""The heads world: `build` a head from its latent, `render` it from any camera, with exact labels; no JAX."""

from dnerf_jax.worlds.heads.attributes import Z_DIM
from dnerf_jax.worlds.heads.surface import LABELS
from dnerf_jax.worlds.heads.world import Head, HeadView, build, render
from dnerf_jax.worlds.orbits import orbit, sample_camera

__all__ = ["LABELS", "Z_DIM", "Head", "HeadView", "build", "orbit", "render", "sample_camera"]
