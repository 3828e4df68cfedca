"""Views of a world: scenes of latents, rendered from given poses, as stacked arrays.

A world is a module with the names of `World`: `heads`, and whatever else can build a scene from a latent and render it
with exact labels. Packs, training shards, held-out views and the world's own door are rendered here. Views are as files
are: 0 where empty.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from dnerf_jax.ops.labels import LabelMap

Pose = tuple[np.ndarray, np.ndarray]  # cam2world (4, 4), intrinsics (3, 3)


class World(Protocol):
    """What a world's module offers: the size of its latents, its classes, scenes, views, and random poses."""

    Z_DIM: int
    LABELS: LabelMap

    def build(self, z: np.ndarray) -> Any:
        """The scene of a latent (Z_DIM,), which knows its scale, `metres_per_unit`."""

    def render(self, scene: Any, cam2world: np.ndarray, intrinsics: np.ndarray, resolution: int) -> Any:
        """A view with image, mask, alpha in [0, 1], depth_z and distance."""

    def sample_camera(self, rng: np.random.Generator) -> Pose:
        """A pose drawn from those that the world is looked at from."""


@dataclasses.dataclass(frozen=True)
class Views:
    """N views of R x R pixels, of one or several scenes of a world.

    z: (N, Z_DIM), as the scenes were built from them. metres_per_unit: (N,), the scenes' metric scale.
    cam2world, intrinsics: (N, 4, 4) and (N, 3, 3) float32, OpenCV, world frame (see `ops.cameras`).
    image: (N, R, R, 3) uint8. mask: (N, R, R) uint8 class ids, exact at the pixel centres.
    alpha: (N, R, R) uint8, the share of the pixel that is covered, times 255.
    depth_z, distance: (N, R, R) float32 world units along the optical axis and along the ray, 0 where empty.
    """

    z: np.ndarray
    metres_per_unit: np.ndarray
    cam2world: np.ndarray
    intrinsics: np.ndarray
    image: np.ndarray
    mask: np.ndarray
    alpha: np.ndarray
    depth_z: np.ndarray
    distance: np.ndarray

    def __len__(self) -> int:
        return len(self.z)


def render(world: World, z: np.ndarray, poses: Sequence[Pose], resolution: int) -> Views:
    """The views of one latent z (Z_DIM,) from each of `poses`; its scene is built once."""
    if not poses:
        raise ValueError("there are no poses to render the scene from: give at least one")
    scene = world.build(z)
    rendered = [world.render(scene, cam2world, intrinsics, resolution) for cam2world, intrinsics in poses]
    images = {name: np.stack([getattr(view, name) for view in rendered]) for name in ("image", "mask")}
    depths = {name: np.stack([getattr(view, name) for view in rendered]) for name in ("depth_z", "distance")}
    return Views(
        z=np.stack([z] * len(poses)),
        metres_per_unit=np.full(len(poses), scene.metres_per_unit),
        cam2world=np.stack([cam2world for cam2world, _ in poses]),
        intrinsics=np.stack([intrinsics for _, intrinsics in poses]),
        alpha=np.stack([view.alpha * 255 + 0.5 for view in rendered]).astype(np.uint8),
        **images,
        **depths,
    )


def concatenate(parts: Iterable[Views]) -> Views:
    """The views of several calls of `render`, of one resolution, in their order."""
    parts = list(parts)
    if not parts:
        raise ValueError("there are no views to concatenate: give at least one")
    names = [field.name for field in dataclasses.fields(Views)]
    return Views(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
