"""Clouds and meshes as files of their own, read by trimesh."""

import numpy as np
import pytest

from dnerf_jax import factory
from dnerf_jax.factory import exporting
from dnerf_jax.io import ply

PLACES = {0: "train/00000000", 3: "train/00000003", 1: "validation/00000001", 2: "test/00000002"}


@pytest.mark.parametrize(("form", "kind"), [("points_ply", "points"), ("mesh_ply", "mesh")])
def test_ply_files_are_those_of_the_dataset(balls, tmp_path, form, kind):
    data, out = factory.load(balls), tmp_path / "out"
    exporting.export(balls, form, out)
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == {f"{place}.ply" for place in PLACES.values()} | {"labelmap.json"}
    for identity, place in PLACES.items():
        assert (out / f"{place}.ply").read_bytes() == data.object(kind, identity)


@pytest.mark.forms
@pytest.mark.parametrize("suffix", ["ply", "obj", "glb"])
def test_trimesh_reads_meshes(balls, tmp_path, suffix):
    import trimesh

    data = factory.load(balls)
    exporting.export(balls, f"mesh_{suffix}", tmp_path / "out")
    for identity, place in PLACES.items():
        mesh = ply.decode_mesh(data.object("mesh", identity))
        found = trimesh.load(tmp_path / "out" / f"{place}.{suffix}", force="mesh", process=False)
        np.testing.assert_allclose(found.vertices, mesh.vertices, atol=1e-6)
        np.testing.assert_array_equal(found.faces, mesh.faces)
        np.testing.assert_array_equal(found.visual.vertex_colors[:, :3], mesh.colors)
        if suffix == "glb":
            np.testing.assert_array_equal(np.ravel(found.vertex_attributes["_LABEL"]), mesh.labels)


@pytest.mark.parametrize("form", ["mesh_ply", "mesh_obj", "mesh_glb"])
def test_a_dataset_without_meshes_is_refused(make_balls, tmp_path, form):
    source = make_balls(modalities=("image", "points"), num_identities=1)
    with pytest.raises(ValueError, match="has no mesh, .* make one with mesh among the modalities"):
        exporting.export(source, form, tmp_path / "out")
    assert not list(tmp_path.iterdir())
