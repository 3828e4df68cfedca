"""Some identities of a dataset, to look at and to measure: which, their views, pictures and clouds.

An identity's place is its rank among all of the splits of an open `Dataset`, in its order.
"""

import numpy as np

from dnerf_jax.factory.loading import Dataset, Record
from dnerf_jax.io import ply
from dnerf_jax.ops import warping
from dnerf_jax.ops.clouds import PointCloud
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.viz import pictures

MOST = 200  # identities that are chosen
_SEED = 0  # by which
_VIEWS_LIFTED = 5  # for a cloud


def choose(dataset: Dataset, most: int = MOST) -> list[int]:
    """The places of up to `most` identities, ascending: the same of the same dataset."""
    number = len(dataset) // dataset.plan.views_per_identity
    chosen = np.random.default_rng(_SEED).choice(number, min(most, number), replace=False)
    return sorted(int(place) for place in chosen)


def views(dataset: Dataset, place: int, most: int | None = None) -> list[Record]:
    """The records of an identity, or `most` of them, evenly spread."""
    number = dataset.plan.views_per_identity
    kept = np.unique(np.linspace(0, number - 1, min(most or number, number)).round().astype(int))
    return [dataset[place * number + int(view)] for view in kept]


def drawn(dataset: Dataset, record: Record) -> dict[str, np.ndarray]:
    """What there is of a view as pictures, uint8 (R, R, 3), by modality; logits are left out."""
    found = {}
    for name, values in record.items():
        if name == "image":
            found[name] = values
        elif name == "mask" and dataset.label_map is not None:
            found[name] = dataset.label_map.colorize(values)
        elif name in ("depth_z", "distance"):
            found[name] = pictures.depth_picture(values)
        elif name == "normal":
            found[name] = pictures.normal_picture(values)
        elif name in ("opacity", "confidence"):
            found[name] = pictures.share_picture(values)
    return found


def thumbnail(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture (R, R, 3) of at most `side` pixels, in which each is the mean of a square of the first's."""
    step = -(-picture.shape[0] // side)
    kept = picture.shape[0] // step
    squares = picture[: kept * step, : kept * step].reshape(kept, step, kept, step, 3)
    return np.round(squares.mean(axis=(1, 3))).astype(np.uint8)


def cloud(dataset: Dataset, place: int, most: int) -> PointCloud | None:
    """The cloud of an identity, of at most `most` points, evenly taken from all; None without points and depth.

    Where the dataset has no points, those that its views see, by their depth.
    """
    found = _stored(dataset, place) if "points" in dataset.plan.modalities else _seen(dataset, place)
    if found is None or not len(found.points):
        return None
    kept = np.linspace(0, len(found.points) - 1, min(most, len(found.points))).round().astype(int)
    return PointCloud(found.points[kept], found.colors[kept], found.labels[kept], dataset.label_map)


def _stored(dataset: Dataset, place: int) -> PointCloud:
    identity = dataset[place * dataset.plan.views_per_identity]["identity"]
    return ply.decode_cloud(dataset.object("points", identity), source=f"the cloud of identity {identity}")


def _seen(dataset: Dataset, place: int) -> PointCloud | None:
    """The pixels of an identity's views where they are in space; without depth None."""
    records = views(dataset, place, _VIEWS_LIFTED)
    depth = next((name for name in ("depth_z", "distance") if name in records[0]), None)
    if depth is None or "image" not in records[0]:
        return None
    arrays = {name: np.stack([record[name] for record in records]) for name in (depth, "cam2world", "intrinsics")}
    camera = arrays["cam2world"].astype(np.float64), arrays["intrinsics"].astype(np.float64)
    along = arrays[depth] if depth == "depth_z" else warping.depth_along_axis(arrays[depth], camera)
    solid = along > 0
    colors = np.concatenate([record["image"][kept] for record, kept in zip(records, solid, strict=True)])
    labels = [
        record["mask"][kept] if "mask" in record else np.full(kept.sum(), LabelMap.IGNORE, np.uint8)
        for record, kept in zip(records, solid, strict=True)
    ]
    return PointCloud(np.concatenate(warping.lift_some(along, camera, solid)), colors, np.concatenate(labels))
