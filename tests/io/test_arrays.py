"""Arrays of strangers: what NumPy writes is read as NumPy reads it, what lies is refused before any room is made."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from dnerf_jax.io import arrays

ARRAYS = {
    "z": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "turned": np.arange(6.0).reshape(2, 3).T,
    "big": np.arange(4, dtype=">i8"),
    "half": np.float16(2.5),
    "none": np.zeros((0, 3), np.uint8),
}


def npy(array, *, header=None, version=(1, 0)):
    """The bytes of an .npy file, with this header instead of its own if there is one."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), version)
    if header is None:
        return stream.getvalue()
    body = stream.getvalue()[10 + int.from_bytes(stream.getvalue()[8:10], "little") :]
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def lying(shape, kind="<f4"):
    return npy(ARRAYS["z"], header=f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode())


def packed(method=zipfile.ZIP_STORED, **entries):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(write, tmp_path):
    write(tmp_path / "a.npz", **ARRAYS)
    found = arrays.load_arrays(tmp_path / "a.npz")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == np.shape(array) and found[name].dtype == np.asarray(array).dtype.newbyteorder("=")
        assert found[name].flags.writeable
    assert list(arrays.load_arrays(tmp_path / "a.npz", ["half", "z"])) == ["half", "z"]


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_a_single_array_of_every_version_is_read(version, tmp_path):
    (tmp_path / "a.npy").write_bytes(npy(ARRAYS["z"], version=version))
    np.testing.assert_array_equal(arrays.load_array(tmp_path / "a.npy"), ARRAYS["z"])


def changed(content, where, value):
    """The zip with a byte of the central directory's entry changed."""
    start = content.index(b"PK\x01\x02") + where
    return content[:start] + bytes([value]) + content[start + 1 :]


def cases():
    """What is broken, by name: the file's bytes and what is said."""
    whole = packed(z=npy(ARRAYS["z"]))
    yield "empty", b"", "not a zip file"
    yield "a page", b"<html>", "not a zip file"
    yield "cut off", whole[:-30], "not a zip file"
    yield "flipped", whole.replace(b"\x00\x00\x80\xbf", b"\x00\x00\x80\x3f"), "'z' is damaged: Bad CRC"
    yield "298 GiB", packed(z=lying((200000, 400000))), "'z' is damaged.*claims float32.*but 48 bytes follow"
    yield "too short", packed(z=lying((3, 3))), "36 bytes, but 48 bytes follow"
    yield "beyond integers", packed(z=lying((0, 10**30))), "not that of plain numbers"
    yield "negative", packed(z=lying((-3, -4))), "not that of plain numbers"
    yield "strings", packed(z=npy(np.array(["a", "b"]))), "'z' is damaged.*not that of plain numbers"
    yield "records", packed(z=npy(np.zeros(2, [("a", "f4")]))), "not that of plain numbers"
    yield "pickles", packed(z=npy(np.array([[], {}], object))), "not that of plain numbers"
    yield "no such type", packed(z=lying((12,), "<f1")), "damaged"
    yield "a program", packed(z=npy(ARRAYS["z"], header=b"__import__('os')")), "not that of plain numbers"
    yield "slow to match", packed(z=npy(ARRAYS["z"], header=lying((12,))[10:45] + b"1" * 4000)), "'z' is damaged"
    yield "no header", packed(z=b"\x93NUMPY\x09\x00"), "does not begin as a .npy file"
    yield "a long header", packed(z=b"\x93NUMPY\x02\x00" + b"\xff" * 4), "expected at most 4096"
    yield "other names", packed(w=npy(ARRAYS["z"])), r"lacks the arrays \['z'\]"
    yield "encrypted", changed(whole, 8, 1), "'z' is encrypted"
    yield "lzma", packed(zipfile.ZIP_LZMA, z=npy(ARRAYS["z"])), "'z' is compressed by method 14"
    yield "bzip2", packed(zipfile.ZIP_BZIP2, z=npy(ARRAYS["z"])), "'z' is compressed by method 12"
    yield "a bomb", packed(zipfile.ZIP_DEFLATED, z=npy(np.zeros(1 << 23, np.float32))), "too much for a file of"
    yield "a lying bomb", changed(packed(zipfile.ZIP_DEFLATED, z=npy(np.zeros(4096))), 24, 1), "'z' is damaged"
    yield "a stored lie", changed(whole, 27, 255), "claim [0-9]* bytes, which is too much"
    with pytest.warns(UserWarning, match="Duplicate"):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("z.npy", npy(ARRAYS["z"]))
            archive.writestr("z.npy", npy(ARRAYS["z"] + 1))
    yield "twice", stream.getvalue(), r"has the arrays \['z'\] more than once"


def test_what_lies_is_refused_by_name_before_room_is_made(tmp_path):
    path = tmp_path / "views.npz"
    for case, content, message in cases():
        path.write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=message) as caught:
                arrays.load_arrays(path, ["z"])
            assert tracemalloc.get_traced_memory()[1] < 4 << 20, case
        finally:
            tracemalloc.stop()
        assert str(path) in str(caught.value) and len(str(caught.value)) < 1000, case


def test_what_is_no_file_is_refused_by_name(tmp_path):
    for path in (tmp_path, tmp_path / "none.npz", tmp_path / ("x" * 300)):
        for read in (arrays.load_arrays, arrays.load_array):
            with pytest.raises(ValueError, match="cannot be read as arrays") as caught:
                read(path)
            assert str(path) in str(caught.value)


def test_single_arrays_that_lie_are_refused(tmp_path):
    path = tmp_path / "latent.npy"
    for content in (b"", lying((200000, 400000)), npy(ARRAYS["z"])[:-1], npy(ARRAYS["z"]) + b"x"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"latent\.npy cannot be read as arrays"):
            arrays.load_array(path)


def test_a_message_stays_short_whatever_a_damaged_name_is(tmp_path):
    content = bytearray(packed(z=npy(np.zeros(30_000, np.float32))))
    content[26:28] = struct.pack("<H", 65535)  # the length of the name in front of the first entry
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match="the array 'z' is damaged") as error:
        arrays.load_arrays(tmp_path / "a.npz")
    assert len(str(error.value)) < 1000
