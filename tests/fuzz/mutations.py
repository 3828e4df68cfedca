"""What may become of a file on its way, or in bad hands: seeded changes of its bytes, by its kind.

Each is a function of sound bytes and a `random.Random`, and gives other bytes.
"""

import functools
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Mutation = Callable[[bytes, random.Random], bytes]

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED)
METHODS += (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
LARGEST = 4 << 20  # bytes of a changed file
HUGE = (0, 1, -1, 255, 256, 65535, 2**31 - 1, 2**31, 2**32, 2**63, 2**64, 10**18, 10**30)
ODD = (None, True, False, 0.5, -0.0, 1e308, 5e-324, "", "x" * 5000, "\x00", "../../x", "NaN", "auto", "\ud800", *HUGE)
ODD += ([], {}, [[]], [None], {"a": {}}, [0] * 1000, list(range(12)), {"id": 1})
NO_JSON = (b"", b" ", b"null", b"[]", b"{}", b"7", b'"a"', b"{", b"\xff\xfe{}", b"NaN", b"[" * 900 + b"]" * 900)
NO_JSON += (b"[" * 200_000, b'{"a":' * 200_000, b'{"a":' * 500 + b"1" + b"}" * 500)


def mutate(content: bytes, suffix: str, rng: random.Random) -> bytes:
    """Changes a file as its suffix says, or byte by byte, or both."""
    special = MUTATIONS.get(suffix)
    if special is not None and rng.random() < 0.7:
        content = special(content, rng)
        if rng.random() < 0.8:
            return content
    return any_bytes(content, rng)


def any_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flips, overwrites, cuts, doubles, moves or inserts bytes, up to four times."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = bytearray(content)
        a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        b = min(b, a + rng.choice((1, 4, 64, 4096)))
        noise = rng.choice((b"\x00", b"\xff", bytes([rng.randrange(256)])))
        kind = rng.randrange(8)
        if kind == 0 and data:
            for _ in range(rng.choice((1, 1, 8))):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[a:b] = noise * (b - a)
        elif kind == 2:
            del data[rng.choice((a, 0, len(data) // 2, max(len(data) - 1, 0))) :]
        elif kind == 3:
            del data[a:b]
        elif kind == 4:
            data[a:a] = data[a:b] * rng.choice((1, 2, 100))
        elif kind == 5:
            data[a:a] = noise * rng.choice((1, 8, 1000))
        elif kind == 6:
            data[a : a + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(HUGE) % 2**32)
        else:
            start = rng.randrange(len(data) + 1)
            data[a:b] = data[start : start + b - a]
        content = bytes(data[:LARGEST])
    return content


def json_value(content: bytes, rng: random.Random) -> bytes:
    """Replaces, drops, renames, doubles or nests values of a JSON file; or writes what JSON is not."""
    if rng.random() < 0.15:
        changed = (
            b"\xef\xbb\xbf" + content,
            content + content,
            content.replace(b"1", b"9" * 6000, 1),
            content.replace(b": ", b": NaN, ", 1),
            content.replace(b"{", b'{"schema_version": 1, ', 1),
            content.decode().encode("utf-16"),
        )
        return rng.choice(NO_JSON + changed)
    value = json.loads(content)
    places = list(_places(value))
    for _ in range(rng.choice((1, 1, 2, 5))):
        (holder, key), (other, name) = rng.choice(places), rng.choice(places)
        if not _has(holder, key):
            continue
        kind = rng.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1 and _has(other, name):
            holder[key] = json.loads(json.dumps(other[name]))
        elif kind == 2 and isinstance(holder, dict):
            holder[rng.choice((key + "_", "", "\x00", "x" * 999))] = holder.pop(key)
        elif kind == 3 and isinstance(holder[key], int | float):
            holder[key] = rng.choice((-holder[key], holder[key] + 1, holder[key] * 1000, str(holder[key])))
        elif kind == 4:
            holder[key] = [holder[key]] * rng.choice((1, 2, 20))
        else:
            holder[key] = rng.choice(ODD)
    return json.dumps(value).encode()[:LARGEST]


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _places(value: Any) -> Any:
    """All (container, key) within a value."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def json_lines(content: bytes, rng: random.Random) -> bytes:
    """Changes one line of a file of JSON lines as a JSON file."""
    lines = content.splitlines()
    number = rng.randrange(len(lines))
    lines[number] = json_value(lines[number], rng)
    return b"\n".join(lines) + rng.choice((b"", b"\n", b"\n\x00\x00"))


def npy(content: bytes, rng: random.Random) -> bytes:
    """An array's file whose header lies about type, order or shape, or is no header."""
    length = int.from_bytes(content[8:10], "little")
    header, body = content[10 : 10 + length].decode("latin-1"), content[10 + length :]
    shape = header[header.index("(") : header.index(")") + 1]
    kind = header.split("'")[3]
    big = ", ".join(str(rng.choice(HUGE)) for _ in range(rng.choice((0, 1, 2, 3, 40))))
    header = rng.choice(
        (
            header.replace(shape, f"({big},)" if big else "()"),
            header.replace(shape, rng.choice(("(200000, 400000)", "(0, 9999999999999999)", "(1e3,)", "[3]", "('3',)"))),
            header.replace(
                kind, rng.choice(("|O", "<U4", "|S9", "<f16", "<c8", "|b1", ">f4", "<M8[ns]", "|V4", "<f3"))
            ),
            header.replace(f"'{kind}'", rng.choice(("[('a', '<f4')]", "('<f4', (3,))", "None", "'<f4,<f4'"))),
            header.replace("False", rng.choice(("True", "1", "None"))),
            header + header,
            "(" * rng.choice((50, 3000)),
            "-" * 4000 + "1",
            header.replace("shape", "Shape"),
        )
    ).encode("latin-1")
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x00\x09"))
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", rng.choice((len(header),) * 4 + (0, 65535)))
    return b"\x93NUMPY" + version + size + header + body


def npz(content: bytes, rng: random.Random) -> bytes:
    """A zip of arrays with lying or odd headers, methods, sizes, names; doubled entries; a bomb."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(entries))
    kind, method = rng.randrange(7), rng.choice(METHODS)
    if kind <= 1:
        entries[name] = npy(entries[name], rng)
    elif kind == 2:
        entries[rng.choice(("", "../x.npy", "x" * 5000, "z", name.upper(), "z.npy/"))] = entries.pop(name)
    elif kind == 3:
        stream = io.BytesIO()
        np.save(stream, np.zeros(rng.choice((1 << 16, 1 << 23)), np.float32))
        entries[name], method = stream.getvalue(), zipfile.ZIP_DEFLATED
    elif kind == 4:
        entries[name] = rng.choice((b"", b"\x93NUMPY", entries[name][:-3], entries[name] * 3, b"PK\x03\x04"))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for entry, array in entries.items():
            archive.writestr(zipfile.ZipInfo(entry), array, method)
    made = bytearray(stream.getvalue())
    if kind >= 5:  # a field of a local header, of the directory or of its end
        marks = [i for i in range(len(made) - 4) if made[i : i + 4] in (b"PK\x01\x02", b"PK\x05\x06", b"PK\x03\x04")]
        place = rng.choice(marks) + rng.choice(range(4, 46, 2))
        made[place : place + 4] = struct.pack("<I", rng.choice((rng.choice(HUGE) % 2**32, 1, 8, 99, len(made))))
    return bytes(made)


@functools.cache
def _bomb(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def png(content: bytes, rng: random.Random) -> bytes:
    """A PNG with right checksums whose chunks lie, are missing, doubled, swapped, or bombs."""
    chunks, at = [], 8
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    bomb = _bomb(rng.choice((1 << 20, 1 << 26)))
    kind = rng.randrange(7)
    if kind <= 1:
        header = bytearray(chunks[0][1])
        if rng.random() < 0.5:
            place = rng.choice((0, 4))
            header[place : place + 4] = struct.pack(">I", rng.choice((0, 1, 7, 65535, 100_000, 2**31 - 1, 2**32 - 1)))
        else:
            header[rng.choice((8, 9, 10, 11, 12))] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
        chunks[0] = (b"IHDR", bytes(header))
    elif kind == 2:
        del chunks[rng.randrange(len(chunks))]
    elif kind == 3:
        chunks.insert(rng.randrange(len(chunks) + 1), rng.choice(chunks))
    elif kind == 4:
        rng.shuffle(chunks)
    elif kind == 5:
        extra = rng.choice(
            (
                (b"zTXt", b"a\x00\x00" + bomb),
                (b"iTXt", b"a\x00\x01\x00\x00\x00" + bomb),
                (b"iCCP", b"a\x00\x00" + bomb),
                (b"eXIf", bytes(rng.randrange(256) for _ in range(40))),
                (b"eXIf", b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00"),
                (b"PLTE", bytes(rng.choice((0, 1, 3, 300, 768, 769, 5000)))),
                (b"tRNS", bytes(rng.choice((0, 1, 2, 6, 300)))),
                (b"acTL", struct.pack(">II", rng.choice(HUGE) % 2**32, 0)),
                (b"fcTL", bytes(26)),
                (b"gAMA", bytes(rng.choice((0, 3, 4)))),
                (b"pHYs", b"\xff" * 9),
            )
        )
        chunks.insert(rng.randrange(1, len(chunks) + 1), extra)
    else:
        data = [i for i, (name, _) in enumerate(chunks) if name == b"IDAT"]
        if data:
            chunks[data[0]] = (b"IDAT", rng.choice((bomb, b"", zlib.compress(b"\xff" * 100), chunks[data[0]][1][:-5])))
    made = content[:8]
    for name, body in chunks:
        made += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return made


def ply(content: bytes, rng: random.Random) -> bytes:
    """A PLY file whose header lines are changed, dropped, doubled or swapped."""
    head, mark, body = content.partition(b"end_header\n")
    lines = head.splitlines()
    number = rng.randrange(len(lines))
    words = lines[number].split()
    kind = rng.randrange(7)
    if kind == 0:
        del lines[number]
    elif kind == 1:
        lines.insert(rng.randrange(len(lines)), lines[number])
    elif kind == 2:
        rng.shuffle(lines)
    elif kind == 3:
        lines = [line.replace(b"vertex 9", b"vertex %d" % rng.choice(HUGE)) for line in lines]
    elif kind == 4:
        words[rng.randrange(len(words))] = rng.choice(
            (b"", b"list uchar int", b"double", b"uchar", b"x", b"ascii", b"binary_big_endian", b"face", b"9" * 5000)
        )
        lines[number] = b" ".join(words)
    elif kind == 5:
        extra = rng.choice(
            (b"element face 99999999999", b"property float q", b"property list uchar int v", b"obj_info")
        )
        lines.insert(rng.randrange(1, len(lines)), extra)
    else:
        odd = rng.choice(
            (b"comment label 0 999 0 0 a", b"comment label " + b"9" * 5000 + b" 0 0 0 a", b"comment " * 9999)
        )
        lines.insert(1, odd)
    end = rng.choice((b"\n", b"\n", b"\r\n", b"\r"))
    return end.join([*lines, mark.strip()]) + end + body


MUTATIONS: dict[str, Mutation] = {
    ".json": json_value,
    ".jsonl": json_lines,
    ".npy": npy,
    ".npz": npz,
    ".png": png,
    ".ply": ply,
}
