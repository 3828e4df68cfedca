"""Every NumPy random stream of the worlds and of what is trained on them, numbered in one place.

    rng = stream("identities", seed, index)        # PCG64 of the words [seed, index, number of the stream]

NumPy fills what is missing of a seed with zeros, so [seed, index] and [seed, index, 0] are one stream, and a list that
ends in anything but 0 is never another list with zeros behind it. All streams therefore have three words, of which the
last tells them apart whatever the seeds. The numbers are part of what the embedded packs and rendered shards are made
from: a new stream takes the next number, and no number is ever changed or given anew.

Streams of labelled views further differ by their seeds, which are numbered here too: SEEDS.

JAX's keys are another matter: a run has one, to which steps and samples fold their number in.
"""

import numpy as np

NUMBERS = {
    "identities": 0,  # a training identity's latent, then its cameras; index: the identity
    "packs": 1,  # a pack's or held-out latent, then its camera; index: the latent
    "rays": 2,  # pretraining: identities and rays of a step; index: the step
    "pool": 3,  # pretraining: views whose feature images the super-resolution learns from; no index
    "pool_batches": 4,  # pretraining: which of them a step takes; index: the step
    "poses": 5,  # the poses of a pack of bodies; no index
    "shapes": 6,  # pretraining: latents whose known shapes are told from w; no index
}
# Of the stream "packs": every set of labelled views has latents of its own.
SEEDS = {
    "heads_train": 101,
    "heads_test": 102,
    "heads_video": 103,
    "validation": 104,
    "held_out": 105,
    "videos": 106,
    "bodies_train": 107,
    "bodies_test": 108,
    "bodies_motion": 109,
}
_WORD = 2**32  # NumPy spreads a larger number over two words, and then streams could coincide


def stream(name: str, seed: int, index: int = 0) -> np.random.Generator:
    """The generator of one stream: the same for the same name, seed and index, and else another.

    Raises ValueError for a name that is not in NUMBERS, and for a seed or index outside [0, 2^32).
    """
    if name not in NUMBERS:
        raise ValueError(f"there is no random stream {name!r}, expected one of {', '.join(NUMBERS)}: number it here")
    for what, value in (("seed", seed), ("index", index)):
        if not 0 <= value < _WORD:
            raise ValueError(f"the {what} of the stream {name!r} is {value}, expected 0 to {_WORD - 1}: choose another")
    return np.random.Generator(np.random.PCG64([int(seed), int(index), NUMBERS[name]]))
