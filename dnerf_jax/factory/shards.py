"""Shards: uncompressed tars of whole identities, each with a sidecar that says where everything is in it.

    data/train-000003.tar    a group of files for every view (see `record`)
    data/train-000003.json   the sidecar: sha256 and size of the tar; of every view the offsets and sizes of its files,
                             hashes of their decoded numbers and the pixels of each class; what was dropped; the stack
    clouds/, meshes/         the same of clouds and meshes, apart because loaders refuse mixed groups

Every tar is a function of what is in it (names, sizes, bytes; no times, no owners). It is written under a hidden name,
synced and renamed; the sidecar in data/ comes last, and a shard is there when it is. A tar serves WebDataset and
Hugging Face as a stream, and with its offsets random access.
"""

import hashlib
import json
import os
import pathlib
import tarfile
from collections.abc import Mapping
from typing import Any, BinaryIO

from dnerf_jax.factory.plan import Plan, Shard
from dnerf_jax.io import files
from dnerf_jax.ops.messages import some

VIEWS = "data"  # folders
FOLDERS = {"points": "clouds", "mesh": "meshes"}
SCHEMA_VERSION = 1
_SIDECAR = {"schema_version": int, "shard": str, "split": str, "sha256": str, "bytes": int, "stack": dict}
_SIDECAR |= {"identities": list, "drops": list, "samples": list}
_END = b"\n]}\n"  # of a sidecar


class Tar:
    """A tar that is being written, into an open file: the offset and size of every member, and the whole's sha256."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.size, self._digest = file, 0, hashlib.sha256()

    def add(self, name: str, data: bytes) -> tuple[int, int]:
        """Adds a member; returns where its bytes begin, and how many there are."""
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime, entry.mode = len(data), 0, 0o644
        self._write(entry.tobuf(tarfile.USTAR_FORMAT))
        place = self.size, len(data)
        self._write(data + bytes(-len(data) % tarfile.BLOCKSIZE))
        return place

    def finish(self) -> str:
        """Ends the tar; returns its sha256."""
        self._write(bytes(-(self.size + 1024) % tarfile.RECORDSIZE + 1024))
        return self._digest.hexdigest()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)


def is_done(plan: Plan, shard: Shard, out: pathlib.Path) -> bool:
    """Whether a shard is there, with all its tars of the right sizes, and for these identities."""
    for folder in folders(plan):
        try:
            head, size = read_head(out, shard.name, folder), tar_path(out, shard.name, folder).stat().st_size
        except (ValueError, OSError):
            return False
        if size != head["bytes"] or head["identities"] != list(shard.identities):
            return False
    return True


def read_sidecar(out: pathlib.Path, name: str, folder: str = VIEWS) -> dict[str, Any]:
    """The sidecar of a shard. Raises ValueError: it is missing, damaged, or another shard's."""
    path = sidecar_path(out, name, folder)
    if not path.exists():
        raise ValueError(
            f"{path} is missing: the dataset is not finished, or has lost it; give the command that made it again"
        )
    return _checked(files.read_json(path, "the sidecar of a shard"), path, name, _SIDECAR)


def read_head(out: pathlib.Path, name: str, folder: str = VIEWS) -> dict[str, Any]:
    """The sidecar of a shard without its samples, for whom it need not be read whole. Raises ValueError as above."""
    path = sidecar_path(out, name, folder)
    try:
        with open(path, "rb") as file:
            line = file.readline(files.TEXT_LIMIT)
            file.seek(-len(_END), os.SEEK_END)
            whole = line.endswith(b",\n") and file.read() == _END
        head = files.parse_json(line.decode(errors="replace")[:-2] + "}") if whole else {}
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as the sidecar of a shard: {error}; copy or write it anew") from error
    return _checked(head, path, name, {key: kind for key, kind in _SIDECAR.items() if key != "samples"})


def _checked(sidecar: dict[str, Any], path: pathlib.Path, name: str, fields: Mapping[str, type]) -> dict[str, Any]:
    wrong = [key for key, kind in fields.items() if not isinstance(sidecar.get(key), kind)]
    if wrong or sidecar["shard"] != name or sidecar["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"{path} is not the sidecar of the shard {name}: "
            + (f"it lacks {some(wrong)}" if wrong else f"it is that of {sidecar['shard']:.50}")
            + ". Restore it, or delete it and give the command that made the dataset again"
        )
    return sidecar


def require_whole(out: pathlib.Path, name: str, folder: str = VIEWS) -> None:
    """Raises ValueError: the bytes of a shard's tar are not those that its sidecar says."""
    with open(tar_path(out, name, folder), "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != read_head(out, name, folder)["sha256"]:
        raise ValueError(
            f"{tar_path(out, name, folder)} was changed or damaged: its sha256 is not that of its sidecar. Copy it "
            "again, or delete both and give the command that made the dataset again"
        )


def read_members(file: BinaryIO, sample: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a sample of a sidecar, by suffix, out of the open tar. Raises ValueError: the tar ends before."""
    found = {}
    for suffix, (offset, size) in sample["members"].items():
        file.seek(offset)
        found[suffix] = file.read(size)
        if len(found[suffix]) != size:
            raise ValueError(f"{file.name} ends before {sample['key']}.{suffix}: it is damaged, copy it again")
    return found


def tar_path(out: pathlib.Path, name: str, folder: str = VIEWS) -> pathlib.Path:
    """Where a shard's tar lies."""
    return out / folder / f"{name}.tar"


def sidecar_path(out: pathlib.Path, name: str, folder: str = VIEWS) -> pathlib.Path:
    """Where its sidecar lies."""
    return out / folder / f"{name}.json"


def folders(plan: Plan) -> list[str]:
    """The folders of tars that a dataset has, that of the views first."""
    return [VIEWS, *(folder for kind, folder in FOLDERS.items() if kind in plan.modalities)]


def sidecar_text(
    shard: Shard, tar: Tar, samples: list[dict[str, Any]], drops: list[dict[str, Any]], stack: Mapping[str, Any]
) -> str:
    """The text of a sidecar, a line for every sample."""
    head = {
        "schema_version": SCHEMA_VERSION,
        "shard": shard.name,
        "split": shard.split,
        "sha256": tar.finish(),
        "bytes": tar.size,
        "stack": dict(stack),
        "identities": shard.identities,
        "drops": drops,
    }
    lines = ",\n".join(json.dumps(sample, separators=(",", ":")) for sample in samples)
    return f'{json.dumps(head)[:-1]},\n"samples": [\n{lines}{_END.decode()}'
