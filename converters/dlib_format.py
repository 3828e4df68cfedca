"""dlib's serialisation, read as data: whole numbers, floats, texts, booleans, tensors, in a row and without names.

    whole number   one byte: its length in bytes (low 4 bits) and its sign (high bit); then its bytes, lowest first
    float          two whole numbers m, e: m * 2^e
    boolean        the letter 1 or 0
    text           its length, a whole number; its letters
    tensor         version 2; samples, channels, rows, columns; little-endian float32
    shape          version 1; four whole numbers: of a part of another tensor

Nothing is executed, and no memory is taken for what is not in the file.
"""

import math
import os
import pathlib

import numpy as np

from .refusals import Refused, shown


class Reader:
    """A position in a file's bytes; every method reads one value there, or raises Refused that says where."""

    def __init__(self, path: str | os.PathLike, limit: int) -> None:
        """Raises ValueError: there is no such file, or it has more than `limit` bytes."""
        path = pathlib.Path(path)
        if not path.is_file():
            raise ValueError(f"{path} is not a file: give the path of one that dlib wrote")
        if path.stat().st_size > limit:
            raise ValueError(f"{path} has {path.stat().st_size} bytes, expected at most {limit}: is it another file?")
        self._data, self._at = path.read_bytes(), 0

    def integer(self) -> int:
        """A whole number of at most 64 bits."""
        (control,) = self._take(1)
        if not 1 <= control & 0x7F <= 8:
            raise Refused(f"{self._place()} begins no whole number, but the byte {control}")
        value = int.from_bytes(self._take(control & 0x7F), "little")
        return -value if control & 0x80 else value

    def number(self) -> float:
        """A float."""
        mantissa, exponent = self.integer(), self.integer()
        if abs(exponent) > 1100:
            raise Refused(f"{self._place()} ends a float with the exponent {exponent}")
        return math.ldexp(mantissa, exponent)

    def boolean(self) -> bool:
        """A truth value."""
        letter = self._take(1)
        if letter not in (b"0", b"1"):
            raise Refused(f"{self._place()} is {letter!r}, expected the letter 0 or 1")
        return letter == b"1"

    def text(self) -> str:
        """A short text in ASCII."""
        length = self.integer()
        if not 0 <= length <= 100:
            raise Refused(f"{self._place()} begins a text of {length} letters")
        try:
            return self._take(length).decode("ascii")
        except UnicodeDecodeError:
            raise Refused(f"{self._place()} ends a text that is not ASCII") from None

    def tensor(self) -> np.ndarray:
        """An array (samples, channels, rows, columns) of finite float32."""
        self.expect("the version of a tensor", self.integer(), 2)
        shape = [self.integer() for _ in range(4)]
        if any(size < 0 for size in shape) or math.prod(shape) * 4 > len(self._data):
            raise Refused(f"{self._place()} begins a tensor of the shape {shown(shape)}")
        array = np.frombuffer(self._take(4 * math.prod(shape)), "<f4").reshape(shape)
        if not np.isfinite(array).all():
            raise Refused(f"{self._place()} ends a tensor with numbers that are not finite")
        return array

    def shape(self) -> list[int]:
        """The shape of a part of a tensor."""
        self.expect("the version of a shape", self.integer(), 1)
        return [self.integer() for _ in range(4)]

    def expect(self, what: str, found: object, *expected: object) -> None:
        """Raises Refused unless what was read is one of the expected values."""
        if found not in expected:
            wanted = " or ".join(shown(value) for value in expected)
            raise Refused(f"{what}, before {self._place()}, is {shown(found)}, expected {wanted}")

    def end(self) -> None:
        """Raises Refused unless all of the file has been read."""
        if self._at != len(self._data):
            raise Refused(f"it goes on after its end at {self._place()}")

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise Refused(f"it is cut off: {self._place()} has {len(taken)} of {count} bytes")
        self._at += count
        return taken

    def _place(self) -> str:
        return f"byte {self._at} of {len(self._data)}"
