"""The PLY format: what we write is what it says, what others write is read, what is broken is refused."""

import numpy as np
import pytest

from dnerf_jax.io import ply_format

COLUMNS = {"x": np.array([1.5, -2.0, 0.25], np.float32), "label": np.array([0, 7, 255], np.uint8)}
HEADER = b"ply\nformat binary_little_endian 1.0\nelement vertex 3\nproperty float x\nproperty uchar label\nend_header\n"
BODY = np.rec.fromarrays(list(COLUMNS.values()), dtype=[("x", "<f4"), ("label", "u1")]).tobytes()
FACES = HEADER.replace(b"end_header", b"element face 2\nproperty list uchar int vertex_indices\nend_header")


def assert_columns(columns, expected=COLUMNS):
    assert list(columns) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(columns[name], expected[name])


def test_bytes_are_as_the_format_says():
    data = ply_format.encode(COLUMNS, ["one", "two words"])
    assert data == HEADER.replace(b"element", b"comment one\ncomment two words\nelement") + BODY
    table = ply_format.decode(data)
    assert_columns(table.columns)
    assert table.columns["x"].dtype == np.float32 and table.columns["label"].dtype == np.uint8
    assert table.comments == ["one", "two words"] and table.faces is None


def test_files_of_other_tools_are_read():
    big = np.rec.fromarrays(
        [COLUMNS["label"], COLUMNS["x"].astype(float), np.zeros(3)],
        dtype=[("label", ">i2"), ("x", ">f8"), ("quality", ">f4")],
    )
    table = ply_format.decode(
        b"ply\r\nformat binary_big_endian 1.0\r\nobj_info made elsewhere\r\nelement vertex 3\r\n"
        b"property short label\r\nproperty double x\r\nproperty float32 quality\r\n"
        b"element face 1\r\nproperty list uchar int vertex_indices\r\nend_header\r\n"
        + big.tobytes()
        + b"\x03"
        + np.array([2, 0, 1], ">i4").tobytes(),
        with_faces=True,
    )
    assert_columns(table.columns, {"label": COLUMNS["label"], "x": COLUMNS["x"], "quality": np.zeros(3)})
    np.testing.assert_array_equal(table.faces, [[2, 0, 1]])
    ascii_file = HEADER.replace(b"binary_little_endian", b"ascii") + b"1.5 0\n-2 7\n2.5e-1 255\n"
    assert_columns(ply_format.decode(ascii_file).columns)


@pytest.mark.parametrize("count", ["uchar", "int"])
@pytest.mark.parametrize("index", ["int", "uint", "ushort"])
def test_triangles_are_read_however_they_are_counted(count, index):
    code, triangles = {"int": "<i4", "uint": "<u4", "ushort": "<u2", "uchar": "u1"}, [[0, 1, 2], [2, 1, 0]]
    head = FACES.replace(b"uchar int", f"{count} {index}".encode())
    table = np.array([(3, row) for row in triangles], [("count", code[count]), ("indices", code[index], 3)])
    np.testing.assert_array_equal(ply_format.decode(head + BODY + table.tobytes(), with_faces=True).faces, triangles)
    rows = b"1.5 0\n-2 7\n0.25 255\n3 0 1 2\n3 2 1 0\n"
    made = ply_format.decode(head.replace(b"binary_little_endian", b"ascii") + rows, with_faces=True)
    np.testing.assert_array_equal(made.faces, triangles)


def test_faces_that_are_no_triangles_of_the_vertices_are_refused():
    def faces(*rows):
        return b"".join(np.array([(row[0], row[1:])], [("c", "u1"), ("i", "<i4", 3)]).tobytes() for row in rows)

    def refused(data, message):
        with pytest.raises(ValueError, match=message):
            ply_format.decode(data, with_faces=True)

    refused(HEADER + BODY, "expected `face`")
    refused(FACES + BODY + faces((3, 0, 1, 2)), "2 rows of face, of 13 bytes each, are stated, but 13 bytes follow")
    refused(FACES + BODY + faces((3, 0, 1, 2), (4, 0, 1, 2)), "not all triangles")
    refused(FACES + BODY + faces((3, 0, 1, 2), (3, 0, 1, 3)), "vertices 0 to 3, expected 0 to 2")
    refused(FACES + BODY + faces((3, 0, 1, 2), (3, 0, -1, 1)), "vertices -1 to 2")
    refused(FACES.replace(b"list uchar int", b"float") + BODY, "expected one list of integers")
    refused(FACES.replace(b"uchar int v", b"uchar float v") + BODY, "expected one list of integers")
    text, rows = FACES.replace(b"binary_little_endian", b"ascii"), b"1 0\n2 0\n3 0\n"
    refused(text + rows + b"3 0 1 2\n", "2 faces are stated, but 1 follow")
    refused(text + rows + b"3 0 1 2\n4 0 1 2 0\n", "not all triangles")
    refused(text + rows + b"3 0 1 2\n3 0 1 1e400\n", "vertices 0.0 to inf")
    refused(text + rows + b"3 0 1 2\n3 0 1 nan\n", "vertices nan")
    refused(text + rows + b"3 0 1 2\n3 0 1 1.5\n", "expected 0 to 2")
    refused(text.replace(b"face 2", b"face " + b"9" * 30) + rows + b"3 0 1 2\n", "islice")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 something else", "does not begin"),
        (b"", "does not begin"),
        (HEADER[:60], "no line `end_header`"),
        (HEADER + BODY[:-1], "3 rows of vertex, of 5 bytes each, are stated, but 14 bytes follow"),
        (HEADER.replace(b"vertex 3", b"vertex 99999999999999"), "but 0 bytes follow"),
        (HEADER.replace(b"vertex 3", b"face 3") + BODY, "elements are .'face'., expected `vertex`"),
        (HEADER.replace(b"element", b"element face 2\nproperty list uchar int indices\nelement") + BODY, "are lists"),
        (
            HEADER.replace(b"element", b"element grid %s\nproperty float a\nelement" % (b"9" * 40)) + BODY,
            "rows of grid",
        ),
        (HEADER.replace(b"vertex 3", b"vertex " + b"9" * 5000) + BODY, "integer string conversion"),
        (HEADER.replace(b"vertex 3", b"vertex three") + BODY, "not understood.*three"),
        (HEADER.replace(b"uchar label", b"half label") + BODY, "not understood.*half"),
        (HEADER.replace(b"uchar label", b"list uchar int label") + BODY, "lists: .'label'"),
        (HEADER.replace(b"uchar label", b"uchar x") + BODY, "names of their own"),
        (HEADER.replace(b"binary_little_endian", b"binary"), "its format is binary, expected one of"),
        (HEADER.replace(b"binary_little_endian", b"ascii") + b"1.5 0\n-2\n", "vertex 1 of 3 has 1 values"),
        (HEADER.replace(b"binary_little_endian", b"ascii") + b"1.5 0\n-2 a\n3 4\n", "could not convert"),
    ],
)
def test_broken_files_are_refused(content, message):
    with pytest.raises(ValueError, match=message):
        ply_format.decode(content)


def test_columns_that_do_not_fit_are_not_written():
    with pytest.raises(ValueError, match="f8"):
        ply_format.encode({"x": np.zeros(3)}, [])
    with pytest.raises(ValueError, match="lengths"):
        ply_format.encode({"x": COLUMNS["x"], "label": COLUMNS["label"][:2]}, [])
    with pytest.raises(ValueError, match="one line"):
        ply_format.encode(COLUMNS, ["a\nelement vertex 9"])


@pytest.mark.parametrize("kind", ["binary_little_endian", "ascii"])
def test_vertices_need_not_come_first(kind):
    before = b"element camera 2\nproperty float focal\nproperty short id\nelement vertex"
    text = HEADER.replace(b"element vertex", before).replace(b"binary_little_endian", kind.encode())
    cameras = np.zeros(2, [("focal", "<f4"), ("id", "<i2")]).tobytes()
    body = b"4.2 0\n1.5 1\n1.5 0\n-2 7\n0.25 255\n" if kind == "ascii" else cameras + BODY
    assert_columns(ply_format.decode(text + body).columns)
