"""Numbers of a finished dataset: what its sidecars say of all of it, and what a subset of the identities shows.

Sidecars are read one after the other, so a dataset may have any size. Where cameras stand and how well labels agree
between views is in the views themselves: they are read of so many identities, chosen by a fixed seed (see `samples`).
"""

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.factory import description, shards
from dnerf_jax.factory.cards import samples
from dnerf_jax.factory.loading import Record, load
from dnerf_jax.factory.plan import shards as shards_of
from dnerf_jax.factory.plan import split_sizes
from dnerf_jax.factory.provenance import LABELS_STACK
from dnerf_jax.io import png
from dnerf_jax.ops import cameras, consistency
from dnerf_jax.ops.labels import LabelMap

_VIEWS_LOCATED = 20  # of an identity
_VIEWS_COMPARED = 5  # of an identity: each with each other
_PIXELS_COMPARED = 32_000_000  # in all, two or three seconds


@dataclasses.dataclass(frozen=True)
class TarFile:
    """A tar of a dataset: its path within the folder, how many bytes it has, its sha256."""

    path: str
    bytes: int
    sha256: str


@dataclasses.dataclass(eq=False)
class SplitCounts:
    """What a split has.

    Attributes:
      identities, views, shards, bytes: how many; bytes are of all tars, clouds and meshes too.
      pixels: int64 (C,), of each class; of no length without labels.
      showing: int64 (C,), views in which the class has a pixel.
    """

    identities: int
    pixels: np.ndarray
    showing: np.ndarray
    views: int = 0
    shards: int = 0
    bytes: int = 0

    @property
    def shares(self) -> np.ndarray:
        """Of the pixels, for each class; they sum to 1."""
        return self.pixels / max(int(self.pixels.sum()), 1)


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What the sidecars say.

    Attributes:
      splits: by name, in the order of the plan; some may have no identity.
      label_map: of the masks, or None.
      drops: how many draws were rejected, by rule.
      redrawn: identities of which one was.
      stacks: how many shards were rendered on which stack, said in a line; most first.
      tars: all files of data, in the order of the splits, views first.
    """

    splits: Mapping[str, SplitCounts]
    label_map: LabelMap | None
    drops: Mapping[str, int]
    redrawn: int
    stacks: Mapping[str, int]
    tars: tuple[TarFile, ...]

    @property
    def views(self) -> int:
        """Of all splits."""
        return sum(counts.views for counts in self.splits.values())

    @property
    def bytes(self) -> int:
        """Of all tars."""
        return sum(tar.bytes for tar in self.tars)


def collect(out: Path) -> Statistics:
    """Reads all sidecars of a dataset. Raises ValueError: one is missing or damaged."""
    plan, labels = description.read(out).plan, out / description.LABEL_MAP
    label_map = png.load_label_map(labels) if "mask" in plan.modalities and labels.exists() else None
    classes = 0 if label_map is None else label_map.num_classes
    splits = {
        name: SplitCounts(size, np.zeros(classes, np.int64), np.zeros(classes, np.int64))
        for name, size in split_sizes(plan).items()
    }
    drops: collections.Counter[str] = collections.Counter()
    stacks: collections.Counter[str] = collections.Counter()
    tars: dict[str, list[TarFile]] = {folder: [] for folder in shards.folders(plan)}
    redrawn = 0
    for shard in shards_of(plan):
        counts = splits[shard.split]
        counts.shards += 1
        for folder, found in tars.items():
            read = shards.read_sidecar if folder == shards.VIEWS else shards.read_head
            sidecar = read(out, shard.name, folder)
            path = shards.tar_path(out, shard.name, folder).relative_to(out).as_posix()
            found.append(TarFile(path, sidecar["bytes"], sidecar["sha256"]))
            counts.bytes += sidecar["bytes"]
            if folder != shards.VIEWS:
                continue
            stacks[_said(sidecar["stack"])] += 1
            drops.update(drop["rule"] for drop in sidecar["drops"])
            redrawn += len({drop["identity"] for drop in sidecar["drops"]})
            counts.views += len(sidecar["samples"])
            for area in _areas(sidecar, classes, shards.sidecar_path(out, shard.name)):
                counts.pixels += area
                counts.showing += area > 0
    return Statistics(
        splits,
        label_map,
        dict(sorted(drops.items())),
        redrawn,
        dict(sorted(stacks.items(), key=lambda entry: (-entry[1], entry[0]))),
        tuple(tar for found in tars.values() for tar in found),
    )


def _areas(sidecar: Mapping[str, Any], classes: int, path: Path) -> Iterator[np.ndarray]:
    """The pixels of each class in each view."""
    for sample in sidecar["samples"] if classes else ():
        area = sample.get("area", ())
        if len(area) != classes:
            raise ValueError(
                f"{path}: {sample['key']} has areas of {len(area)} classes, the label map has {classes}. Restore it, "
                "or delete it and give the command that made the dataset again"
            )
        yield np.asarray(area, np.int64)


def _said(stack: Mapping[str, Any]) -> str:
    """A stack on one line: its fingerprint, device, threads and versions, and the stack of newer labels."""
    versions = ", ".join(f"{name} {version}" for name, version in stack.get("versions", {}).items() if version)
    threads = f", {stack['threads']} threads" if stack.get("threads") else ""
    labels = f"; labels by {_said(stack[LABELS_STACK])}" if LABELS_STACK in stack else ""
    return f"{stack.get('fingerprint', 'unknown')}: {stack.get('device', 'unknown')}{threads}; {versions}{labels}"


@dataclasses.dataclass(frozen=True, eq=False)
class Standpoints:
    """Where cameras stand: positions (N, 3) in the world frame and units, yaw and pitch (N,) in degrees, of N views.

    Yaw is 0 in front of the subject, +z, positive towards +x; pitch is positive above.
    """

    positions: np.ndarray

    @property
    def yaw(self) -> np.ndarray:
        """Around the vertical axis."""
        return np.degrees(np.arctan2(self.positions[:, 0], self.positions[:, 2]))

    @property
    def pitch(self) -> np.ndarray:
        """Above the horizon."""
        return np.degrees(np.arctan2(self.positions[:, 1], np.hypot(self.positions[:, 0], self.positions[:, 2])))

    @property
    def distance(self) -> np.ndarray:
        """From the world's origin."""
        return np.linalg.norm(self.positions, axis=-1)


def standpoints(out: Path) -> Standpoints:
    """Where the cameras of the chosen identities stand, of up to twenty views of each."""
    dataset = load(out, only=())
    chosen = (samples.views(dataset, place, _VIEWS_LOCATED) for place in samples.choose(dataset))
    poses = [view["cam2world"] for views in chosen for view in views]
    return Standpoints(np.asarray(poses, np.float64)[:, :3, 3])


def agreement(out: Path) -> dict[str, Any] | None:
    """How often two views call a surface point that both see the same: see `consistency.shares`.

    Up to five views of each of the chosen identities are compared, of fewer identities where pictures are large. What
    is returned has "identities", their number, too. None without labels, without depth, or where there is one view.
    """
    plan = description.read(out).plan
    depth = next((name for name in ("distance", "depth_z") if name in plan.modalities), None)
    if "mask" not in plan.modalities or depth is None or plan.views_per_identity < 2:
        return None
    dataset = load(out, only=("mask", depth))
    label_map = dataset.label_map
    if label_map is None:
        return None
    views = min(plan.views_per_identity, _VIEWS_COMPARED)
    each = views * (views - 1) * dataset.description.image_resolution**2
    chosen = samples.choose(dataset, min(samples.MOST, max(_PIXELS_COMPARED // each, 1)))
    counts = sum(_confusion(samples.views(dataset, place, views), depth, label_map) for place in chosen)
    return {"identities": len(chosen), **consistency.shares(np.asarray(counts), label_map.names)}


def _confusion(views: list[Record], depth: str, label_map: LabelMap) -> np.ndarray:
    mask, distance, cam2world, intrinsics = (
        np.stack([view[name] for view in views]) for name in ("mask", depth, "cam2world", "intrinsics")
    )
    # On the CPU wherever we are, so that the numbers depend on the dataset alone.
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        camera = cameras.Camera(jnp.asarray(cam2world), jnp.asarray(intrinsics))
        if depth == "depth_z":
            distance = distance / np.asarray(cameras.z_per_distance(camera, mask.shape[-1]))
        return consistency.confusion(mask, distance, camera, label_map.num_classes)
