"""Run lengths: round trips, the same as COCO's own, Label Studio's bits, and what strangers write."""

import numpy as np
import pytest

from dnerf_jax.ops import run_lengths


@pytest.fixture
def masks(generator):
    """Regions of all kinds: noise, blocks, nothing, everything."""
    noise = generator.random((13, 17)) < 0.4
    blocks = np.kron(generator.random((4, 5)) < 0.5, np.ones((60, 70), bool))
    return [noise, ~noise, blocks, np.zeros((5, 4), bool), np.ones((5, 4), bool)]


def test_counts_and_text_round_trip(masks):
    for mask in masks:
        counts = run_lengths.counts(mask.ravel(order="F"))
        assert sum(counts) == mask.size and all(counts[1:])
        assert run_lengths.from_text(run_lengths.to_text(counts)) == counts
        back = run_lengths.region(counts, mask.size).reshape(mask.shape, order="F")
        np.testing.assert_array_equal(back, mask)


@pytest.mark.forms
def test_text_is_that_of_pycocotools(masks):
    coco = pytest.importorskip("pycocotools.mask")
    for mask in masks:
        theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert run_lengths.to_text(run_lengths.counts(mask.ravel(order="F"))) == theirs


def test_brush_round_trips(masks):
    for mask in masks:
        numbers = run_lengths.to_brush(mask)
        assert all(0 <= number < 256 for number in numbers)
        np.testing.assert_array_equal(run_lengths.from_brush(numbers, mask.shape), mask)
        wild = [number + 256 * (i % 3) for i, number in enumerate(numbers)]
        np.testing.assert_array_equal(run_lengths.from_brush(wild, mask.shape), mask)


def test_a_brush_has_words_that_are_not_repeated():
    """A pixel as rle-pack may write it: its four numbers one by one, then three pixels in one run."""
    head = f"{16:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    body = "0" + "00" + "011" + "0" * 24 + "1" * 8 + "1" + "01" + "1011" + "0" * 8
    bits = np.array(list(head + body), int)
    assert run_lengths.from_brush(np.packbits(bits).tolist(), (2, 2)).tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: run_lengths.region([3, -1], 9), "whole numbers"),
        (lambda: run_lengths.region([3, 10**15], 9), "whole numbers"),
        (lambda: run_lengths.region([5, 5], 9), "sum to 9"),
        (lambda: run_lengths.region([True], 9), "whole numbers"),
        (lambda: run_lengths.from_text("~~"), "no compressed text"),
        (lambda: run_lengths.from_text("P" * 30), "no compressed text"),
        (lambda: run_lengths.from_text("P"), "cut off"),
        (lambda: run_lengths.from_brush([1, 2], (2, 2)), "cut off"),
        (lambda: run_lengths.from_brush([255] * 9, (2, 2)), "expected 2 x 2"),
        (lambda: run_lengths.from_brush([0.5], (2, 2)), "whole numbers"),
        (lambda: run_lengths.from_brush(run_lengths.to_brush(np.eye(9) > 0)[:-2], (9, 9)), "cut off"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
