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


def test_a_cloud_says_the_scale_of_its_world(tmp_path):
    cloud = PointCloud(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint8), np.zeros(1, np.uint8), None)
    ply.save_cloud(tmp_path / "cloud.ply", cloud, metres_per_unit=0.55)
    assert "metres_per_unit 0.55" in ply.load_vertices(tmp_path / "cloud.ply")[1]


def test_ply_without_colours_or_with_odd_values_is_refused_by_name(tmp_path):
    path = tmp_path / "a.ply"
    ply.save_cloud(path, random_cloud(3))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"uchar red", b"uchar alpha"))
    with pytest.raises(ValueError, match=r"a\.ply: the vertices lack the properties \['red'\], they have \['x'"):
        ply.load_cloud(path)
    path.write_bytes(whole.replace(b"uchar label", b"char label")[:-1] + b"\xff")
    with pytest.raises(ValueError, match=r"a\.ply: the property label has values"):
        ply.load_cloud(path)
    body = whole.index(b"end_header\n") + len(b"end_header\n")
    path.write_bytes(whole[:body] + np.float32(np.nan).tobytes() + whole[body + 4 :])
    with pytest.raises(ValueError, match=r"a\.ply: 1 of 3 points are not finite"):
        ply.load_cloud(path)
    tiny = whole.replace(b"float", b"double")
    table = np.array([(1e300, 0, 0, 1, 2, 3, 4)] * 3, np.dtype([(f"f{i}", "<f8" if i < 3 else "u1") for i in range(7)]))
    path.write_bytes(tiny[: tiny.index(b"end_header\n") + len(b"end_header\n")] + table.tobytes())
    with pytest.raises(ValueError, match=r"a\.ply: 3 of 3 points are not finite"):
        ply.load_cloud(path)


# Our cloud of three points, as other tools write it: their headers, and how they store a row.
OPEN3D = """ply
format binary_little_endian 1.0
comment Created by Open3D
element vertex 3
property double x
property double y
property double z
property uchar red
property uchar green
property uchar blue
end_header
"""
OPEN3D_TENSOR = """ply
format binary_little_endian 1.0
comment Created by Open3D
element vertex 3
property float64 x
property float64 y
property float64 z
property uint8 red
property uint8 green
property uint8 blue
property uint8 label
end_header
"""
CLOUD_COMPARE = """ply
format binary_little_endian 1.0
comment Author: CloudCompare (TELECOM PARISTECH/EDF R&D)
obj_info Generated by CloudCompare!
element vertex 3
property double x
property double y
property double z
property uchar red
property uchar green
property uchar blue
property float scalar_label
property float scalar_Original_cloud_index
end_header
"""
MESHLAB = """ply
format binary_little_endian 1.0
comment VCGLIB generated
comment TextureFile cloud.png
element vertex 3
property float x
property float y
property float z
property int flags
property uchar red
property uchar green
property uchar blue
property uchar alpha
property double quality
property float label
element face 0
property list uchar int vertex_indices
property list uchar float texcoord
end_header
"""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("kind", ["binary_little_endian", "binary_big_endian", "ascii"])
@pytest.mark.parametrize("header", [OPEN3D, OPEN3D_TENSOR, CLOUD_COMPARE, MESHLAB])
def test_what_other_tools_make_of_our_clouds_is_read(header, kind, line_end, tmp_path):
    cloud = random_cloud(3)
    values = dict(zip(("x", "y", "z"), cloud.points.T, strict=True))
    values |= dict(zip(("red", "green", "blue"), cloud.colors.T, strict=True))
    codes = {"float": "f4", "double": "f8", "float64": "f8", "uchar": "u1", "uint8": "u1", "int": "i4"}
    order = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}[kind]
    words = [line.split() for line in header.splitlines()]
    names = {
        name: order + codes[code] for _, code, name in (line for line in words if len(line) == 3 and line[1] in codes)
    }
    table = np.zeros(3, list(names.items()))
    for name in names:
        is_label = name in ("label", "scalar_label")
        table[name] = cloud.labels if is_label else values.get(name, 7)
    expected = cloud.labels.copy() if {"label", "scalar_label"} & set(names) else np.full(3, 255)
    if "scalar_label" in names:  # a point that was added there
        table["scalar_label"][1], expected[1] = np.nan, 255
    rows = line_end.join(" ".join(repr(value.item()) for value in row) for row in table)
    text = header.replace("binary_little_endian", kind).replace("\n", line_end).encode()
    (tmp_path / "a.ply").write_bytes(text + (table.tobytes() if order else rows.encode()))
    if "label" in header:
        loaded = ply.load_cloud(tmp_path / "a.ply")
    else:
        with pytest.warns(UserWarning, match=r"a\.ply has no labels .*all are 255"):
            loaded = ply.load_cloud(tmp_path / "a.ply")
    np.testing.assert_allclose(loaded.points, cloud.points, rtol=1e-6)
    np.testing.assert_array_equal(loaded.colors, cloud.colors)
    np.testing.assert_array_equal(loaded.labels, expected)
    assert loaded.label_map is None


@pytest.mark.parametrize("kind", ["binary_little_endian", "ascii"])
def test_vertices_need_not_come_first(kind, tmp_path):
    before = b"element camera 2\nproperty float focal\nproperty short id\nelement vertex"
    text = HEADER.replace(b"element vertex", before).replace(b"binary_little_endian", kind.encode())
    cameras = np.zeros(2, [("focal", "<f4"), ("id", "<i2")]).tobytes()
    body = b"4.2 0\n1.5 1\n1.5 0\n-2 7\n0.25 255\n" if kind == "ascii" else cameras + BODY
    (tmp_path / "a.ply").write_bytes(text + body)
    assert_columns(ply.load_vertices(tmp_path / "a.ply")[0])
