"""Random streams: all differ, and those that packs and shards were made from are what they were."""

import itertools

import numpy as np
import pytest

from dnerf_jax.worlds import streams


def draws(name, seed, index):
    """What tells streams apart: the state of the generator, of 128 bits."""
    return streams.stream(name, seed, index).bit_generator.state["state"]["state"]


def test_all_streams_differ():
    numbers = (0, 1, 2, 3, 101, 2**32 - 1)
    states = [draws(*entry) for entry in itertools.product(streams.NUMBERS, numbers, numbers)]
    assert len(set(states)) == len(streams.NUMBERS) * len(numbers) ** 2
    assert len(set(streams.NUMBERS.values())) == len(streams.NUMBERS)


@pytest.mark.parametrize("seed, index", [(0, 0), (0, 7), (3, 0), (101, 29)])
def test_the_streams_that_shards_and_packs_were_made_from_are_unchanged(seed, index):
    identities = np.random.Generator(np.random.PCG64([seed, index]))
    packs = np.random.default_rng([seed, index, 1])
    np.testing.assert_array_equal(streams.stream("identities", seed, index).random(8), identities.random(8))
    np.testing.assert_array_equal(streams.stream("packs", seed, index).random(8), packs.random(8))


def test_numbers_are_never_changed():
    numbers = {"identities": 0, "packs": 1, "rays": 2, "pool": 3, "pool_batches": 4, "poses": 5, "shapes": 6}
    assert numbers == streams.NUMBERS


def test_a_stream_is_the_same_for_numbers_of_numpy():
    assert draws("rays", np.int64(3), np.uint8(4)) == draws("rays", 3, 4)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("faces", 0, 0), r"no random stream 'faces', expected one of identities, packs, "),
        (("rays", -1, 0), r"the seed of the stream 'rays' is -1, expected 0 to 4294967295"),
        (("rays", 0, 2**32), r"the index of the stream 'rays' is 4294967296, expected"),
    ],
)
def test_what_could_coincide_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        streams.stream(*arguments)
