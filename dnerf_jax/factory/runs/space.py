"""Room on the disk: what a dataset takes, what it has, and a refusal before the work where that is too little."""

import shutil
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from dnerf_jax.factory import shards
from dnerf_jax.factory.plan import Plan, Shard

# Bytes a pixel, and of a point or a vertex: of heads on white, which take less than most pictures.
_PIXEL = {"image": 0.6, "mask": 0.06, "depth_z": 0.45, "distance": 0.45, "opacity": 0.1, "confidence": 0.6}
_PIXEL |= {"normal": 6.0, "logits": 2.0}
_POINT, _FLOAT = 32, 4
_OVERHEAD = 2_500  # bytes a view: cameras, headers and padding of the tar, its line in the sidecar
_LOOKED_AT = 100  # shards at most, whose mean size is taken


def require(plan: Plan, todo: Iterable[Shard], resolution: int, out: Path) -> None:
    """Raises ValueError where the disk has less space than these shards, with images of this resolution, take.

    What they take is what those that are there take on average, else what heads on white would.
    """
    needed = sum(len(shard.identities) for shard in todo) * an_identity(plan, resolution, out)
    has = free(out)
    if needed > has:
        raise ValueError(
            f"the disk of {out} has {said(has)} left, what is missing takes about {said(needed)}: free some space, "
            "name a folder on another disk, or plan fewer identities or modalities"
        )


def an_identity(plan: Plan, resolution: int, out: Path) -> float:
    """About how many bytes the views and objects of an identity take."""
    made = identities = 0
    for path in islice((out / shards.VIEWS).glob("*.json"), _LOOKED_AT):
        try:
            heads = [shards.read_head(out, path.stem, folder) for folder in shards.folders(plan)]
        except ValueError:
            continue  # not whole yet
        made += sum(head["bytes"] for head in heads)
        identities += len(heads[0]["identities"])
    if identities:
        return made / identities
    pixel = {name: _PIXEL[name] for name in plan.view_modalities}
    if plan.depth == "float32":
        pixel |= {name: _FLOAT for name in ("depth_z", "distance") if name in pixel}
    views = plan.views_per_identity * (sum(pixel.values()) * resolution**2 + _OVERHEAD)
    return views + ("points" in plan.modalities) * plan.cloud.num_points * _POINT


def free(path: Path) -> int:
    """The bytes that are free where a folder is, or will be."""
    path = path.absolute()
    return shutil.disk_usage(next(folder for folder in (path, *path.parents) if folder.exists())).free


def said(size: float) -> str:
    """A size as people would say it: 1.2 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"
