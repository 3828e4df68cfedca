"""Labelled packs of a world for a generator trained on it, with exact labels: how the embedded ones are made.

Of latents that no other pack and no training render has. Images are the world's own renders, not the generator's.

heads, from within +-30 degrees as in the paper's section 4: heads_train, 30 latents from the left, the front and the
right (90 views); heads_test, 90 latents, one view each; heads_video, one latent in 61 frames from side to side.

bodies, from all around, as many as there: bodies_train, 150 views of 30 latents in 60 poses; bodies_test, 90 latents
in a pose of their own each, one view each; bodies_motion, one latent in a motion of 61 frames.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from dnerf_jax.io import packs
from dnerf_jax.models.articulated import Pose
from dnerf_jax.models.model import Model
from dnerf_jax.worlds import bodies, streams, views
from dnerf_jax.worlds.bodies import poses
from dnerf_jax.worlds.streams import SEEDS
from dnerf_jax.worlds.views import World

LICENCE = "CC0: renders of the {world} world (MakeHuman data, CC0)"


@dataclasses.dataclass(frozen=True)
class Pack:
    """A pack's name, the seed of its latents, how many, and the (yaw, pitch) in degrees of each one's views.

    poses: None for cameras drawn at random, `views_each` of a latent.
    first: number of the first latent of the seed's stream.
    world: whose latents these are.
    posed: of bodies, in which poses: "trained", those of the generator's template in turn; "own", each view in one of
        its own; "motion", each view a frame.
    """

    name: str
    seed: int
    latents: int
    poses: tuple[tuple[float, float], ...] | None
    first: int = 0
    world: str = "heads"
    views_each: int = 1
    posed: Literal["", "trained", "own", "motion"] = ""


KEYS = 5  # poses that a motion leads through

PACKS = {
    "heads": (
        Pack("heads_train", SEEDS["heads_train"], 30, ((-30.0, 0.0), (0.0, 0.0), (30.0, 0.0))),
        Pack("heads_test", SEEDS["heads_test"], 90, None),
        Pack("heads_video", SEEDS["heads_video"], 1, tuple((float(yaw), 0.0) for yaw in np.linspace(-30, 30, 61))),
    ),
    "bodies": (
        Pack("bodies_train", SEEDS["bodies_train"], 30, None, world="bodies", views_each=5, posed="trained"),
        Pack("bodies_test", SEEDS["bodies_test"], 90, None, world="bodies", posed="own"),
        Pack("bodies_motion", SEEDS["bodies_motion"], 1, ((20.0, 5.0),) * 61, world="bodies", posed="motion"),
    ),
}


def make(pack: Pack, model: Model, resolution: int) -> packs.Annotations:
    """Renders one pack for `model`; drawn cameras are those that its world is looked at from.

    Raises ValueError: the pack is of the model's own poses, and it has none.
    """
    world, numbers = views.named(pack.world), range(pack.first, pack.first + pack.latents)
    trained = np.asarray(model.generator.variables.get("template", {}).get("poses", ()))
    if pack.posed == "trained" and not len(trained):
        raise ValueError(f"{pack.name} is of the poses that a generator was trained in, and this one knows of none")
    found = [_views(pack, world, number, resolution, trained) for number in numbers]
    parts, facts = [made for made, _ in found], [fact for _, each in found for fact in each]
    made = views.concatenate(parts)
    return packs.Annotations(
        images=made.image,
        masks=made.mask,
        z=made.z,
        cam2world=made.cam2world,
        intrinsics=made.intrinsics,
        latent_id=np.repeat(numbers, [len(part) for part in parts]),
        label_map=world.LABELS,
        fingerprint=model.fingerprint,
        name=pack.name,
        licence=LICENCE.format(world=pack.world),
        pose=pose_of(facts) if facts else None,
    )


def pose_of(facts: Sequence[Mapping[str, np.ndarray]]) -> Pose | None:
    """The poses (B) of what a world knows of scenes, see `World.facts`; None where it knows of none.

    Their shape is 0: it is told from w.
    """
    if "rotations" not in facts[0]:
        return None
    rotations, translation = (np.stack([x[name] for x in facts]) for name in ("rotations", "translation"))
    shape = np.zeros((len(facts), len(facts[0]["shape"])), np.float32)
    return Pose(rotations, translation, np.ones(len(facts), np.float32), shape)


def _views(
    pack: Pack, world: World, number: int, resolution: int, trained: np.ndarray
) -> tuple[views.Views, list[dict[str, np.ndarray]]]:
    """The views of one latent, and what the world knows of each one's scene."""
    rng = streams.stream("packs", pack.seed, number)
    z = rng.standard_normal(world.Z_DIM).astype(np.float32)
    if pack.poses:
        cameras = [world.orbit(*pose) for pose in pack.poses]
    else:
        cameras = [world.sample_camera(rng) for _ in range(pack.views_each)]
    if not pack.posed:
        return views.render(world, z, cameras, resolution), []
    parts, facts = [], []
    for view, camera in enumerate(cameras):
        scene = world.build(z, _pose(pack, world, rng, (number - pack.first) * pack.views_each + view, trained))
        parts.append(views.of_scene(world, z, scene, [camera], resolution))
        facts.append(world.facts(scene))
    return views.concatenate(parts), facts


def _pose(pack: Pack, world: World, rng: np.random.Generator, view: int, trained: np.ndarray) -> Any:
    if pack.posed == "own":
        return world.sample_pose(rng)
    if pack.posed == "motion":
        return bodies.centred(_motion(pack.seed, len(pack.poses or ()))[view])
    return bodies.centred(trained[view % len(trained)])


@functools.cache
def _motion(seed: int, frames: int) -> np.ndarray:
    return poses.motion(streams.stream("poses", seed), frames, KEYS)
