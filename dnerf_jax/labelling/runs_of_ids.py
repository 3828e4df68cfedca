"""Masks as run lengths, as the page sends them: small, and checked before anything is made of them.

id (1 byte), length (2 bytes, little-endian, 1 to 65535), again and again, row by row from the top
"""

import numpy as np

from dnerf_jax.ops.labels import LabelMap

_RUN = np.dtype([("id", "u1"), ("length", "<u2")])


def decode(body: bytes, size: int, label_map: LabelMap) -> np.ndarray:
    """The mask, uint8 (size, size), of run lengths.

    Raises ValueError: these are none, of a picture of another size, or with ids that are not in the label map.
    """
    if not body or len(body) % _RUN.itemsize:
        raise ValueError(f"the mask has {len(body)} bytes, expected run lengths of {_RUN.itemsize} bytes each")
    runs = np.frombuffer(body, _RUN)
    total = int(runs["length"].sum(dtype=np.int64))
    if total != size * size or not runs["length"].all():
        raise ValueError(f"the mask has {total} pixels in its runs, expected {size} x {size}, none of them empty")
    return label_map.check(np.repeat(runs["id"], runs["length"]).reshape(size, size), "the mask that was sent")


def encode(mask: np.ndarray) -> bytes:
    """The run lengths of a mask, uint8 (R, R)."""
    flat = mask.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    pieces = [np.arange(a, b, 65535) for a, b in zip(starts, [*starts[1:], flat.size], strict=True)]
    starts = np.concatenate(pieces)
    runs = np.empty(len(starts), _RUN)
    runs["id"], runs["length"] = flat[starts], np.diff(np.concatenate([starts, [flat.size]]))
    return runs.tobytes()
