"""Whether the files of a dataset are what its plan and its sidecars say, without rendering any of them.

Every byte is looked at, one shard after the other, in the memory of one view: the tars are those of their sidecars,
byte by byte; every view, cloud and mesh that the plan demands is there once, in its split; pictures have the hashes,
and masks the areas, that the sidecars say; views have sane cameras and latents. Files may be damaged in any way, or
made to deceive: what is wrong becomes a finding, and nothing is raised. What is consistently wrong, a label that was
edited with all its hashes, is found by `rerendering`.
"""

import collections
import contextlib
import dataclasses
import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from dnerf_jax.factory import description, plan, poses, record, shards
from dnerf_jax.factory.checks import merging
from dnerf_jax.factory.checks.contents import Contents, Draw
from dnerf_jax.factory.plan import Drops, Plan, Shard
from dnerf_jax.factory.shards import FOLDERS, VIEWS, Tar
from dnerf_jax.io import png
from dnerf_jax.ops.messages import some

_LISTED, _OF_A_FILE = 100, 4  # findings that are kept
_MOST = 1 << 40  # views of a dataset
_ANEW = "copy the shard's files again, or delete them and give the command that made the dataset again"
_GO_ON = "the dataset is not finished, or has lost it: give the command that made it again, or copy the file again"
_RESTORE = "restore it from where the dataset came from"
_DROP = ("identity", "attempt", "view", "rule", "value")


@dataclasses.dataclass(frozen=True)
class Finding:
    """What is wrong with a file, or with a sample in it (its key, or ""), and what to do."""

    file: Path
    sample: str
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.sample}{': ' * bool(self.sample)}{self.text}; {self.remedy}"


class Findings:
    """All that is wrong: how much, and of that the first so many, and of each file the first few."""

    def __init__(self) -> None:
        self.total, self.listed = 0, list[Finding]()
        self._of_files = collections.Counter[Path]()

    def add(self, file: Path, text: str, sample: str = "", remedy: str = _ANEW) -> None:
        """Adds a finding."""
        self.total += 1
        self._of_files[file] += 1
        if self._of_files[file] <= _OF_A_FILE and len(self.listed) < _LISTED:
            self.listed.append(Finding(file, sample, f"{text:.1000}", remedy))


@dataclasses.dataclass
class Checked:
    """What was looked at: tars, views, bytes, and the stacks that views come from, by fingerprint."""

    tars: int = 0
    views: int = 0
    bytes: int = 0
    stacks: dict[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


def check(
    out: Path, findings: Findings, *, drawn: Draw | None = None, on_tar: Callable[[Checked], None] | None = None
) -> Checked:
    """Looks at all files of the dataset in a folder, and adds what is wrong to the findings.

    drawn: what the plan draws, which needs the generator's configuration: all latents and cameras are compared with it.
    on_tar: called after each tar.

    Raises ValueError: the folder holds no dataset at all.
    """
    checked, path = Checked(), out / description.NAME
    if not path.exists():
        description.read(out)
    try:
        read = description.read(out)
        if read.plan.num_views > _MOST:
            raise ValueError(f"{path} plans {read.plan.num_views:.3g} views, expected {_MOST:,} at most")
        merging.history(read.content, path)
        _ = poses.read_text(out, read.poses_fingerprint) if read.num_poses else ""
        label_map = png.load_label_map(out / description.LABEL_MAP) if "mask" in read.plan.modalities else None
    except ValueError as error:
        findings.add(path, str(error), remedy=_RESTORE)
        return checked
    counts = {"identities": plan.split_sizes(read.plan), "views": read.plan.num_views}
    counts["shards"] = plan.num_shards(read.plan)
    for name, count in counts.items():
        if read.content.get(name) != count:
            findings.add(path, f"{name} is {read.content.get(name)!r:.100}, of its plan {count}", remedy=_RESTORE)
    contents = Contents(read, label_map, drawn)
    checker = _Checker(out, contents, findings, checked)
    for folder in (VIEWS, *FOLDERS.values()):
        for split, number in _there(out, read.plan, folder, findings):
            checker.tar(folder, split, number)
            if on_tar is not None:
                on_tar(checked)
    if repeated := contents.repeated():
        findings.add(path, f"{repeated} latents occur in several identities, which may be in different splits")
    return checked


def _there(out: Path, made: Plan, folder: str, findings: Findings) -> Iterator[tuple[str, int]]:
    """The shards of the plan that are in a folder; what is missing there, or beyond the plan, is found."""
    there = {entry for entry in (os.listdir(out / folder) if (out / folder).is_dir() else ()) if entry[0] != "."}
    missing = 0  # a plan may claim any number of shards: they are not all gone through
    for split, size in plan.split_sizes(made).items() if folder in shards.folders(made) else ():
        for number in range(-(-size // made.shard_size)):
            names = [plan.shard_name(split, number) + suffix for suffix in (".tar", ".json")]
            for lost in (name for name in names if name not in there):
                findings.add(out / folder / lost, "it is missing", remedy=_GO_ON)
                missing += 1
            if there.issuperset(names):
                yield split, number
            there.difference_update(names)
            if missing > _LISTED:
                return
    for entry in sorted(there):
        findings.add(out / folder / entry, "the plan has no such shard", remedy="remove it, or restore dataset.json")


class _Checker:
    """Looks at the tars of a dataset, one after the other."""

    def __init__(self, out: Path, contents: Contents, findings: Findings, checked: Checked) -> None:
        self.out, self.plan, self.forms = out, contents.plan, contents.read.forms
        self.contents, self.findings, self.checked = contents, findings, checked

    def tar(self, folder: str, split: str, number: int) -> None:
        """Looks at a shard's tar and sidecar in a folder."""
        name = plan.shard_name(split, number)
        path, beside = shards.tar_path(self.out, name, folder), shards.sidecar_path(self.out, name, folder)
        try:
            sidecar = shards.read_sidecar(self.out, name, folder)
            shard = self._shard(split, number, sidecar)
            self._require_same_heads(name, folder, sidecar)
            samples = list(self._samples(folder, shard, sidecar))
        except ValueError as error:
            self.findings.add(beside, str(error).removeprefix(f"{beside} "))
            return
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != sidecar["bytes"]:
                    self.findings.add(path, f"it has {size:,} bytes, its sidecar says {sidecar['bytes']:,}")
                # What a sidecar claims of a file that is too short is not read, which could take any memory.
                held = [sample for sample in samples if _end(sample) <= size]
                if len(held) < len(samples):
                    self.findings.add(path, f"it ends within, or before, {samples[len(held)]['key']}")
                self._bytes(file, path, sidecar, held)
                for sample in held:
                    self._sample(file, path, folder, shard, sample)
        except OSError as error:
            self.findings.add(path, f"it cannot be read ({error.strerror})")
        self.checked.tars += 1
        self.checked.bytes += sidecar["bytes"]
        if folder == VIEWS and len(self.checked.stacks) < _LISTED:
            self.checked.stacks.setdefault(str(sidecar["stack"].get("fingerprint")), sidecar["stack"])

    def _require_same_heads(self, name: str, folder: str, sidecar: Mapping[str, Any]) -> None:
        """Raises ValueError: a sidecar's first line says otherwise than the whole, or that of the views does."""
        heads = {"its first line": shards.read_head(self.out, name, folder)}
        with contextlib.suppress(ValueError):  # which is found where the views are looked at
            views = shards.read_head(self.out, name)
            heads["that of the views"] = {entry: views[entry] for entry in ("identities", "drops", "stack")}
        for what, head in heads.items():
            for entry, value in head.items():
                if sidecar[entry] != value:
                    raise ValueError(f"{entry} is {sidecar[entry]!r:.100}, {what} says {value!r:.100}")

    def _shard(self, split: str, number: int, sidecar: Mapping[str, Any]) -> Shard:
        """The shard as planned. Raises ValueError: it is not that of the sidecar."""
        every, size = plan.range_of(self.plan, split), self.plan.shard_size
        ranks = range(number * size, min((number + 1) * size, len(every)))
        if len(ranks) == len(sidecar["identities"]):
            shard = Shard(split, number, tuple(every[rank] for rank in ranks))
            if sidecar["split"] == split and sidecar["identities"] == list(shard.identities):
                return shard
        raise ValueError(
            f"it has the identities {some(sidecar['identities'])} of {sidecar['split']!r:.50}, but the plan gives this "
            f"shard {some((every[rank] for rank in ranks[:9]), 8)} of {split!r}"
        )

    def _samples(self, folder: str, shard: Shard, sidecar: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The samples that a sidecar has to have, each once it is found to be so. Raises ValueError: one is not."""
        attempts = _attempts(self.plan, shard, sidecar["drops"])
        views: Sequence[int | None] = range(self.plan.views_per_identity) if folder == VIEWS else (None,)
        names, suffixes = self._members(folder)
        if len(sidecar["samples"]) != len(shard.identities) * len(views):
            raise ValueError(
                f"it has {len(sidecar['samples'])} samples, expected {len(shard.identities)} x {len(views)}"
            )
        end = 0
        for place, sample in enumerate(sidecar["samples"]):
            identity, view = shard.identities[place // len(views)], views[place % len(views)]
            expected = {"key": record.key_of(identity, view), "identity": identity, "attempt": attempts[identity]}
            expected |= {} if view is None else {"view": view}
            found = sample if isinstance(sample, dict) else {}
            for entry, value in expected.items():
                if found.get(entry) != value or type(found.get(entry)) is not type(value):
                    raise ValueError(f"{expected['key']}: {entry} is {found.get(entry)!r:.50}, expected {value!r}")
            members, pixels = found.get("members"), found.get("pixels")
            if not isinstance(members, dict) or tuple(members) != suffixes:
                raise ValueError(f"{expected['key']}: members are {members!r:.200}, expected {some(suffixes, 12)}")
            if not isinstance(pixels, dict) or tuple(pixels) != names:
                raise ValueError(f"{expected['key']}: pixels are of {pixels!r:.200}, expected {some(names, 12)}")
            for suffix, at in members.items():
                if not isinstance(at, list) or [type(number) for number in at] != [int, int] or at[1] < 0:
                    raise ValueError(f"{expected['key']}.{suffix} is at {at!r:.50}, expected its offset and its size")
                if at[0] != end + tarfile.BLOCKSIZE or at[0] + at[1] > sidecar["bytes"]:
                    raise ValueError(
                        f"{expected['key']}.{suffix} is at {at}, expected the offset {end + tarfile.BLOCKSIZE} and an "
                        f"end within {sidecar['bytes']:,} bytes"
                    )
                end = at[0] + -(-at[1] // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            yield found

    def _members(self, folder: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The modalities of a folder's samples, and the suffixes of their files, in order."""
        if folder == VIEWS:
            return tuple(self.forms), (*(form.suffix for form in self.forms.values()), record.JSON)
        kind = next(kind for kind, place in FOLDERS.items() if place == folder)
        return (kind,), (record.OBJECT_SUFFIX[kind],)

    def _bytes(
        self, file: BinaryIO, path: Path, sidecar: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]
    ) -> None:
        """Finds what differs between a tar and the one that its sidecar describes."""
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sidecar["sha256"]:
            self.findings.add(path, f"its sha256 is {digest}, its sidecar says {sidecar['sha256']:.64}")
        with open(os.devnull, "wb") as nowhere:
            tar, sound = Tar(nowhere), True
            for sample in samples:
                for suffix, (offset, length) in sample["members"].items():
                    file.seek(offset - tarfile.BLOCKSIZE)
                    header, name = file.read(tarfile.BLOCKSIZE), f"{sample['key']}.{suffix}"
                    tar.add(name, file.read(length))
                    if (held := _name_in(header)) != name:
                        self.findings.add(path, f"at {offset:,} it holds {held}, not {name}", sample["key"])
                        sound = False
            if sound and tar.size < sidecar["bytes"] and tar.finish() != digest == sidecar["sha256"]:
                self.findings.add(path, "it has bytes beside the files that its sidecar lists, which make its sha256")

    def _sample(self, file: BinaryIO, path: Path, folder: str, shard: Shard, sample: Mapping[str, Any]) -> None:
        """Finds what is wrong with a view, or with an object."""
        key = sample["key"]
        try:
            members = shards.read_members(file, sample)
        except ValueError as error:
            self.findings.add(path, str(error).removeprefix(f"{path} "), key)
            return
        if folder != VIEWS:
            (kind,), (suffix,) = self._members(folder)
            self._look(path, key, lambda: self.contents.object(kind, sample, members[suffix]))
            return
        self._look(path, key, lambda: self.contents.pixels(sample, members))
        self._look(path, key, lambda: self.contents.own(shard, sample, members))
        self.checked.views += 1

    def _look(self, path: Path, key: str, look: Callable[[], None]) -> None:
        try:
            look()
        except ValueError as error:
            self.findings.add(path, str(error), key)


def _attempts(made: Plan, shard: Shard, drops: Sequence[Any]) -> collections.Counter[int]:
    """How many attempts of each identity were dropped. Raises ValueError: what a sidecar says of it cannot be so."""
    attempts = collections.Counter[int]()
    limits = _limits(made.drops)
    for drop in drops:
        try:
            identity, attempt, view, rule, value = (drop[name] for name in _DROP)
            least, most = limits[rule]
            sound = identity in shard.identities and attempt == attempts[identity] < made.drops.attempts
            if not sound or not 0 <= view < made.views_per_identity or least <= value <= most:
                raise ValueError
        except (TypeError, KeyError, ValueError):
            raise ValueError(
                f"it has the drop {drop!r:.200}, which by the plan's rules, or after the drops before it, cannot be"
            ) from None
        attempts[identity] += 1
    return attempts


def _limits(drops: Drops) -> dict[str, tuple[float, float]]:
    """Of every rule that `render.broken_rule` may name, the values that it allows."""
    found = {f"min_area {name}": (share, 1.0) for name, share in drops.min_area}
    found |= {f"max_area {name}": (0.0, share) for name, share in drops.max_area}
    if drops.max_border_opacity is not None:
        found["max_border_opacity"] = 0.0, drops.max_border_opacity
    if drops.min_confidence is not None:
        found["min_confidence"] = drops.min_confidence, 1.0
    return found


def _end(sample: Mapping[str, Any]) -> int:
    """Where the last file of a sample ends in its tar."""
    return max(offset + size for offset, size in sample["members"].values())


def _name_in(header: bytes) -> str:
    """The file that a tar's header announces, or what messages call something else."""
    try:
        return tarfile.TarInfo.frombuf(header, "utf-8", "replace").name[:100]
    except (tarfile.TarError, ValueError):
        return "no header of a file"
