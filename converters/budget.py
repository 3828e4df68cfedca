"""What reading a file may cost, in proportion to its size: one account for it and for all pickles inside it.

A pickle is a program, and a short one can ask for much: a text that doubles, a place in the memo far out, tuples that
nest a million deep. So before one is run, its opcodes are gone through, and what each would put on the stack is
accounted for without being made:

    written    every value: VALUE bytes, and its text or bytes; all of it again wherever it is used again, as if the
               file had been written out in full
    depth      containers, and calls, within each other
    stored     bytes of storages; they are in the file, so that they are no more than it has
    elements   of tensors, which are views of storages
"""

import pickle
import pickletools
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from .refusals import Refused

MAGIC = 0x1950A86A20F9469CFC6C  # how PyTorch's legacy files begin; the one number that needs more than 64 bits
VALUE = 64
_ROOM, _RATIO = 32 << 20, 8  # bytes that may be written: so many for a start, and so many for every byte of the file
_DEEP = 100  # EG3D's files nest some 40 deep
_TAMPERED = "the file is damaged or was tampered with"

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_GROW = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}  # they change the value that they leave
_KEEP = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_USE = {"GET", "BINGET", "LONG_BINGET"}


class Budget:
    """What is left of what a file of `size` bytes may cost."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.written = self._stored = self._elements = 0

    def write(self, size: int) -> None:
        """Accounts for values; raises Refused if the file, written out, would be too large."""
        self.written += size
        if self.written > _ROOM + _RATIO * self.size:
            raise Refused(f"written out in full it would be far larger than its {self.size} bytes; {_TAMPERED}")

    def store(self, size: int) -> None:
        """Accounts for a storage's bytes; raises Refused if they are more than the file has left."""
        self._stored += size
        if size < 0 or self._stored > self.size:
            raise Refused(f"its storages claim more than its {self.size} bytes: it is truncated or was tampered with")

    def view(self, elements: int) -> None:
        """Accounts for a tensor's elements; raises Refused if all tensors have more than the file has bytes."""
        self._elements += elements
        if self._elements > self.size:
            raise Refused(f"its tensors claim more elements than its {self.size} bytes can hold; {_TAMPERED}")

    def go_through(self, file: BinaryIO) -> None:
        """Accounts for the pickle at the file's position, to which it returns, without running it.

        Raises Refused if it would cost too much or is no program that a pickler writes; ValueError or EOFError if it
        ends early or has unknown opcodes.
        """
        start = file.tell()
        stack: list[_Value | None] = []
        memo: dict[int, _Value] = {}
        for count, (opcode, argument) in enumerate(_opcodes(_Rest(file))):
            if isinstance(argument, int) and argument.bit_length() > 64 and argument != MAGIC:
                raise Refused(f"a number of {argument.bit_length()} bits, expected at most 64; {_TAMPERED}")
            if opcode.name == "FRAME" and argument > self.size:
                raise EOFError(f"a part of {argument} bytes in a file of {self.size}")
            if opcode.name == "MARK":
                stack.append(None)
            elif opcode.name in _KEEP:
                index = len(memo) if argument is None else argument
                if index > count:  # picklers number what they remember
                    raise Refused(f"the place {index} of its memo, before so many values; {_TAMPERED}")
                memo[index] = _top(stack)
            elif opcode.name in _USE:
                if argument not in memo:
                    raise Refused(f"the value {argument} of its memo, which has none there; {_TAMPERED}")
                stack.append(memo[argument])
                self.write(memo[argument].size)
            elif opcode.name == "DUP":
                stack.append(_top(stack))
                self.write(_top(stack).size)
            elif opcode.name == "POP":
                if stack:
                    stack.pop()
            else:
                self._follow(opcode, argument, stack)
        file.seek(start)

    def _follow(self, opcode: pickletools.OpcodeInfo, argument: Any, stack: "list[_Value | None]") -> None:
        taken = _taken(opcode.stack_before, stack)
        if not opcode.stack_after:
            return
        if opcode.name in _GROW:
            value, taken = taken[-1], taken[:-1]
        else:
            value = _Value(VALUE + (len(argument) if isinstance(argument, str | bytes | bytearray) else 0))
            self.write(value.size)
        for part in taken:
            value.size += part.size
            value.depth = max(value.depth, part.depth + 1)
        if value.depth > _DEEP:
            raise Refused(f"values nested more than {_DEEP} deep; {_TAMPERED}")
        stack.append(value)


def _opcodes(file: "_Rest") -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """The opcodes and their arguments up to STOP, as `pickletools.genops` has them.

    Except Python 2's texts of protocol 0, which genops takes for ASCII: they can be the bytes of arrays, and are given
    as they are written, escapes and all.
    """
    while code := file.read(1):
        opcode = _OPCODES.get(code.decode("latin1"))
        if opcode is None:
            raise ValueError(f"an unknown opcode {code!r}")
        if opcode.name == "STRING":
            yield opcode, file.readline()
        else:
            yield opcode, opcode.arg.reader(file) if opcode.arg else None
        if code == pickle.STOP:
            return
    raise ValueError("it ends before its STOP")


class _Value:
    """What is known of a value on the stack: its size, written out, and how deep it nests."""

    __slots__ = ("depth", "size")

    def __init__(self, size: int) -> None:
        self.size, self.depth = size, 0


def _top(stack: "list[_Value | None]") -> _Value:
    value = stack[-1] if stack else None
    if value is None:
        raise Refused(f"an opcode takes a value where there is none; {_TAMPERED}")
    return value


def _taken(before: Sequence[pickletools.StackObject], stack: "list[_Value | None]") -> list[_Value]:
    """What an opcode takes off the stack, the topmost first."""
    taken, count = [], len(before)
    if pickletools.markobject in before:
        count = before.index(pickletools.markobject)
        while stack and stack[-1] is not None:
            taken.append(_top(stack))
            stack.pop()
        if not stack:
            raise Refused(f"an opcode looks for a mark where there is none; {_TAMPERED}")
        stack.pop()
    for _ in range(count):
        taken.append(_top(stack))
        stack.pop()
    return taken


class _Rest:
    """A file from its position on, of which nobody can read more than there is, so that no room is made for it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, start = file, file.tell()
        self._left = file.seek(0, 2) - start
        file.seek(start)

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data

    def readline(self) -> bytes:
        line = self._file.readline()
        self._left -= len(line)
        return line
