"""Views of a world: scenes of latents, rendered from given poses, as stacked arrays.

A world is a module with the names of `World`: `heads`, and whatever else can build a scene from a latent and render it
with exact labels. Packs, training shards, held-out views and the world's own door are rendered here. Views are as files
are: 0 where empty.
"""

import dataclasses
import importlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, cast

import numpy as np

from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some

NAMES = ("heads", "bodies")
Pose = tuple[np.ndarray, np.ndarray]  # cam2world (4, 4), intrinsics (3, 3)


class World(Protocol):
    """What a world's module offers: the size of its latents, its classes, scenes, views, and random cameras.

    DETAILS: classes that are small in its pictures. LICENCE: of its renders, and of what is trained on them.
    """

    Z_DIM: int
    LABELS: LabelMap
    DETAILS: tuple[str, ...]
    LICENCE: str

    def build(self, z: np.ndarray, pose: Any = None) -> Any:
        """The scene of a latent (Z_DIM,), which knows its scale, `metres_per_unit`; of bodies, in a pose."""

    def unposed(self, z: np.ndarray) -> Any:
        """The scene that a generator's planes hold: of bodies in the canonical pose and of mean shape."""

    def facts(self, scene: Any) -> dict[str, np.ndarray]:
        """What else is known of a scene, by name: of bodies their shape and pose."""

    def render(self, scene: Any, cam2world: np.ndarray, intrinsics: np.ndarray, resolution: int) -> Any:
        """A view with image, mask, alpha in [0, 1], depth_z and distance."""

    def shape(self, z: np.ndarray) -> np.ndarray:
        """What a latent says of its body's shape (S,), in units of the template's; empty of worlds without bodies."""

    def orbit(self, yaw: float, pitch: float) -> Pose:
        """The camera at these degrees from frontal."""

    def sample_camera(self, rng: np.random.Generator) -> Pose:
        """A camera drawn from those that the world is looked at from."""

    def sample_training_camera(self, rng: np.random.Generator) -> Pose:
        """A camera drawn from those that a generator's training looks from: from farther around."""

    def sample_pose(self, rng: np.random.Generator) -> Any:
        """A pose for `build`, of worlds whose scenes have one."""

    def articulation(self) -> Any:
        """How scenes move, an `ArticulationConfig` of a generator that is trained on them, or None."""

    def template(self) -> dict[str, np.ndarray]:
        """The arrays of that generator's template."""


def named(name: str) -> World:
    """The world of that name. Raises ValueError: there is none."""
    if name not in NAMES:
        raise ValueError(f"there is no world {name!r}, expected one of {', '.join(NAMES)}")
    return cast(World, importlib.import_module(f"dnerf_jax.worlds.{name}"))


def of_classes(label_map: LabelMap | None) -> World:
    """The world whose classes these are. Raises ValueError: none has them."""
    return named(name_of_classes(label_map))


def name_of_classes(label_map: LabelMap | None) -> str:
    """The name of the world whose classes these are. Raises ValueError: none has them."""
    names = () if label_map is None else label_map.names
    for name in NAMES:
        if named(name).LABELS.names == names:
            return name
    raise ValueError(
        f"this generator is of no world ({', '.join(NAMES)}): its classes are {some(names, 12) or 'not known'}"
    )


@dataclasses.dataclass(frozen=True)
class Views:
    """N views of R x R pixels, of one or several scenes of a world.

    z: (N, Z_DIM), as the scenes were built from them. metres_per_unit: (N,), the scenes' metric scale.
    cam2world, intrinsics: (N, 4, 4) and (N, 3, 3) float32, OpenCV, world frame (see `ops.cameras`).
    image: (N, R, R, 3) uint8. mask: (N, R, R) uint8 class ids, exact at the pixel centres.
    alpha: (N, R, R) uint8, the share of the pixel that is covered, times 255.
    depth_z, distance: (N, R, R) float32 world units along the optical axis and along the ray, 0 where empty.
    canonical: (N, R, R, 3) float32 of bodies, see `pictures.View`; else None.
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
    canonical: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.z)


def render(world: World, z: np.ndarray, poses: Sequence[Pose], resolution: int) -> Views:
    """The views of one latent z (Z_DIM,) from each of `poses`; its scene is built once."""
    return of_scene(world, z, world.build(z), poses, resolution)


def of_scene(world: World, z: np.ndarray, scene: Any, poses: Sequence[Pose], resolution: int) -> Views:
    """The views of a scene, which was built from z (Z_DIM,), from each of `poses`."""
    if not poses:
        raise ValueError("there are no poses to render the scene from: give at least one")
    rendered = [world.render(scene, cam2world, intrinsics, resolution) for cam2world, intrinsics in poses]
    images = {name: np.stack([getattr(view, name) for view in rendered]) for name in ("image", "mask")}
    depths = {name: np.stack([getattr(view, name) for view in rendered]) for name in ("depth_z", "distance")}
    canonical = [view.canonical for view in rendered if getattr(view, "canonical", None) is not None]
    return Views(
        z=np.stack([z] * len(poses)),
        metres_per_unit=np.full(len(poses), scene.metres_per_unit),
        cam2world=np.stack([cam2world for cam2world, _ in poses]),
        intrinsics=np.stack([intrinsics for _, intrinsics in poses]),
        alpha=np.stack([view.alpha * 255 + 0.5 for view in rendered]).astype(np.uint8),
        canonical=np.stack(canonical) if canonical else None,
        **images,
        **depths,
    )


def concatenate(parts: Iterable[Views]) -> Views:
    """The views of several calls of `render`, of one resolution, in their order."""
    parts = list(parts)
    if not parts:
        raise ValueError("there are no views to concatenate: give at least one")
    names = [field.name for field in dataclasses.fields(Views)]
    found = {name: [getattr(part, name) for part in parts] for name in names}
    return Views(**{name: None if each[0] is None else np.concatenate(each) for name, each in found.items()})
