"""Pickles of strangers: mutations of a tiny network, odd attributes, random programs, small files that ask for much.

All are drawn from a seed. `attempt` reads one as the converter's door does, and looks where every number came from.
"""

import functools
import io
import pickle
import random
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "converters"))

import foreign
import tiny
from foreign import Call, Name, New

from converters import eg3d, pickles
from converters.records import Record

_CALLED = [
    *(Name("torch._utils", name) for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")),
    Name("torch._utils", "_rebuild_parameter_with_state"),
    *(Name("torch", name) for name in ("Size", "device", "FloatStorage", "float16")),
    *(Name("torch.storage", name) for name in ("_load_from_bytes", "UntypedStorage")),
    Name("torch_utils.persistence", "_reconstruct_persistent_obj"),
    *(Name("numpy", name) for name in ("dtype", "ndarray")),
    *(Name("numpy._core.multiarray", name) for name in ("scalar", "_reconstruct")),
    Name("numpy._core.numeric", "_frombuffer"),
    *(Name("collections", "OrderedDict"), Name("dnnlib", "EasyDict"), Name("builtins", "set")),
    *(Name("builtins", "frozenset"), Name("_codecs", "encode"), Name("pathlib", "PosixPath")),
    *(Name("torch.nn.modules.linear", "Linear"), Name("training.triplane", "TriPlaneGenerator")),
    *(Name("os", "system"), Name("builtins", "eval"), Name("torch", "load")),
]
_NUMBERS = (0, 1, -1, 2, 3, 7, 255, 2**31, 2**62, -(2**63), 2**70, 10**400, 0.5, float("nan"), float("inf"), 1e300)


def cases(seed: int) -> Iterator[tuple[str, bytes]]:
    """Files without end: the kind, and the content."""
    draw = random.Random(seed)
    whole = _whole()
    kinds: list[tuple[str, Callable[[], bytes]]] = [
        ("mutated network", lambda: _mutated(draw, draw.choice(whole))),
        ("odd attributes", lambda: _odd_network(draw)),
        ("random program", lambda: _program(draw)),
        ("changed stand-in", lambda: foreign.dumps(_changed(draw))),
        ("small bomb", lambda: draw.choice(_BOMBS)(draw)),
        ("mutated bomb", lambda: _mutated(draw, draw.choice(_BOMBS)(draw))),
    ]
    while True:
        kind, make = draw.choice(kinds)
        yield kind, make()


def attempt(path: Path) -> None:
    """Reads and converts a file as the door does, and checks that all numbers are the file's.

    Raises ValueError, naming the file, where it is refused as it should be; anything else is a fault.
    """
    try:
        strange = [array for array in _arrays(pickles.read(path)) if not _is_from(array, _contents(path.read_bytes()))]
        assert not strange, f"{len(strange)} arrays have numbers that are not the file's, one {strange[0].shape}"
        eg3d.read_model(path, fov=20)
    except ValueError as error:
        assert str(path) in str(error), f"an error that names no file: {str(error)[:200]}"
        raise


@functools.lru_cache(1)
def _contents(data: bytes) -> dict[int, np.ndarray]:
    """All numbers of 2, 4 and 8 bytes that a file may mean, sorted."""
    # The oldest protocols write bytes as text, in UTF-8.
    data += re.sub(rb"[\xc2\xc3][\x80-\xbf]", lambda pair: pair[0].decode().encode("latin1"), data)
    found = {}
    for size in (2, 4, 8):
        shifted = [data[start : start + (len(data) - start) // size * size] for start in range(size)]
        found[size] = np.unique(np.concatenate([np.frombuffer(part, f"u{size}") for part in shifted]))
    return found


def _arrays(content: Any) -> list[np.ndarray]:
    """All arrays in what a file became."""
    waiting, seen, found = [content], set(), []
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, np.ndarray):
            found.append(value)
        elif isinstance(value, Record):
            waiting.append(value.attributes)
        elif isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
    return found


def _is_from(array: np.ndarray, contents: dict[int, np.ndarray]) -> bool:
    """Whether every number's bytes, in one of both orders, are somewhere in the file."""
    if array.itemsize == 1 or not array.size:
        return True
    bits, there = np.ascontiguousarray(array).reshape(-1).view(f"u{array.itemsize}"), contents[array.itemsize]
    if not there.size:
        return False
    places = [np.minimum(np.searchsorted(there, order), there.size - 1) for order in (bits, bits.byteswap())]
    return bool(((there[places[0]] == bits) | (there[places[1]] == bits.byteswap())).all())


def _whole() -> list[bytes]:
    """Files of the tiny network that are right: all that are mutated."""
    network, array = foreign.network(tiny.record()), np.arange(6, dtype=np.float32)
    state = Call(Name("torch._utils", "_rebuild_tensor_v2"), (foreign.stored(array), 0, (2, 3), (3, 1), False, None))
    return [
        foreign.dumps({"G_ema": network}),
        foreign.dumps(network),
        foreign.legacy({"G_ema": network, "x": state}, {"0": array}),
        foreign.zipped({"G_ema": network, "x": state}, {"0": array}),
    ]


def _mutated(draw: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 5, 20))):
        place, length = draw.randrange(len(changed) + 1), draw.choice((1, 1, 2, 4, 8, 64, 1000))
        piece = bytes(changed[place : place + length])
        kind = draw.randrange(6)
        if kind == 0:
            changed[place : place + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            del changed[place : place + length]
        elif kind == 2:
            changed[place:place] = piece * draw.choice((1, 2, 50))
        elif kind == 3:
            other = draw.randrange(len(changed) + 1)
            changed[other : other + length] = piece
        elif kind == 4:
            changed[place : place + 1] = draw.choice(_OPCODES)
        else:
            number = draw.choice((0, 1, 255, 2**16, 2**31 - 1, 2**32 - 1))
            changed[place : place + 4] = struct.pack("<I", number)
    return bytes(changed[: draw.randrange(len(changed) + 1)] if draw.random() < 0.1 else changed)


_OPCODES = [
    getattr(pickle, name) for name in dir(pickle) if name.isupper() and isinstance(getattr(pickle, name), bytes)
]
_OPCODES = [code for code in _OPCODES if len(code) == 1]


def _odd(draw: random.Random, depth: int = 2) -> Any:
    """A value that is seldom what an attribute should be."""
    weight = np.array(draw.choices((0.0, 1.0, np.nan, np.inf, 1e30), k=draw.randrange(5)), np.float32)
    simple = [
        *(None, True, False, "", "auto", "softplus", "x" * 300, b"bytes", weight, weight.astype(np.float64)),
        *(np.float32(2.5), np.int64(7), np.ones((3, 3, 3), np.float32), np.zeros((3, 3), np.int64)),
        *(Record("Odd", {"_modules": {}}), Name("torch", "float16"), Name("torch._utils", "_rebuild_tensor_v2")),
        *(draw.choice(_NUMBERS) for _ in range(6)),
    ]
    if depth and draw.random() < 0.3:
        entries = [_odd(draw, depth - 1) for _ in range(draw.randrange(4))]
        return draw.choice(
            (entries, tuple(entries), dict(enumerate(entries)), {str(i): x for i, x in enumerate(entries)})
        )
    return draw.choice(simple)


def _odd_network(draw: random.Random) -> bytes:
    network = tiny.record()
    records = [*(record for _, record in network.walk()), network, network, network.child("backbone.synthesis")]
    for _ in range(draw.choice((1, 1, 2, 4))):
        record = draw.choice(records)
        table = draw.choice([record.attributes, network.get("rendering_kwargs"), *_tables(record)])
        name = draw.choice([*table, "new"]) if isinstance(table, dict) and table else "new"
        if not isinstance(table, dict):
            continue
        if draw.random() < 0.2:
            table.pop(name, None)
        else:
            table[name] = _odd(draw)
        if draw.random() < 0.1:
            record.class_name = draw.choice(("Odd", "Generator", "SynthesisLayer", "x" * 200))
    return foreign.dumps({"G_ema": foreign.network(network)})


def _tables(record: Record) -> list[dict]:
    tables = [record.attributes.get(name) for name in ("_modules", "_parameters", "_buffers")]
    return [table for table in tables if isinstance(table, dict)]


def _changed(draw: random.Random) -> Any:
    """Tensors from stand-ins that were given a state, and others that fit nothing."""
    array = np.arange(draw.choice((1, 4, 1000)), dtype=np.float32)
    view = foreign.tensor(array, size=(draw.choice((1, 4, 1000, 10**9)),), stride=(draw.choice((0, 1)),))
    states = [{"data": view}, {"dtype": Name("torch", "float16")}, (None, {"data": view}), {"_call": _CALLED[0]}, None]
    states += [{"data": b"x" * 9, "dtype": "f8"}, (3, "<8", None), (3, "<", None), (1, (4,), view, False, b"x" * 16)]
    kinds = [Name("torch", "FloatStorage"), foreign.stored(array), Call(Name("numpy", "dtype"), ("f4",))]
    kinds += [Call(Name("numpy._core.multiarray", "_reconstruct"), (Name("numpy", "ndarray"), (0,), b"b")), view]
    kinds += [Call(Name("torch.storage", "_load_from_bytes"), (foreign.storage_bytes(array),))] * 3
    changed: Any = draw.choice([*kinds, *_CALLED])
    for _ in range(draw.randrange(1, 3)):
        changed = _Built(changed, draw.choice(states))
    sizes = draw.choice(((4,), (1000,), (996,), (2, 2), (10**6,), (0, 2**40), (2**40, 0)))
    strides = draw.choice(((1,), (0,), (2, 1), (2**61, 0), (0, 0)))
    offset = draw.choice((0, 0, 1, -1, 2**62, True))
    tensor = Call(Name("torch._utils", "_rebuild_tensor_v2"), (changed, offset, sizes, strides, False, None))
    return draw.choice((tensor, [changed, tensor], {"G_ema": tensor}))


class _Built(Call):
    """Anything that is given a state by BUILD; written as a call is, of a function that gives back its argument."""

    def __init__(self, value: Any, state: Any) -> None:
        super().__init__(Name("torch._utils", "_rebuild_parameter"), (value,), state)


def _program(draw: random.Random) -> bytes:
    """A random program over the names that are allowed, and some that are not."""
    file = io.BytesIO()
    for _ in range(draw.randrange(1, 6)):
        _write_value(draw, file, 5)
    if draw.random() < 0.5:
        file.write(draw.choice((pickle.BUILD, pickle.APPEND, pickle.SETITEM, pickle.REDUCE, pickle.TUPLE2, pickle.POP)))
    return pickle.PROTO + b"\x04" + file.getvalue() + pickle.STOP


def _write_value(draw: random.Random, file: io.BytesIO, depth: int) -> None:
    kind = draw.randrange(10 if depth else 3)
    if kind == 0:
        file.write(foreign.dumps(draw.choice(_NUMBERS))[:-1].removeprefix(b"\x80\x04"))
    elif kind == 1:
        file.write(foreign.dumps(draw.choice(("", "cpu", "latin1", "<f4", "class_name", b"abcdefgh", b"")), 2)[2:-1])
    elif kind == 2:
        file.write(
            draw.choice((pickle.NONE, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, pickle.EMPTY_SET))
        )
    elif kind in (3, 4):
        name = draw.choice(_CALLED)
        file.write(pickle.GLOBAL + f"{name.module}\n{name.name}\n".encode())
        file.write(pickle.MARK)
        for _ in range(draw.randrange(4)):
            _write_value(draw, file, depth - 1)
        file.write(pickle.TUPLE + draw.choice((pickle.REDUCE, pickle.REDUCE, pickle.NEWOBJ)))
    elif kind == 5:
        _write_value(draw, file, depth - 1)
        _write_value(draw, file, depth - 1)
        file.write(draw.choice((pickle.BUILD, pickle.BUILD, pickle.APPEND, pickle.TUPLE2)))
    elif kind == 6:
        file.write(pickle.EMPTY_DICT + pickle.MARK)
        for _ in range(2 * draw.randrange(3)):
            _write_value(draw, file, depth - 1)
        file.write(pickle.SETITEMS)
    elif kind == 7:
        _write_value(draw, file, depth - 1)
        file.write(pickle.BINPUT + bytes([draw.randrange(4)]))
    elif kind == 8:
        file.write(pickle.BINGET + bytes([draw.randrange(4)]))
    else:
        _write_value(draw, file, depth - 1)
        file.write(draw.choice((pickle.DUP + pickle.TUPLE2, pickle.BINPERSID, pickle.TUPLE1)))


def _doubled(draw: random.Random) -> bytes:
    times, as_key = draw.choice((5, 25, 100)), draw.random() < 0.5
    start = draw.choice((b"N", b")", b"(cos\n".replace(b"cos\n", b"t"), b"X\x01\x00\x00\x00a"))
    value = start + (pickle.DUP + pickle.TUPLE2) * times
    if draw.random() < 0.3:
        value = b"X\x03\x00\x00\x00cpu" + (b"q\x000ctorch\ndevice\nh\x00h\x00\x86R") * times
    return b"\x80\x04" + (b"}" + value + b"NsN0." if as_key else value + b".")


def _deep(draw: random.Random) -> bytes:
    times = draw.choice((50, 1000, 100_000))
    before, after = draw.choice(((b"", b"\x85"), (b"]", b"a"), (b"}N", b"s"), (b"(", b"t"), (b"(", b"\x91")))
    inner = b"N" if before != b"]" else b"]"
    return b"\x80\x04" + before * times + inner + after * times + draw.choice((b".", b"}q\x000h\x00."))


def _far(draw: random.Random) -> bytes:
    index = draw.choice((2, 1000, 2**20, 2**28, 2**31 - 1))
    put = b"r" + struct.pack("<I", index)
    return draw.choice((b"N" + put + b".", b"\x80\x04\x95" + struct.pack("<Q", 2 ** draw.randrange(64)) + b"N."))


def _stored(draw: random.Random) -> bytes:
    """Files of storages: named often, claimed without being there, compressed, named by many."""
    size, many = draw.choice(((1, 2000), (100, 60), (5000, 1), (5000, 60)))
    array = np.arange(size, dtype=np.float32)
    length = draw.choice((array.size, array.size, 2**20, 2**40, -1))
    keys = [draw.choice(("0", str(number))) for number in range(many)]
    tensors = [
        Call(
            Name("torch._utils", "_rebuild_tensor_v2"), (foreign.stored(array, key, length), 0, (1,), (1,), False, None)
        )
        for key in keys
    ]
    if draw.random() < 0.5:
        return foreign.legacy(tensors, dict.fromkeys(draw.choice((keys[:1], keys)), array))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        archive.writestr("archive/data.pkl", foreign.dumps(tensors, 2))
        archive.writestr("archive/data/0", draw.choice((array.tobytes(), bytes(2**20))))
    return file.getvalue()


def _shared(draw: random.Random) -> bytes:
    """Modules that hold the next one twice, some levels deep, or themselves."""
    module: Any = Record("Layer", {"_modules": {}, "_parameters": {"weight": np.ones(2, np.float32)}})
    for _ in range(draw.choice((2, 20, 60))):
        module = Record("Layer", {"_modules": {"a": module, "b": module}})
    made: dict[int, Any] = {}

    def written(record: Record) -> Any:
        if id(record) not in made:
            modules = {name: written(child) for name, child in record.get("_modules").items()}
            made[id(record)] = New(Name("torch.nn.modules.linear", "Layer"), {"_modules": modules})
        return made[id(record)]

    network = foreign.network(tiny.record())
    network.args[0]["state"]["_modules"]["renderer"] = _Once(written(module))
    return foreign.dumps({"G_ema": network})


class _Once(Call):
    """Written once, since `foreign` keeps what it wrote in the memo only where the pickler does."""

    def __init__(self, value: Any) -> None:
        super().__init__(Name("torch._utils", "_rebuild_parameter"), (value,))


def _sized(draw: random.Random) -> bytes:
    """Networks that claim more than they hold."""
    network, size = tiny.record(), draw.choice((0, 64, 65, 1000, 2**14, 2**20, 2**40))
    places = ((network.child("backbone.mapping"), "num_layers"), (network, "z_dim"), (network, "w_dim"))
    places += ((network.child("backbone.synthesis"), "img_resolution"), (network, "neural_rendering_resolution"))
    places += ((network.child("superresolution"), "input_resolution"), (network.child("backbone"), "img_channels"))
    record, name = draw.choice(places)
    record.attributes[name] = size
    return foreign.dumps({"G_ema": foreign.network(network)})


_BOMBS = (_doubled, _deep, _far, _stored, _shared, _sized)
