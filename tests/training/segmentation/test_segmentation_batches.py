"""The order of views is that of the seed and the step, mixed as told; damage is named when its turn has come."""

import shutil

import numpy as np
import pytest

from dnerf_jax.factory import loading
from dnerf_jax.training.segmentation import batches
from dnerf_jax.training.segmentation.batches import Source


def source(first, length, of_step):
    """Views whose pixels all say their number, counted from `first`."""

    def read(number):
        return np.full((4, 4, 3), first + number, np.uint8), np.full((4, 4), first + number, np.uint8)

    return Source(length, read, of_step)


def numbers_of(batch):
    assert (batch.image[:, 0, 0, 0] == batch.mask[:, 0, 0]).all()
    return batch.mask[:, 0, 0].tolist()


def test_every_view_is_seen_once_before_any_is_seen_again():
    order = batches.numbers(7, seed=1, start=0, count=21)
    assert all(sorted(order[i : i + 7]) == list(range(7)) for i in (0, 7, 14))
    assert order[:7] != order[7:14] != order[14:]
    assert batches.numbers(7, seed=1, start=5, count=6) == order[5:11]
    assert batches.numbers(7, seed=2, start=0, count=21) != order


def test_a_run_that_goes_on_sees_what_it_would_have_seen():
    sources = [source(0, 10, 3), source(100, 4, 2)]
    whole = list(batches.batches(sources, seed=5, resolution=4, start=0, stop=9))
    rest = list(batches.batches(sources, seed=5, resolution=4, start=4, stop=9))
    assert len(whole) == 9 and [numbers_of(batch) for batch in whole[4:]] == [numbers_of(batch) for batch in rest]
    for batch in whole:
        assert [number >= 100 for number in numbers_of(batch)] == [False] * 3 + [True] * 2
    assert list(batches.batches(sources, seed=5, resolution=4, start=9, stop=9)) == []


def test_only_a_few_batches_are_read_ahead():
    read = []
    counted = Source(10, lambda number: (read.append(number), source(0, 10, 2).read(number))[1], 2)
    seen = batches.batches([counted], seed=0, resolution=4, start=0, stop=1000)
    next(seen), next(seen)
    seen.close()
    assert len(read) <= 2 * (2 + batches.AHEAD)


def test_images_shrink_smoothly_and_masks_keep_their_ids():
    image = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((2, 2)))[..., None] * np.full(3, 200)
    mask = np.kron(np.arange(16).reshape(4, 4), np.ones((4, 4))).astype(np.uint8)
    small, labels = batches.fitted(image.astype(np.uint8), mask, 4)
    assert small.shape == (4, 4, 3) and np.abs(small.astype(int) - 100).max() <= 20  # neither black nor white
    np.testing.assert_array_equal(labels, np.arange(16).reshape(4, 4))
    assert batches.fitted(small, labels, 4)[0] is small


def test_views_of_a_dataset_are_read_and_damage_is_named(tiny_dataset, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(tiny_dataset, copy)
    dataset = loading.load(copy, split="train", only=("image", "mask"))
    views = batches.of_dataset(dataset, 2)
    image, mask = views.read(1)
    np.testing.assert_array_equal(image, dataset[1]["image"])
    np.testing.assert_array_equal(mask, dataset[1]["mask"])
    assert views.length == len(dataset) == 8
    tar = next(copy.glob("data/*train*.tar"))
    whole = tar.read_bytes()
    for damaged in (whole[:100], bytes(len(whole))):
        tar.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"view \d of {copy} cannot be read: .*{tar.stem}.*delete its .tar and"):
            for number in range(views.length):
                views.read(number)
    tar.unlink()
    with pytest.raises(ValueError, match="No such file .*then this command goes on from its last checkpoint"):
        for number in range(views.length):
            views.read(number)


def test_pixels_of_little_confidence_are_ignored(tiny_dataset):
    dataset = loading.load(tiny_dataset, split="train", only=("image", "mask", "confidence"))
    record = dataset[1]
    least = float(np.median(record["confidence"]))
    doubted = record["confidence"] < least
    assert 0 < doubted.sum() < doubted.size
    image, mask = batches.of(dataset, 2, confident=least).read(1)
    np.testing.assert_array_equal(image, record["image"])
    np.testing.assert_array_equal(mask, np.where(doubted, 255, record["mask"]))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(batches.of(dataset, 2).read(1)[1], record["mask"])
