"""Arrays as the bytes of small files, quickly: PNG of 8 and 16 bits, and NPY.

PNGs are deflated by ISA-L, ten times as fast as Pillow does it, after the filter "up"; their bytes do not depend on the
zlib of the host. Any reader opens them; `decode_png` uses Pillow.
"""

import io
import struct
import tokenize
import zlib

import numpy as np
from PIL import Image

from dnerf_jax.io import png

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE = 0, 2, 3  # the format's colour types
_UP = 2  # its filter: every row minus the one above
_MODES = ("L", "RGB", "P", "I;16")
_NPY_LIMIT = 1 << 32  # values


def encode_png(image: np.ndarray, *, palette: np.ndarray | None = None) -> bytes:
    """A PNG of a picture: uint8 (H, W, 3) or (H, W), or uint16 (H, W).

    palette: uint8 (N, 3) colours of the values of a uint8 (H, W), which stay what they are.

    Raises ValueError: the picture is of another type or shape.
    """
    from isal import isal_zlib

    shape, kind = image.shape, image.dtype
    if kind not in (np.uint8, np.uint16) or not (image.ndim == 2 or (kind == np.uint8 and shape[2:] == (3,))):
        raise ValueError(f"the picture is {kind} {shape}, expected uint8 (H, W, 3) or (H, W), or uint16 (H, W)")
    color = _PALETTE if palette is not None else _RGB if image.ndim == 3 else _GREY
    # Samples of 16 bits have the high byte first.
    rows = np.ascontiguousarray(image.astype(image.dtype.newbyteorder(">"))).view(np.uint8).reshape(shape[0], -1)
    filtered = np.empty((shape[0], rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[:, 1:] = rows
    filtered[1:, 1:] -= rows[:-1]
    header = struct.pack(">IIBBBBB", shape[1], shape[0], 8 * kind.itemsize, color, 0, 0, 0)
    chunks = [_chunk(b"IHDR", header)]
    if palette is not None:
        chunks.append(_chunk(b"PLTE", palette.astype(np.uint8).tobytes()))
    chunks += [_chunk(b"IDAT", isal_zlib.compress(filtered.tobytes(), 1)), _chunk(b"IEND", b"")]
    return _SIGNATURE + b"".join(chunks)


def decode_png(data: bytes) -> np.ndarray:
    """The picture of a PNG as `encode_png` wrote it; palettes are left aside. Raises ValueError: it is none."""
    try:
        _require_whole(data)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.mode not in _MODES or image.width * image.height > png.PIXELS:
                raise ValueError(f"it is {image.width} x {image.height} of mode {image.mode}")
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"the PNG is damaged, or not one of these: {error!s:.200}") from error
    return pixels.astype(np.uint16) if image.mode == "I;16" else pixels


def encode_npy(array: np.ndarray) -> bytes:
    """An array as an .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def decode_npy(data: bytes) -> np.ndarray:
    """The array of an .npy file; read-only. Raises ValueError: it is none, or of objects, or has not all its bytes."""
    buffer = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(buffer) != (1, 0):
            raise ValueError("it is of another version")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
        count = int(np.prod(shape, dtype=np.float64))
        if dtype.hasobject or count > _NPY_LIMIT or len(data) - buffer.tell() != count * dtype.itemsize:
            raise ValueError(f"it claims {dtype} {shape}, and has {len(data)} bytes")
        return np.frombuffer(data, dtype, count, buffer.tell()).reshape(shape, order="F" if fortran else "C")
    except (ValueError, TypeError, OverflowError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise ValueError(f"the NPY is damaged: {error!s:.200}") from error


def _require_whole(data: bytes) -> None:
    """Raises ValueError: a chunk of the PNG is cut or changed, which Pillow takes for a picture all the same."""
    start, name = len(_SIGNATURE), b""
    while start < len(data):
        length, name = struct.unpack(">I4s", data[start : start + 8].ljust(8, b"\xff"))
        end = start + 12 + length
        if zlib.crc32(data[start + 4 : end - 4]).to_bytes(4) != data[end - 4 : end]:
            raise ValueError("a chunk does not have its checksum")
        start = end
    if name != b"IEND":
        raise ValueError("it has no end")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
