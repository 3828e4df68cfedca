"""Clouds and meshes in PLY files: there and back, what other tools make of ours, and what is no cloud or mesh."""

import numpy as np
import pytest

from dnerf_jax.io import ply, ply_format
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.meshes import Mesh
from dnerf_jax.ops.points import PointCloud

LABELS = LabelMap(("background", "upper half", "lower"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))


def random_cloud(count, *, described=False, **options):
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (count, 3))
    if described:
        normals = rng.standard_normal((count, 3))
        options["normals"] = normals / np.linalg.norm(normals, axis=-1, keepdims=True)
        options["confidence"] = rng.uniform(0, 1, count)
    return PointCloud(points, rng.integers(0, 256, (count, 3)), rng.integers(0, 3, count), **options)


def assert_same(a, b):
    assert type(a) is type(b) and a.label_map == b.label_map
    for name, values in vars(a).items():
        if name != "label_map":
            np.testing.assert_array_equal(values, getattr(b, name))


@pytest.mark.parametrize("described", [False, True])
@pytest.mark.parametrize("label_map", [LABELS, None])
def test_clouds_come_back(tmp_path, label_map, described):
    cloud = random_cloud(100, label_map=label_map, described=described)
    ply.save_cloud(tmp_path / "a.ply", cloud)
    data = (tmp_path / "a.ply").read_bytes()
    assert data == ply.encode_cloud(random_cloud(100, label_map=label_map, described=described))
    assert_same(ply.load_cloud(tmp_path / "a.ply"), cloud)
    assert_same(ply.decode_cloud(data), cloud)
    header = data.split(b"end_header")[0].decode()
    assert "comment frame world" in header
    assert ("comment label 1 255 0 0 upper half" in header) == (label_map is not None)
    names = [line.split()[2] for line in header.splitlines() if line.startswith("property")]
    known = ["nx", "ny", "nz"], ["confidence"]
    assert names == ["x", "y", "z", *known[0][: 3 * described], "red", "green", "blue", "label", *known[1][:described]]


@pytest.mark.parametrize("described", [False, True])
def test_meshes_come_back(tmp_path, described):
    rng = np.random.default_rng(0)
    known = {"colors": rng.integers(0, 256, (5, 3), np.uint8), "labels": np.arange(5, dtype=np.uint8) % 3}
    faces = np.array([[0, 1, 2], [2, 1, 3], [4, 0, 2]])
    mesh = Mesh(
        rng.uniform(-1, 1, (5, 3)), faces, **known if described else {}, label_map=LABELS if described else None
    )
    ply.save_mesh(tmp_path / "a.ply", mesh, metres_per_unit=0.55)
    assert_same(ply.load_mesh(tmp_path / "a.ply"), mesh)
    data = (tmp_path / "a.ply").read_bytes()
    assert_same(ply.decode_mesh(data), mesh)
    assert data == ply.encode_mesh(mesh, metres_per_unit=0.55) != ply.encode_mesh(mesh)
    with pytest.raises(ValueError, match=r"^shard 3 cannot be read .* cut off"):
        ply.decode_mesh(data[:-1], source="shard 3")
    with pytest.raises(ValueError, match=r"a\.ply cannot be read .* expected `face`"):
        ply.save_cloud(tmp_path / "a.ply", random_cloud(3))
        ply.load_mesh(tmp_path / "a.ply")


def test_what_cannot_be_used_of_other_tools_is_left_out_and_said(tmp_path):
    cloud = random_cloud(3, described=True)
    data = ply.encode_cloud(cloud)
    columns = ply_format.decode(data).columns
    columns["nx"], columns["confidence"] = columns["nx"].copy(), columns["confidence"] * 100
    columns["nx"][1] = np.nan
    with pytest.warns(UserWarning) as warned:
        loaded = ply.decode_cloud(ply_format.encode(columns, []), source="theirs")
    assert loaded.normals is None and loaded.confidence is None
    assert {str(warning.message).split(" has values of ")[1].split(" that")[0] for warning in warned} == {
        "nx, ny, nz",
        "confidence",
    }
    named = data.replace(b"float confidence", b"float scalar_Confidence")
    np.testing.assert_array_equal(ply.decode_cloud(named).confidence, cloud.confidence)


def test_a_cloud_says_the_scale_of_its_world(tmp_path):
    cloud = PointCloud(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint8), np.zeros(1, np.uint8), None)
    ply.save_cloud(tmp_path / "cloud.ply", cloud, metres_per_unit=0.55)
    assert "metres_per_unit 0.55" in ply_format.decode((tmp_path / "cloud.ply").read_bytes()).comments


def test_ply_without_colours_or_with_odd_values_is_refused_by_name(tmp_path):
    path = tmp_path / "a.ply"
    with pytest.raises(ValueError, match=r"a\.ply cannot be read as a PLY file: .*No such file"):
        ply.load_cloud(path)
    with pytest.raises(ValueError, match="it is no file"):
        ply.load_cloud(tmp_path)
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
