"""PLY files: what we write is what the format says, what others write is read, what is broken is refused."""

import numpy as np
import pytest

from dnerf_jax.io import ply
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.points import PointCloud

LABELS = LabelMap(("background", "upper half", "lower"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))
COLUMNS = {"x": np.array([1.5, -2.0, 0.25], np.float32), "label": np.array([0, 7, 255], np.uint8)}
HEADER = b"ply\nformat binary_little_endian 1.0\nelement vertex 3\nproperty float x\nproperty uchar label\nend_header\n"
BODY = np.rec.fromarrays(list(COLUMNS.values()), dtype=[("x", "<f4"), ("label", "u1")]).tobytes()


def random_cloud(count, **options):
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (count, 3))
    return PointCloud(points, rng.integers(0, 256, (count, 3)), rng.integers(0, 3, count), **options)


def assert_columns(columns, expected=COLUMNS):
    assert list(columns) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(columns[name], expected[name])


def test_bytes_are_as_the_format_says(tmp_path):
    path = tmp_path / "a.ply"
    ply.save_vertices(path, COLUMNS, ["one", "two words"])
    commented = HEADER.replace(b"element", b"comment one\ncomment two words\nelement")
    assert path.read_bytes() == commented + BODY
    columns, comments = ply.load_vertices(path)
    assert_columns(columns)
    assert columns["x"].dtype == np.float32 and columns["label"].dtype == np.uint8
    assert comments == ["one", "two words"]


def test_files_of_other_tools_are_read(tmp_path):
    path = tmp_path / "a.ply"
    big = np.rec.fromarrays(
        [COLUMNS["label"], COLUMNS["x"].astype(float), np.zeros(3)],
        dtype=[("label", ">i2"), ("x", ">f8"), ("quality", ">f4")],
    )
    path.write_bytes(
        b"ply\r\nformat binary_big_endian 1.0\r\nobj_info made elsewhere\r\nelement vertex 3\r\n"
        b"property short label\r\nproperty double x\r\nproperty float32 quality\r\n"
        b"element face 1\r\nproperty list uchar int vertex_indices\r\nend_header\r\n"
        + big.tobytes()
        + b"\x03"
        + bytes(12)
    )
    columns, _ = ply.load_vertices(path)
    assert_columns(columns, {"label": COLUMNS["label"], "x": COLUMNS["x"], "quality": np.zeros(3)})
    path.write_bytes(HEADER.replace(b"binary_little_endian", b"ascii") + b"1.5 0\n-2 7\n2.5e-1 255\n")
    assert_columns(ply.load_vertices(path)[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 something else", "does not begin"),
        (b"", "does not begin"),
        (HEADER[:60], "no line `end_header`"),
        (HEADER + BODY[:-1], "3 vertices of 5 bytes are stated, but 14 bytes follow"),
        (HEADER.replace(b"vertex 3", b"vertex 99999999999999"), "but 0 bytes follow"),
        (HEADER.replace(b"vertex 3", b"face 3") + BODY, "expected `vertex` first"),
        (HEADER.replace(b"vertex 3", b"vertex three") + BODY, "not understood.*three"),
        (HEADER.replace(b"uchar label", b"half label") + BODY, "not understood.*half"),
        (HEADER.replace(b"uchar label", b"list uchar int label") + BODY, "lists: .'label'"),
        (HEADER.replace(b"uchar label", b"uchar x") + BODY, "names of their own"),
        (HEADER.replace(b"binary_little_endian", b"binary"), "its format is binary, expected one of"),
        (HEADER.replace(b"binary_little_endian", b"ascii") + b"1.5 0\n-2\n", "vertex 1 of 3 has 1 values"),
        (HEADER.replace(b"binary_little_endian", b"ascii") + b"1.5 0\n-2 a\n3 4\n", "could not convert"),
        (None, "No such file"),
    ],
)
def test_broken_files_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "broken.ply"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        ply.load_vertices(path)
    assert str(path) in str(caught.value)


def test_columns_that_do_not_fit_are_not_written(tmp_path):
    path = tmp_path / "a.ply"
    with pytest.raises(ValueError, match="f8"):
        ply.save_vertices(path, {"x": np.zeros(3)}, [])
    with pytest.raises(ValueError, match="lengths"):
        ply.save_vertices(path, {"x": COLUMNS["x"], "label": COLUMNS["label"][:2]}, [])
    with pytest.raises(ValueError, match="one line"):
        ply.save_vertices(path, COLUMNS, ["a\nelement vertex 9"])
    assert not path.exists()


@pytest.mark.parametrize("label_map", [LABELS, None])
def test_ply_round_trip(tmp_path, label_map):
    cloud = random_cloud(100, label_map=label_map)
    ply.save_cloud(tmp_path / "a.ply", cloud)
    loaded = ply.load_cloud(tmp_path / "a.ply")
    np.testing.assert_array_equal(loaded.points, cloud.points)
    np.testing.assert_array_equal(loaded.colors, cloud.colors)
    np.testing.assert_array_equal(loaded.labels, cloud.labels)
    assert loaded.label_map == label_map
    header = (tmp_path / "a.ply").read_bytes().split(b"end_header")[0].decode()
    assert "comment frame world" in header
    assert ("comment label 1 255 0 0 upper half" in header) == (label_map is not None)


def test_ply_without_labels_or_with_odd_values_is_refused_by_name(tmp_path):
    path = tmp_path / "a.ply"
    ply.save_cloud(path, random_cloud(3))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"uchar label", b"uchar alpha"))
    with pytest.raises(ValueError, match=r"a\.ply: the vertices lack the properties \['label'\]"):
        ply.load_cloud(path)
    path.write_bytes(whole.replace(b"uchar label", b"char label")[:-1] + b"\xff")
    with pytest.raises(ValueError, match=r"a\.ply: the property label has values"):
        ply.load_cloud(path)
    body = whole.index(b"end_header\n") + len(b"end_header\n")
    path.write_bytes(whole[:body] + np.float32(np.nan).tobytes() + whole[body + 4 :])
    with pytest.raises(ValueError, match=r"a\.ply: 1 of 3 points are not finite"):
        ply.load_cloud(path)
