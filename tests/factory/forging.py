"""Datasets that were tampered with: samples changed, and all that their sidecars say of them made to fit again."""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dnerf_jax.factory import description, plan, record, shards
from dnerf_jax.io import files

Change = Callable[[dict[str, Any], dict[str, bytes]], None]  # of a sample of a sidecar and its files, in place


def forge(out: Path, name: str, change: Change, folder: str = "data", sidecar: dict[str, Any] | None = None) -> None:
    """Writes a shard anew with each of its samples changed, its sidecar consistent with it."""
    read = description.read(out)
    old = shards.read_sidecar(out, name, folder) | (sidecar or {})
    with open(shards.tar_path(out, name, folder), "rb") as file:
        members = [shards.read_members(file, sample) for sample in old["samples"]]
    with open(shards.tar_path(out, name, folder), "wb") as file:
        tar = shards.Tar(file)
        for sample, found in zip(old["samples"], members, strict=True):
            change(sample, found)
            sample["members"] = {suffix: tar.add(f"{sample['key']}.{suffix}", data) for suffix, data in found.items()}
            if folder != "data":
                sample["pixels"] = {kind: hashlib.sha256(*found.values()).hexdigest()[:16] for kind in sample["pixels"]}
                continue
            numbers = {key: record.decode(form, found[form.suffix]) for key, form in read.forms.items()}
            sample["pixels"] = {key: record.pixel_hash(array) for key, array in numbers.items()}
            if "mask" not in numbers:
                sample.pop("area", None)
                continue
            sample["area"] = [int((numbers["mask"] == label).sum()) for label in range(len(sample["area"]))]
        shard = plan.Shard(old["split"], int(name.rsplit("-", 1)[1]), old["identities"])
        text = shards.sidecar_text(shard, tar, old["samples"], old["drops"], old["stack"])
    shards.sidecar_path(out, name, folder).write_text(text)


def of(key: str, change: Change) -> Change:
    """The change, of the sample with this key only."""
    return lambda sample, members: change(sample, members) if sample["key"] == key else None


def own(changed: Callable[[dict[str, Any]], None]) -> Change:
    """A change of what a view's JSON says."""

    def change(sample, members):
        said = files.parse_json(members[record.JSON].decode())
        changed(said)
        members[record.JSON] = record.to_json(said)

    return change


def nothing(sample: dict[str, Any], members: dict[str, bytes]) -> None:
    """No change."""


def edit_json(path: Path, changed: Callable[[dict[str, Any]], None]) -> None:
    """Changes a JSON file."""
    content = files.read_json(path)
    changed(content)
    files.write_json(path, content)


def copied(source: Path, target: Path) -> Path:
    """A copy of a dataset that may be changed."""
    return Path(shutil.copytree(source, target))


def moved(out: Path, pairs: Iterable[tuple[str, str]]) -> None:
    """Renames files within a dataset, all at once."""
    for old, _ in (pairs := list(pairs)):
        (out / old).rename(out / f"{old}.old")
    for old, new in pairs:
        (out / f"{old}.old").rename(out / new)
