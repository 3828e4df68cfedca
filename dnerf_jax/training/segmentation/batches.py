"""Labelled views in the order of a run: read ahead from the shards of a dataset, mixed with those of a pack.

Which views a step sees follows from the seed and the number of the step alone, so that a run that is continued sees
what it would have seen: each source is shuffled anew whenever all of it was seen. Nothing but a few batches is in
memory, whatever the size of the dataset.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from flax import struct
from PIL import Image

from dnerf_jax.factory.loading import Dataset
from dnerf_jax.io import workers
from dnerf_jax.io.packs import Annotations
from dnerf_jax.io.picture_folders import Pictures
from dnerf_jax.ops.labels import LabelMap

AHEAD = 3  # batches that are being read while a step runs


@struct.dataclass
class Batch:
    """Images (B, R, R, 3) uint8, and masks (B, R, R) uint8, 255 = ignore."""

    image: Any
    mask: Any


@dataclasses.dataclass(frozen=True)
class Source:
    """So many labelled views; `read(i)` is image (H, H, 3) and mask (H, H) of view i. of_step: how many a batch has."""

    length: int
    read: Callable[[int], tuple[np.ndarray, np.ndarray]]
    of_step: int


def of_dataset(dataset: Dataset, of_step: int, *, confident: float = 0.0) -> Source:
    """The views of a dataset. Reading one raises ValueError, with what to do, where its shard is damaged or gone.

    confident: pixels of less confidence, which the records then have to have, are ignored; 0 is none of them.
    """
    label_map = dataset.label_map

    def read(number: int) -> tuple[np.ndarray, np.ndarray]:
        try:
            record = dataset[number]
            mask = record["mask"]
            ids = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
            if label_map is not None:
                label_map.check(ids, "its mask")
        except (ValueError, OSError) as error:
            raise ValueError(
                f"view {number} of {dataset.path} cannot be read: {error}. Copy that shard again, or delete its .tar "
                "and .json and give the command that made the dataset again; then this command goes on from its last "
                "checkpoint"
            ) from error
        if confident:
            mask = np.where(record["confidence"] < confident, np.uint8(LabelMap.IGNORE), mask)
        return record["image"], mask

    return Source(len(dataset), read, of_step)


def of(views: Dataset | Annotations | Pictures, of_step: int, *, confident: float = 0.0) -> Source:
    """The views of a dataset, a labelled pack or a folder of pictures. confident: of a dataset, see `of_dataset`."""
    if isinstance(views, Annotations):
        return of_pack(views, of_step)
    if isinstance(views, Pictures):
        return Source(len(views), views.read, of_step)
    return of_dataset(views, of_step, confident=confident)


def of_pack(pack: Annotations, of_step: int) -> Source:
    """The views of a labelled pack."""
    return Source(len(pack), lambda number: (pack.images[number], pack.masks[number]), of_step)


def batches(sources: Sequence[Source], *, seed: int, resolution: int, start: int, stop: int) -> Iterator[Batch]:
    """The batches of the steps start + 1 to stop, each made of all sources, one after the other.

    Raises ValueError, when the step has come to it: a view cannot be read.
    """
    with concurrent.futures.ThreadPoolExecutor(max(2, workers.threads())) as pool:
        waiting: collections.deque[list[concurrent.futures.Future]] = collections.deque()
        try:
            for step in range(start + 1, stop + 1 + AHEAD):
                if step <= stop:
                    waiting.append([pool.submit(_seen, *one, resolution) for one in _drawn(sources, seed, step)])
                if step > start + AHEAD and waiting:
                    views = [each.result() for each in waiting.popleft()]
                    yield Batch(*(np.stack(part) for part in zip(*views, strict=True)))
        finally:
            for each in itertools.chain(*waiting):
                each.cancel()


def numbers(length: int, *, seed: int, start: int, count: int) -> list[int]:
    """Places start to start + count - 1 of an endless row in which `length` views stand again and again, shuffled."""
    places = (divmod(place, length) for place in range(start, start + count))
    return [int(_order(seed, epoch, length)[place]) for epoch, place in places]


@functools.lru_cache(maxsize=4)  # an epoch and the next one of two sources
def _order(seed: int, epoch: int, length: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch, length]).permutation(length)


def _drawn(sources: Sequence[Source], seed: int, step: int) -> Iterator[tuple[Source, int]]:
    """The views of a step."""
    for source in sources:
        chosen = numbers(source.length, seed=seed, start=(step - 1) * source.of_step, count=source.of_step)
        yield from ((source, number) for number in chosen)


def _seen(source: Source, number: int, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    return fitted(*source.read(number), resolution)


def fitted(image: np.ndarray, mask: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask at R x R: the image smoothly, without moiré where it shrinks, of the mask the nearest pixels."""
    if image.shape[0] == image.shape[1] == resolution:
        return image, mask
    size = (resolution, resolution)
    smooth = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(smooth), np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
