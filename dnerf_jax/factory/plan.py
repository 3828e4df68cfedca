"""The plan of a dataset: what is in it, before any of it is made.

A dataset is a pure function of (checkpoint, plan, index). Identities are numbered 0 to num_identities - 1; identity i
is one latent with views_per_identity cameras (see `draws`). Identities are dealt to the splits in a fixed order,
and shards hold whole identities of one split. More identities later change nothing in those that are there.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from dnerf_jax.ops.messages import some
from dnerf_jax.ops.ranges import Angle, Count, HalfTurn, Natural, Positive, Seed, Share, Truncation

Modality = Literal[
    "image", "mask", "depth_z", "distance", "normal", "opacity", "confidence", "logits", "points", "mesh"
]
VIEWS = ("image", "mask", "depth_z", "distance", "normal", "opacity", "confidence", "logits")
OBJECTS = ("points", "mesh")
LABELS = ("mask", "confidence", "logits")  # what only a semantic branch gives
_RESERVED = {"all", "none"}  # names of splits, to Hugging Face and TFDS
_PERIOD = 10_000  # identities at most, after which the order of the splits repeats


@dataclasses.dataclass(frozen=True)
class Viewpoints:
    """Where the cameras of an identity stand; angles in degrees from frontal, on the generator's own orbit.

    Attributes:
      distribution: "uniform", yaws one in each of equal parts of +-yaw, pitches within +-pitch; "gaussian", of these
        standard deviations, up to three of them; "orbit", yaws evenly from -yaw to yaw (180 is a full circle), all at
        this pitch; "trajectory", once around an ellipse of these half axes; "fixed", the list. The last three are the
        same for every identity.
      yaw, pitch: see there. Far from where the cameras of the generator's training stood (35 degrees of yaw for the
        embedded heads) pictures and labels are made up.
      fixed: the list: (yaw, pitch) in degrees, or the 25 numbers of an EG3D camera, for each view.
    """

    distribution: Literal["uniform", "gaussian", "orbit", "trajectory", "fixed"] = "uniform"
    yaw: HalfTurn = 30.0
    pitch: Angle = 8.0
    fixed: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        if (self.distribution == "fixed") != bool(self.fixed):
            raise ValueError('fixed is the list of cameras of the distribution "fixed": give both, or none')
        wrong = {len(entry) for entry in self.fixed} - {2, 25}
        if wrong or len({len(entry) for entry in self.fixed}) > 1:
            raise ValueError("fixed has entries of other lengths: all are (yaw, pitch), or all EG3D's 25 numbers")


@dataclasses.dataclass(frozen=True)
class Drops:
    """Rules by which an identity is drawn anew, with all its views, because one of its views breaks one.

    What was dropped is recorded with the rule and the value. None is no such rule.

    Attributes:
      max_border_opacity: the largest share of the picture's outermost pixels that may be opaque.
      min_confidence: the least mean confidence of the labels, over the opaque pixels.
      min_area, max_area: of class names, the least and the largest share of the pixels.
      attempts: of one identity, before the run stops with an error.
    """

    max_border_opacity: Share | None = None
    min_confidence: Share | None = None
    min_area: tuple[tuple[str, Share], ...] = ()
    max_area: tuple[tuple[str, Share], ...] = ()
    attempts: Count = 50

    def __post_init__(self) -> None:
        most = dict(self.max_area)
        wrong = [name for name, least in self.min_area if least > most.get(name, 1)]
        if wrong:
            raise ValueError(f"min_area is larger than max_area of {some(wrong)}: no view can have both")

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of classes that rules are about."""
        return tuple(name for name, _ in (*self.min_area, *self.max_area))


@dataclasses.dataclass(frozen=True)
class Cloud:
    """How the views of an identity become one labelled point cloud: see `points.from_views`.

    Attributes:
      num_points: exactly so many, by farthest-point sampling; 0 keeps one for every voxel.
      voxel_size: side of the voxels whose points are merged, in world units.
    """

    num_points: Natural = 2048
    voxel_size: Positive = 0.005


@dataclasses.dataclass(frozen=True)
class Poses:
    """The poses of an articulated generator's bodies, see `factory.poses`. Other generators have none.

    Attributes:
      source: a motion, .json or .bvh (see `io.pose_files`); "" takes the poses that the checkpoint has with it, or the
        canonical one where it has none. Datasets keep the poses themselves, not this name.
      in_place: without the source's way over the ground: bodies stay where the first frame has them.
      order: "drawn", one frame for each identity, at random, the same in all its views; "frames", view v of every
        identity is in frame v, so there are as many views as frames, and neither clouds nor meshes.
    """

    source: str = ""
    in_place: bool = False
    order: Literal["drawn", "frames"] = "drawn"


@dataclasses.dataclass(frozen=True)
class Plan:
    """A dataset.

    Attributes:
      seed: of latents and cameras.
      num_identities: latents; may grow when a run continues.
      views_per_identity: cameras of each.
      viewpoints: where these stand.
      truncation_psi: see `scenes.synthesize`.
      splits: names and the parts that they get of the identities, 8 : 1 : 1 say.
      modalities: of every view (image, mask, depth_z, distance, normal, opacity, confidence, logits) and of every
        identity (points, mesh).
      depth: how depth_z and distance are stored: "uint16", PNG of 16 bits with a scale, or "float32", NPY.
      shard_size: identities in a shard.
      batch: identities rendered at a time on a device; part of the plan, since images depend on it in their last bit.
      memory_mib: for the rays that are rendered at a time; part of the plan for the same reason.
      skip_empty: see `scenes.render`: leaves out what is empty or hidden, for the same views in less time.
      cloud: of points.
      mesh_resolution: points of the grid along each side of the box that a mesh is extracted from.
      mesh_level: raw density of its surface; None is `meshes.surface_level()`.
      drops: which identities are drawn anew.
      poses: of bodies.
    """

    seed: Seed = 0
    num_identities: Count = 8
    views_per_identity: Count = 4
    viewpoints: Viewpoints = Viewpoints()
    truncation_psi: Truncation = 1.0
    splits: tuple[tuple[str, Count], ...] = (("train", 8), ("validation", 1), ("test", 1))
    modalities: tuple[Modality, ...] = ("image", "mask", "depth_z", "points")
    depth: Literal["uint16", "float32"] = "uint16"
    shard_size: Count = 50
    batch: Count = 1
    memory_mib: Count = 128
    skip_empty: bool = True
    cloud: Cloud = Cloud()
    mesh_resolution: Count = 128
    mesh_level: float | None = None
    drops: Drops = Drops()
    poses: Poses = Poses()

    def __post_init__(self) -> None:
        names = [name for name, _ in self.splits]
        wrong = len(set(names)) != len(names) or not all(name.isidentifier() for name in names)
        if wrong or not names or _RESERVED & {name.lower() for name in names}:
            raise ValueError(
                f"splits are {self.splits!r:.200}, expected different names of letters, digits and _, such as train, "
                f"with their parts; {some(sorted(_RESERVED), separator=' and ')} mean something else to readers"
            )
        if sum(part for _, part in self.splits) > _PERIOD:
            raise ValueError(f"splits are {self.splits!r:.200}: their parts sum to more than {_PERIOD:,}")
        if len(set(self.modalities)) != len(self.modalities) or "image" not in self.modalities:
            raise ValueError(f"modalities are {some(self.modalities, 12)}: expected image and others, each once")
        if self.viewpoints.fixed and len(self.viewpoints.fixed) != self.views_per_identity:
            raise ValueError(
                f"viewpoints.fixed has {len(self.viewpoints.fixed)} cameras, views_per_identity is "
                f"{self.views_per_identity}: expected one for each"
            )
        of_one = [name for name in OBJECTS if name in self.modalities]
        if self.poses.order == "frames" and of_one:
            raise ValueError(
                f"{some(of_one, separator=' and ')} of an identity are of one pose, and poses.order is 'frames', one "
                "for each view: leave them out of modalities, or take 'drawn'"
            )

    @property
    def num_views(self) -> int:
        """Of the whole dataset."""
        return self.num_identities * self.views_per_identity

    @property
    def view_modalities(self) -> tuple[str, ...]:
        """What every view has, in the order of `VIEWS`."""
        return tuple(name for name in VIEWS if name in self.modalities)

    def without_labels(self) -> "Plan":
        """The plan for a model without a semantic branch."""
        return dataclasses.replace(self, modalities=tuple(name for name in self.modalities if name not in LABELS))


@dataclasses.dataclass(frozen=True)
class Shard:
    """A shard: number `number` of its split, the identities first to last - 1 of it."""

    split: str
    number: int
    identities: tuple[int, ...]

    @property
    def name(self) -> str:
        """What its files are called: train-000003."""
        return shard_name(self.split, self.number)


def shard_name(split: str, number: int) -> str:
    """What the files of a shard are called: train-000003."""
    return f"{split}-{number:06d}"


def split_of(plan: Plan, identity: int) -> str:
    """The split of an identity."""
    return plan.splits[_deal(plan.splits)[identity % len(_deal(plan.splits))]][0]


def split_sizes(plan: Plan) -> dict[str, int]:
    """How many identities each split has."""
    return {name: len(range_of(plan, name)) for name, _ in plan.splits}


def range_of(plan: Plan, split: str) -> "Identities":
    """The identities of a split, in order; of any number without taking memory. Raises ValueError: there is no such."""
    names = [name for name, _ in plan.splits]
    if split not in names:
        raise ValueError(f"there is no split {split!r:.50}: expected one of {some(names)}")
    return Identities(plan, names.index(split))


class Identities(Sequence[int]):
    """The identities of split number `split` of a plan, in order."""

    def __init__(self, plan: Plan, split: int) -> None:
        order = _deal(plan.splits)
        self._places = tuple(place for place, chosen in enumerate(order) if chosen == split)
        self._period = len(order)
        whole, rest = divmod(plan.num_identities, self._period)
        self._length = whole * len(self._places) + sum(place < rest for place in self._places)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, rank: int) -> int:  # type: ignore[override]
        if not 0 <= rank < self._length:
            raise IndexError(f"identity {rank} of {self._length}")
        whole, place = divmod(rank, len(self._places))
        return whole * self._period + self._places[place]

    def __contains__(self, identity: object) -> bool:
        inside = isinstance(identity, int) and identity % self._period in self._places
        return inside and bool(self._length) and 0 <= identity <= self[self._length - 1]

    def index(self, identity: int, *_: int) -> int:  # type: ignore[override]
        """The rank of an identity in the split. Raises ValueError: it is not in it."""
        if identity not in self:
            raise ValueError(f"identity {identity} is not in this split")
        whole, place = divmod(identity, self._period)
        return whole * len(self._places) + self._places.index(place)


def shards(plan: Plan) -> Iterator[Shard]:
    """All shards, split by split."""
    for name, _ in plan.splits:
        identities = range_of(plan, name)
        for number, start in enumerate(range(0, len(identities), plan.shard_size)):
            members = tuple(identities[i] for i in range(start, min(start + plan.shard_size, len(identities))))
            yield Shard(name, number, members)


def num_shards(plan: Plan) -> int:
    """How many shards there are."""
    return sum(math.ceil(size / plan.shard_size) for size in split_sizes(plan).values())


@functools.lru_cache(maxsize=8)
def _deal(splits: tuple[tuple[str, int], ...]) -> tuple[int, ...]:
    """The splits of identities 0, 1, ... until it repeats: each goes to the split that lacks most of its share."""
    parts = np.array([part for _, part in splits])
    parts = parts // np.gcd.reduce(parts)
    total, given, order = int(parts.sum()), np.zeros(len(parts), np.int64), []
    for place in range(total):
        # After so many identities a split is due parts / total of them; exact, since all are integers.
        lack = np.where(given < parts, parts * (place + 1) - given * total, -total * total)
        order.append(int(np.argmax(lack)))
        given[order[-1]] += 1
    return tuple(order)
