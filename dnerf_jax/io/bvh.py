"""BVH, the text form of recorded motion: a skeleton of joints, then the numbers of all channels for every frame.

    HIERARCHY                                   a tree of joints: where each is against its parent, and its channels
    ROOT Hips { OFFSET 0 0 0
      CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
      JOINT Spine { OFFSET 0 10 0  CHANNELS 3 Zrotation Xrotation Yrotation  End Site { OFFSET 0 8 0 } } }
    MOTION
    Frames: 2                                   one line of numbers for each
    Frame Time: 0.0333                          seconds

Rotations are in degrees, and multiplied in the order of their channels: R = Rz Rx Ry above, on columns. Positions take
the place of the offset. Lengths have any unit. `retargeting` makes poses of a template's bones from this.
"""

import dataclasses
import io
import itertools
import os
import re
from collections.abc import Collection, Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from dnerf_jax.io import files

FRAMES = 36_000  # at most: 5 minutes at 120 a second, 20 at 30
JOINTS = 1000  # at most
LARGEST = 1e9  # of any number
_CHANNELS = tuple(f"{axis}{kind}" for kind in ("position", "rotation") for axis in "xyz")
_HEADER = re.compile(r"\s*Frames:\s*([0-9]{1,9})\s+Frame\s+Time:\s*(\S+)[^\S\n]*\n?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Recording:
    """J joints over F frames, in the file's own units.

    joints: their names, each after its parent; parents: the numbers of these, -1 for the root. offsets: (J, 3) against
    the parent. channels: of every joint its own, such as "zrotation", in the file's order. values: (F, all channels),
    degrees and lengths. frame_time: seconds.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    channels: tuple[tuple[str, ...], ...]
    values: np.ndarray
    frame_time: float

    def rest(self) -> np.ndarray:
        """Where the joints are (J, 3) if nothing is turned, the root at the origin."""
        places = np.zeros_like(self.offsets)
        for joint, parent in enumerate(self.parents[1:], 1):
            places[joint] = places[parent] + self.offsets[joint]
        return places

    def world(self, wanted: Collection[int]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Rotations (F, 3, 3) and places (F, 3) in the world, of these joints and those above them."""
        needed: set[int] = set()
        for joint in wanted:
            while joint >= 0 and joint not in needed:
                needed.add(joint)
                joint = self.parents[joint]
        frames = len(self.values)
        made = {-1: (np.broadcast_to(np.eye(3), (frames, 3, 3)), np.zeros((frames, 3)))}
        starts = np.cumsum([0, *map(len, self.channels)])
        for joint in sorted(needed):
            turned, place = made[self.parents[joint]]
            own = dict(zip(self.channels[joint], self.values[:, starts[joint] : starts[joint + 1]].T, strict=True))
            offset = np.tile(self.offsets[joint], (frames, 1))
            for axis, name in enumerate(_CHANNELS[:3]):
                offset[:, axis] = own.get(name, offset[:, axis])
            place = place + np.einsum("fij,fj->fi", turned, offset)
            axes = [name for name in own if name.endswith("rotation")]
            if axes:
                order = "".join(name[0] for name in axes).upper()  # in capitals: each about the axes that it finds
                angles = np.stack([own[name] for name in axes], axis=-1)
                turned = turned @ Rotation.from_euler(order, angles, degrees=True).as_matrix()
            made[joint] = turned, place
        return {joint: made[joint] for joint in needed}


def read(path: str | os.PathLike) -> Recording:
    """Reads a BVH file. Raises ValueError, always naming the file, as `files.read_text` and `parse`."""
    text = files.read_text(path, "a BVH motion")
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a BVH motion: {error}") from error


def parse(text: str) -> Recording:
    """The recording of a file's text.

    Raises ValueError: it lacks a part, the tree is not as above, has two roots, a name twice, more than JOINTS joints,
    or unknown channels; there is no frame, or more than FRAMES; numbers are not as many as said, or not finite.
    """
    found = re.search(r"^[^\S\n]*MOTION\b", text, re.MULTILINE)
    if not re.match(r"\s*HIERARCHY\b", text) or found is None:
        raise ValueError("it has no HIERARCHY at its beginning and MOTION after it; is it another file?")
    joints, parents, offsets, channels = _hierarchy(text[: found.start()].split("HIERARCHY", 1)[1])
    header = _HEADER.match(text, found.end())
    if header is None:
        raise ValueError("after MOTION it has no 'Frames: NUMBER' and 'Frame Time: SECONDS', each on a line")
    frames, frame_time = int(header[1]), _number("the frame time", header[2])
    if not 1 <= frames <= FRAMES:
        raise ValueError(f"it has {frames} frames, expected 1 to {FRAMES}: cut it, or leave out frames between others")
    if not 1e-6 <= frame_time <= 1e6:
        raise ValueError(f"its frame time is {header[2]:.20}, expected seconds, greater than 0")
    values = _values(text[header.end() :], frames, sum(map(len, channels)))
    return Recording(joints, parents, offsets, channels, values, frame_time)


def _hierarchy(text: str) -> tuple[tuple[str, ...], tuple[int, ...], np.ndarray, tuple[tuple[str, ...], ...]]:
    tokens = iter(re.sub(r"([{}])", r" \1 ", text).split())
    joints: list[str] = []
    parents: list[int] = []
    offsets: dict[int, list[float]] = {}
    channels: dict[int, tuple[str, ...]] = {}
    inside: list[int] = []  # the joints whose braces are open
    for word in tokens:
        kind = word.upper()
        if kind in ("ROOT", "JOINT"):
            name = " ".join(itertools.takewhile(lambda token: token != "{", tokens))
            if (kind == "ROOT") != (not joints) or (joints and not inside):
                raise ValueError(f"{word} {name:.80} is not where one can be: there is one ROOT, and JOINTs are in it")
            if not name or name in joints:
                raise ValueError(f"it has {'a joint without a name' if not name else f'the joint {name:.80} twice'}")
            parents.append(inside[-1] if inside else -1)
            inside.append(len(joints))
            joints.append(name)
            if len(joints) > JOINTS:
                raise ValueError(f"it has more than {JOINTS} joints")
        elif not inside:
            raise ValueError(f"it has {word!r:.80} where ROOT, JOINT or MOTION was expected")
        elif kind == "END":  # of a chain: where the last bone ends, which turns nothing
            if list(itertools.takewhile(lambda token: token != "}", tokens))[1:3] != ["{", "OFFSET"]:
                raise ValueError(f"an End Site of the joint {joints[inside[-1]]:.80} is not {{ OFFSET x y z }}")
        elif kind == "OFFSET" and inside[-1] not in offsets:
            name = joints[inside[-1]]
            offsets[inside[-1]] = [_number(f"an offset of {name:.80}", _next(tokens)) for _ in range(3)]
        elif kind == "CHANNELS" and inside[-1] not in channels:
            channels[inside[-1]] = _channels(joints[inside[-1]], tokens)
        elif word == "}":
            if inside[-1] not in offsets:
                raise ValueError(f"the joint {joints[inside[-1]]:.80} has no OFFSET")
            inside.pop()
        else:
            raise ValueError(f"the joint {joints[inside[-1]]:.80} has {word!r:.80}, which was not expected there")
    if inside or not joints:
        raise ValueError("its tree of joints ends in the middle")
    numbers = range(len(joints))
    places = np.array([offsets[joint] for joint in numbers], np.float64)
    return tuple(joints), tuple(parents), places, tuple(channels.get(joint, ()) for joint in numbers)


def _channels(joint: str, tokens: Iterator[str]) -> tuple[str, ...]:
    count = _next(tokens)
    if count not in map(str, range(len(_CHANNELS) + 1)):
        raise ValueError(f"the joint {joint:.80} has {count!r:.20} channels, expected 0 to {len(_CHANNELS)}")
    names = tuple(_next(tokens).lower() for _ in range(int(count)))
    if len(set(names)) != len(names) or not set(names) <= set(_CHANNELS):
        raise ValueError(
            f"the joint {joint:.80} has the channels {', '.join(names):.120}, expected some of {', '.join(_CHANNELS)},"
            " each once"
        )
    return names


def _next(tokens: Iterator[str]) -> str:
    token = next(tokens, None)
    if token is None:
        raise ValueError("its tree of joints ends in the middle")
    return token


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r:.40}, expected a number") from None
    if not abs(number) <= LARGEST:
        raise ValueError(f"{name} is {text:.40}, expected a number of at most {LARGEST:g}")
    return number


def _values(text: str, frames: int, channels: int) -> np.ndarray:
    if not channels:
        raise ValueError("none of its joints has channels: nothing moves")
    if not text.strip():
        raise ValueError(f"it says that it has {frames} frames, and has none")
    try:
        values = np.loadtxt(io.StringIO(text), np.float64, comments=None, ndmin=2)
    except ValueError as error:
        raise ValueError(f"its frames are not lines of {channels} numbers each ({error!s:.200})") from None
    if values.shape != (frames, channels):
        raise ValueError(
            f"it has {values.shape[0]} frames of {values.shape[1]} numbers, expected {frames}, as it says, of"
            f" {channels}, as its joints have channels; was it cut?"
        )
    wrong = ~(np.abs(values) <= LARGEST)
    if wrong.any():
        frame, channel = np.argwhere(wrong)[0]
        raise ValueError(f"frame {frame + 1} has the number {values[frame, channel]:g}, expected finite ones")
    return values
