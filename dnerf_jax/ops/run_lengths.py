"""Regions as run lengths: COCO's and CVAT's counts, COCO's compressed text, Label Studio's brush.

Counts alternate between pixels outside and inside a region, beginning with those outside, maybe 0: column by column in
COCO, row by row in CVAT. Whatever comes from a file is compared with the size of its picture before memory is taken.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

_SIZES = (3, 4, 8, 16)  # bits of the lengths that `to_brush` writes
_CHANNELS = 4  # of Label Studio's brush: RGBA, of which the last says where it painted


def counts(flat: np.ndarray) -> list[int]:
    """The counts of a flat region, bool (N,)."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
    return np.diff(np.concatenate([[0], changes, [len(flat)]])).tolist()


def region(numbers: Iterable[Any], size: int) -> np.ndarray:
    """The flat region, bool (size,), of counts; what they leave out at the end is outside.

    Raises ValueError: they are not whole numbers from 0, or have another sum than `size`.
    """
    numbers = list(numbers)
    if not all(type(number) is int and 0 <= number <= size for number in numbers) or sum(numbers) > size:
        raise ValueError(f"its run lengths are not whole numbers from 0 that sum to {size} at most")
    runs = np.array(numbers, np.int64)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.concatenate([flat, np.zeros(size - len(flat), bool)])


def to_text(numbers: Sequence[int]) -> str:
    """COCO's compressed text of counts: differences to the last but one, five bits a character."""
    text = []
    for place, number in enumerate(numbers):
        left = number - numbers[place - 2] if place > 2 else number
        while True:
            low, left = left & 31, left >> 5
            more = left != (-1 if low & 16 else 0)
            text.append(chr(low + 32 * more + 48))
            if not more:
                break
    return "".join(text)


def from_text(text: str) -> list[int]:
    """The counts of COCO's compressed text. Raises ValueError: it is none."""
    numbers: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 40:
            raise ValueError("its run lengths are no compressed text of COCO's")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (code & 16) and (1 << shift)
            numbers.append(value + numbers[-2] if len(numbers) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError("its run lengths are cut off")
    return numbers


def to_brush(mask: np.ndarray) -> list[int]:
    """Label Studio's brush of a region, bool (H, W): bytes 0 to 255."""
    runs = np.array(counts(mask.ravel())) * _CHANNELS
    bits = [f"{mask.size * _CHANNELS:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for place, run in enumerate(runs.tolist()):
        value = "11111111" if place % 2 else "00000000"
        while run:
            length = min(run, 1 << _SIZES[-1])
            which = next(i for i, size in enumerate(_SIZES) if length <= 1 << size)
            bits.append(f"1{which:02b}{length - 1:0{_SIZES[which]}b}{value}")
            run -= length
    text = "".join(bits)
    return np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0")).tolist()


def from_brush(numbers: Sequence[Any], size: tuple[int, int]) -> np.ndarray:
    """The region, bool (H, W), that Label Studio's brush painted.

    numbers: bytes; of those above 255, which are seen in the wild, the lowest eight bits count, as for its converter.

    Raises ValueError: they are no whole numbers, or not of a picture of this size.
    """
    height, width = size
    total = height * width * _CHANNELS
    if not all(type(number) is int for number in numbers):
        raise ValueError("its brush is no list of whole numbers")
    bits = np.unpackbits(np.array([number & 255 for number in numbers], np.uint8))
    text, place = (bits + ord("0")).astype(np.uint8).tobytes().decode(), 0

    def take(count: int) -> int:
        nonlocal place
        if place + count > len(text):
            raise ValueError(f"its brush is cut off after {len(numbers)} bytes")
        place += count
        return int(text[place - count : place], 2)

    claimed, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    if claimed != total:
        raise ValueError(f"its brush is of {claimed / _CHANNELS:g} pixels, expected {height} x {width}")
    values, done = np.zeros(total, bool), 0
    while done < total:
        repeated = take(1)
        length = take(sizes[take(2)]) + 1
        if done + length > total:
            raise ValueError("its brush has more pixels than its picture")
        if repeated:
            values[done : done + length] = bool(take(word))
        else:
            values[done : done + length] = [bool(take(word)) for _ in itertools.repeat(None, length)]
        done += length
    return values.reshape(height, width, _CHANNELS)[..., -1]
