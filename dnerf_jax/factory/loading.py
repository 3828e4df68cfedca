"""Reading a dataset: records of NumPy arrays by index, or in batches. Needs NumPy and Pillow only.

    from dnerf_jax import factory
    data = factory.load("out/dataset", split="train")
    data[0]["image"], data[0]["mask"]                      # uint8 (R, R, 3) and (R, R)
    for batch in data.batches(32, seed=0): ...             # the same with a leading dimension; endless with epochs=None

A record has the modalities of the dataset, z, cam2world, intrinsics, and key, identity, view; of bodies in poses also
pose, the number of its frame in poses.json. Numbers are those of the files: depth in world units is 0 where a pixel is
empty. A `Dataset` is a sequence, so Grain and PyTorch take it as a source; it can be pickled, and reads from several
threads or processes.
"""

import functools
import operator
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dnerf_jax.factory import description, record, shards
from dnerf_jax.factory.plan import range_of, shard_name
from dnerf_jax.io import files, png
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some

Record = dict[str, Any]
_KEPT = 256  # sidecars in memory


def load(path: str | os.PathLike, *, split: str | None = None, only: Sequence[str] | None = None) -> "Dataset":
    """A dataset that `dnerf_jax.generate` made.

    Args:
      split: of its views; None is all splits, one after the other.
      only: the modalities that records shall have; None is all of them.

    Raises ValueError: it is no dataset, is not finished, or has no such split or modality.
    """
    only = [only] if isinstance(only, str) else only
    return Dataset(Path(path), split, None if only is None else tuple(only))


class Dataset(Sequence[Record]):
    """The views of a dataset, or of one of its splits, in the order of its shards.

    plan, description: see `factory.plan` and `factory.description`. label_map: of the masks, or None.
    """

    def __init__(self, path: Path, split: str | None, only: tuple[str, ...] | None) -> None:
        self.path, self.split = path, split
        self.description = description.read(path)
        self.plan = plan = self.description.plan
        unknown = [name for name in only or () if name not in plan.view_modalities]
        if unknown:
            objects = "; clouds and meshes are what `object` gives" if set(unknown) & set(shards.FOLDERS) else ""
            raise ValueError(f"{path}: views have no {some(unknown)}, but {some(plan.view_modalities)}{objects}")
        self.forms = {name: form for name, form in self.description.forms.items() if only is None or name in only}
        labels = path / description.LABEL_MAP
        # Where there are masks, there has to be one.
        self.label_map: LabelMap | None = png.load_label_map(labels) if "mask" in plan.modalities else None
        # How many views each split has, and where it begins among the records.
        names = [name for name, _ in plan.splits] if split is None else [split]
        self._splits = [(name, len(range_of(plan, name)) * plan.views_per_identity) for name in names]
        self._require_finished()
        self._prepare()

    def __len__(self) -> int:
        return sum(length for _, length in self._splits)

    def __getitem__(self, index: Any) -> Any:
        """Record number `index`, or a list of those of a slice.

        Raises IndexError: there is none; ValueError: its files are damaged.
        """
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        index = operator.index(index)
        shard, members = self._read(index)
        try:
            own = files.parse_json(members[record.JSON].decode(errors="replace"))
        except ValueError as error:
            raise ValueError(f"{shard}: the .{record.JSON} of record {index}: {error}") from error
        names = ("key", "identity", "view", *(["pose"] if self.description.num_poses else []))
        found: Record = {name: own[name] for name in names}
        for modality, form in self.forms.items():
            try:
                numbers = record.restored(form, record.decode(form, members[form.suffix]))
            except ValueError as error:
                raise ValueError(f"{shard}: {own['key']}.{form.suffix}: {error}") from error
            found[modality] = np.require(numbers, requirements="W")  # a copy, unless it is one already
        return found | {entry: np.asarray(own[entry], np.float32) for entry in ("z", "cam2world", "intrinsics")}

    def files(self, index: int) -> dict[str, bytes]:
        """The files of record number `index` as they are in the shard, by suffix (see `factory.record`)."""
        return self._read(index)[1]

    def __repr__(self) -> str:
        return f"Dataset({str(self.path)!r}, {self.split or 'all splits'}: {len(self):,} views of {list(self.forms)})"

    def batches(
        self, size: int, *, seed: int | None = None, epochs: int | None = 1, drop_rest: bool = True
    ) -> Iterator[Record]:
        """Batches of records, each entry with a leading dimension.

        Args:
          size: records in a batch.
          seed: shuffles, every epoch anew; None keeps the order.
          epochs: how often; None never ends.
          drop_rest: leave out what is too little for a batch at the end of an epoch.
        """
        if not 1 <= size <= len(self):
            raise ValueError(f"size is {size}, and {self!r} has {len(self)} views: expected 1 to as many")
        epoch = 0
        while epochs is None or epoch < epochs:
            order = np.arange(len(self))
            if seed is not None:
                np.random.default_rng([seed, epoch]).shuffle(order)
            for start in range(0, len(order) - size + 1 if drop_rest else len(order), size):
                records = [self[int(i)] for i in order[start : start + size]]
                yield {name: np.stack([each[name] for each in records]) for name in records[0]}
            epoch += 1

    def shards(self) -> Iterator[tuple[str, str]]:
        """(name, folder) of all tars that the records and objects here are in."""
        per_shard = self.plan.shard_size * self.plan.views_per_identity
        for folder in shards.folders(self.plan):
            for split, length in self._splits:
                for number in range(-(-length // per_shard)):
                    yield shard_name(split, number), folder

    def object(self, kind: str, identity: int) -> bytes:
        """The PLY file of an identity's "points" or "mesh"; `io.ply` reads it from a file.

        Raises ValueError: the dataset has none of this kind, or no such identity in this split.
        """
        if kind not in self.plan.modalities or kind not in shards.FOLDERS:
            has = f"its modalities are {some(self.plan.modalities)}"
            raise ValueError(f"{self.path} has no {kind!r:.50}: {has}. Make one with it in --config.modalities")
        for name, place in ((self._locate(i)) for i in self._indices(identity)):
            folder = shards.FOLDERS[kind]
            sample = shards.read_sidecar(self.path, name, folder)["samples"][place // self.plan.views_per_identity]
            with open(shards.tar_path(self.path, name, folder), "rb") as file:
                return next(iter(shards.read_members(file, sample).values()))
        raise ValueError(f"identity {identity} is not in {self!r}")

    def _indices(self, identity: int) -> list[int]:
        """The first record of an identity, if it is here."""
        start = 0
        for name, length in self._splits:
            members, views = range_of(self.plan, name), self.plan.views_per_identity
            if identity in members:
                return [start + members.index(identity) * views]
            start += length
        return []

    def _locate(self, index: int) -> tuple[str, int]:
        """The shard of a record, and its place there."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        index %= len(self)
        for split, length in self._splits:
            if index < length:
                number, place = divmod(index, self.plan.shard_size * self.plan.views_per_identity)
                return shard_name(split, number), place
            index -= length
        raise AssertionError("the splits are as long as the dataset")

    def _require_finished(self) -> None:
        """Raises ValueError: shards are missing."""
        there = {
            folder: set(os.listdir(self.path / folder)) if (self.path / folder).is_dir() else set()
            for folder in shards.folders(self.plan)
        }
        missing = [
            f"{folder}/{name}" for name, folder in self.shards() if not {f"{name}.tar", f"{name}.json"} <= there[folder]
        ]
        if missing:
            raise ValueError(
                f"{self.path} is not finished, or has lost shards: {some(missing)}. Give the command that made it again"
            )

    def _prepare(self) -> None:
        """What a copy in another process has to have of its own."""
        self._samples = functools.lru_cache(maxsize=_KEPT)(lambda name: shards.read_sidecar(self.path, name)["samples"])

    def _read(self, index: int) -> tuple[str, dict[str, bytes]]:
        """The path of a record's shard, and those of its files that are wanted."""
        name, place = self._locate(index)
        path = shards.tar_path(self.path, name)
        # Opened anew each time, which takes microseconds: threads and forks would share the position in an open file.
        with open(path, "rb") as file:
            return str(path), self._members(file, self._samples(name)[place])

    def _members(self, file: BinaryIO, sample: dict[str, Any]) -> dict[str, bytes]:
        """The files of a record that are wanted."""
        wanted = {record.JSON, *(form.suffix for form in self.forms.values())}
        members = {suffix: place for suffix, place in sample["members"].items() if suffix in wanted}
        return shards.read_members(file, {"key": sample["key"], "members": members})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_samples"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()
