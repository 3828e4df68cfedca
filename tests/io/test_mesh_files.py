"""Mesh files: what trimesh reads of each kind is what was written."""

import builtins

import numpy as np
import pytest

from dnerf_jax.io import mesh_files, ply
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.meshes import Mesh

LABELS = LabelMap(("background", "left", "right"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))
VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
COLORS = np.array([[250, 0, 9], [0, 128, 0], [1, 2, 3], [255, 255, 255]], np.uint8)
IDS = np.array([1, 2, 1, 255], np.uint8)
TETRAHEDRON = Mesh(VERTICES, FACES, COLORS, IDS, LABELS)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", mesh_files.SUFFIXES)
def test_others_read_what_we_write(tmp_path, suffix):
    import trimesh

    path = tmp_path / "new" / f"mesh{suffix}"
    mesh_files.save(path, TETRAHEDRON)
    loaded = trimesh.load(path, force="mesh", process=False)
    np.testing.assert_allclose(loaded.vertices, VERTICES, atol=1e-6)
    np.testing.assert_array_equal(loaded.faces, FACES)
    np.testing.assert_array_equal(loaded.visual.vertex_colors[:, :3], COLORS)
    normals = {".ply": b"", ".obj": b"\nvn ", ".glb": b'"NORMAL"'}  # for smooth shading
    assert normals[suffix] in path.read_bytes()
    assert loaded.is_watertight and loaded.volume == pytest.approx(1 / 6)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == mesh_files.encode(TETRAHEDRON, suffix)
    if suffix == ".glb":
        np.testing.assert_array_equal(np.ravel(loaded.vertex_attributes["_LABEL"]), IDS)
        assert TETRAHEDRON.normals.tobytes() in path.read_bytes()


@pytest.mark.parametrize("suffix", mesh_files.SUFFIXES)
def test_a_mesh_without_colours_and_labels_is_written(tmp_path, suffix):
    import trimesh

    mesh_files.save(tmp_path / f"bare{suffix}", Mesh(VERTICES, FACES))
    loaded = trimesh.load(tmp_path / f"bare{suffix}", force="mesh", process=False)
    np.testing.assert_array_equal(loaded.faces, FACES)


@pytest.mark.parametrize("suffix", mesh_files.SUFFIXES)
def test_what_others_wrote_is_read(tmp_path, suffix):
    import trimesh

    path = tmp_path / f"scan{suffix}"
    trimesh.Scene([trimesh.Trimesh(VERTICES + 2 * part, FACES, process=False) for part in range(2)]).export(path)
    mesh = mesh_files.load(path)
    assert mesh.faces.shape == (8, 3) and mesh.colors is None
    found, corners = mesh.vertices[mesh.faces], np.concatenate([VERTICES[FACES], VERTICES[FACES] + 2])
    found = found if found[0].max() <= 1 else np.roll(found, 4, axis=0)  # parts are in any order
    np.testing.assert_allclose(found, corners, atol=1e-6)


def test_quads_are_read_as_triangles_without_their_material(tmp_path):
    (tmp_path / "quad.obj").write_text("mtllib none.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n")
    assert mesh_files.load(tmp_path / "quad.obj").faces.shape == (2, 3)


def test_what_is_no_mesh_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        mesh_files.load(tmp_path / "none.obj")
    with pytest.raises(ValueError, match="expected one of .ply, .obj, .glb"):
        mesh_files.load(tmp_path / "none.stl")
    (tmp_path / "no.obj").write_text("nothing\n")
    with pytest.raises(ValueError, match=r"no.obj (cannot be read as a mesh|has 0 faces)"):
        mesh_files.load(tmp_path / "no.obj")


def test_suffixes_may_be_capitals(tmp_path):
    for name in ("h.ply", "h.PLY"):
        mesh_files.save(tmp_path / name, TETRAHEDRON)
    assert (tmp_path / "h.PLY").read_bytes() == (tmp_path / "h.ply").read_bytes()
    mesh_files.save(tmp_path / "h.Obj", TETRAHEDRON)
    assert b"\nv " in (tmp_path / "h.Obj").read_bytes()


def test_ply_keeps_labels_and_their_names(tmp_path):
    path = tmp_path / "mesh.ply"
    mesh_files.save(path, TETRAHEDRON)
    cloud = ply.load_cloud(path)
    np.testing.assert_array_equal(cloud.points, VERTICES)
    np.testing.assert_array_equal(cloud.colors, COLORS)
    np.testing.assert_array_equal(cloud.labels, IDS)
    assert cloud.label_map == LABELS
    header, body = path.read_bytes().split(b"end_header\n")
    assert b"element face 4\nproperty list uchar int vertex_indices\n" in header
    assert body[4 * 16 :] == b"".join(b"\x03" + face.astype("<i4").tobytes() for face in FACES)


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"suffix '\.stl', expected one of \.ply, \.obj, \.glb"):
        mesh_files.save(tmp_path / "mesh.stl", TETRAHEDRON)
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    whole = builtins.__import__

    def without(name, *rest):
        if name == "trimesh":
            raise ImportError("No module named 'trimesh'")
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"trimesh .*pip install dnerf_jax\[meshes\]"):
        mesh_files.save(tmp_path / "mesh.glb", TETRAHEDRON)
    mesh_files.save(tmp_path / "mesh.ply", TETRAHEDRON)  # needs nothing
    assert [entry.name for entry in tmp_path.iterdir()] == ["mesh.ply"]
