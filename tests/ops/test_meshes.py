"""Meshes of analytic densities: a ball's size, orientation and labels, boxes that cut it, and what is refused."""

import builtins

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ball import LABELS as BALL_LABELS
from ball import ball as ball_views

from dnerf_jax.ops import meshes
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.meshes import Mesh

LABELS = LabelMap(("background", "left", "right"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))
TETRAHEDRON = Mesh(
    np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
)


def ball(radius=0.3, center=(0.0, 0.0, 0.0)):
    """Raw density that passes the default level at the ball's surface."""

    def density(points):
        return meshes.surface_level() + 500 * (radius - np.linalg.norm(points - np.array(center), axis=-1))

    return density


def left_or_right(points):
    return np.where(points[:, 0] > 0, 2, 1)


def corners(mesh):
    return mesh.vertices[mesh.faces].astype(np.float64)


def volume_of(mesh):
    """The volume inside, negative if the triangles run clockwise as seen from outside."""
    a, b, c = np.moveaxis(corners(mesh), 1, 0)
    return np.sum(a * np.cross(b, c)) / 6


def area_of(mesh):
    a, b, c = np.moveaxis(corners(mesh), 1, 0)
    return np.sum(np.linalg.norm(np.cross(b - a, c - a), axis=-1)) / 2


def assert_closed(mesh):
    """Each edge is passed once in both directions."""
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges)
    assert {tuple(edge) for edge in edges} == {tuple(edge) for edge in edges[:, ::-1]}


@pytest.fixture(scope="module")
def surface():
    """The ball's mesh at 48 points a side."""
    return meshes.from_density(ball(), resolution=48, chunk=5000)


def test_half_of_the_light_passes_the_stated_thickness_at_the_level():
    for thickness in (1e-4, 0.01, 0.077, 1.0, 30.0):
        density = np.logaddexp(0, meshes.surface_level(thickness) - 1)
        np.testing.assert_allclose(np.exp(-density * thickness), 0.5, rtol=1e-9)
    with pytest.raises(ValueError, match="thickness is 0, expected a positive"):
        meshes.surface_level(0)


def test_the_mesh_of_a_ball_is_a_ball(surface):
    np.testing.assert_allclose(np.linalg.norm(surface.vertices, axis=-1), 0.3, atol=5e-4)
    np.testing.assert_allclose(volume_of(surface), 4 / 3 * np.pi * 0.3**3, rtol=0.01)
    np.testing.assert_allclose(area_of(surface), 4 * np.pi * 0.3**2, rtol=0.01)
    assert_closed(surface)
    assert surface.vertices.dtype == np.float32 and surface.faces.dtype == np.int32
    np.testing.assert_allclose(surface.normals, surface.vertices / 0.3, atol=0.05)


def test_world_units_follow_the_box_and_the_level(surface):
    # In a box twice as large, a ball elsewhere; a level below is a surface outside.
    center = (0.2, -0.3, 0.1)
    level = meshes.surface_level() - 500 * 0.1
    mesh = meshes.from_density(ball(0.4, center), box_side=2.0, resolution=40, level=level)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - np.array(center), axis=-1), 0.5, atol=2e-3)
    assert volume_of(mesh) > 0


def test_the_box_cuts_the_surface_closed():
    mesh = meshes.from_density(ball(0.4, (0.5, 0.0, 0.0)), resolution=33)
    assert_closed(mesh)
    np.testing.assert_allclose(volume_of(mesh), 2 / 3 * np.pi * 0.4**3, rtol=0.02)
    assert mesh.vertices[:, 0].max() == 0.5


def test_chunks_change_nothing_and_a_jitted_function_is_compiled_once(surface):
    sizes = []

    @jax.jit
    def density(points):
        sizes.append(points.shape)
        return meshes.surface_level() + 500 * (0.3 - jnp.linalg.norm(points, axis=-1))

    mesh = meshes.from_density(density, resolution=48, chunk=7001)
    assert sizes == [(7001, 3)]
    np.testing.assert_array_equal(mesh.faces, surface.faces)
    np.testing.assert_allclose(mesh.vertices, surface.vertices, atol=1e-6)


def test_vertices_have_the_colours_and_labels_of_their_places(surface):
    mesh = meshes.with_colors(surface, lambda points: points / 0.3, chunk=1000)
    np.testing.assert_allclose(mesh.colors, (surface.vertices / 0.3 + 1) * 127.5, atol=0.51)
    mesh = meshes.with_labels(mesh, left_or_right, LABELS, chunk=999)
    np.testing.assert_array_equal(mesh.labels, np.where(surface.vertices[:, 0] > 0, 2, 1))
    assert mesh.label_map == LABELS and mesh.labels.dtype == np.uint8 and mesh.colors is not None
    with pytest.raises(ValueError, match=r"the mesh has the unknown ids \[7\]"):
        meshes.with_labels(surface, lambda points: np.full(len(points), 7), LABELS)
    with pytest.raises(ValueError, match=r"colors of 1000 points have shape \(1000,\), expected \(1000, 3\)"):
        meshes.with_colors(surface, lambda points: points[:, 0], chunk=1000)


def test_crumbs_are_left_out():

    def density(points):
        return np.maximum(ball()(points), ball(0.05, (0.42, 0.42, 0.42))(points))

    mesh = meshes.with_labels(meshes.from_density(density, resolution=48), left_or_right, LABELS)
    largest = meshes.largest_part(mesh)
    assert len(largest.faces) < len(mesh.faces)
    np.testing.assert_allclose(np.linalg.norm(largest.vertices, axis=-1), 0.3, atol=5e-4)
    np.testing.assert_array_equal(largest.labels, np.where(largest.vertices[:, 0] > 0, 2, 1))
    assert_closed(largest)
    np.testing.assert_array_equal(meshes.largest_part(largest).faces, largest.faces)


def test_normals_are_weighted_by_area():
    np.testing.assert_allclose(TETRAHEDRON.normals[0], -np.ones(3) / 3**0.5, rtol=1e-6)
    assert volume_of(TETRAHEDRON) == pytest.approx(1 / 6)
    lonely = Mesh(np.zeros((1, 3)), np.zeros((0, 3), int))
    np.testing.assert_array_equal(lonely.normals, np.zeros((1, 3)))
    assert len(meshes.largest_part(lonely).faces) == 0


@pytest.mark.parametrize(
    ("density", "message"),
    [
        (lambda points: np.zeros(len(points)), r"nowhere above the level 70\.\d+: there is no surface"),
        (lambda points: np.full(len(points), np.nan), "not finite"),
        (lambda points: np.zeros((len(points), 1)), r"density of 65536 points have shape \(65536, 1\)"),
    ],
)
def test_densities_without_a_surface_are_refused(density, message):
    with pytest.raises(ValueError, match=message):
        meshes.from_density(density, resolution=8)


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    whole = builtins.__import__

    def without(name, *rest):
        if name == "skimage":
            raise ImportError("No module named 'skimage'")
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"scikit-image .*pip install dnerf_jax\[meshes\]"):
        meshes.from_density(ball(), resolution=8)
    with pytest.raises(ValueError, match="resolution is 1 and chunk"):
        meshes.from_density(ball(), resolution=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vertices": np.zeros((4, 2))}, r"shapes \(4, 2\) and \(4, 3\), expected \(V, 3\) and \(F, 3\)"),
        ({"vertices": np.full((4, 3), np.nan)}, "4 of 4 vertices are not finite"),
        ({"faces": np.array([[0, 1, 4]])}, "values 0 to 4, expected integer indices of the 4 vertices"),
        ({"faces": np.zeros((1, 3))}, "type float64"),
        ({"colors": np.zeros((4, 3))}, r"colors are float64 \(4, 3\), expected uint8 \(4, 3\)"),
        ({"labels": np.zeros((3,), np.uint8)}, r"labels are uint8 \(3,\), expected uint8 \(4,\)"),
    ],
)
def test_meshes_that_are_none_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Mesh(**({"vertices": TETRAHEDRON.vertices, "faces": TETRAHEDRON.faces} | changes))


@pytest.mark.slow
def test_labels_of_views_are_those_of_the_vertices_that_they_see(surface):
    views = ball_views([-20, 0, 20, 180])
    x, _, z = surface.vertices.T
    for chosen, seen, hidden in ((views[:3], z > 0.1, z < -0.12), (views[3:], z < -0.1, z > 0)):
        mesh = meshes.with_labels_of_views(surface, *front_of(chosen), BALL_LABELS)
        assert (mesh.labels[hidden] == LabelMap.IGNORE).all() and mesh.label_map is BALL_LABELS
        # Within a pixel of the border labels may be either.
        sides = seen & (np.abs(x) > 0.01)
        np.testing.assert_array_equal(mesh.labels[sides], np.where(x[sides] > 0, 2, 1))


def front_of(views):
    return views.mask, views.depth_z, views.camera


@pytest.mark.slow
def test_the_most_frequent_label_wins_and_background_has_no_vote(surface):
    views = ball_views([0.0, 0.0, 0.0, 0.0])
    masks = np.stack([np.full_like(views.mask[0], label) for label in (2, 1, 2, 0)])
    labels = meshes.with_labels_of_views(surface, masks, *front_of(views)[1:], BALL_LABELS).labels
    assert set(labels) == {2, LabelMap.IGNORE}
    nothing = meshes.with_labels_of_views(surface, masks[3:], views.depth_z[3:], views.camera[3:], BALL_LABELS)
    assert set(nothing.labels) == {LabelMap.IGNORE}
    with pytest.raises(ValueError, match=r"masks have shape \(3, 64, 64\), depth_z \(4, 64, 64\), cameras \(4,\)"):
        meshes.with_labels_of_views(surface, masks[:3], *front_of(views)[1:], BALL_LABELS)
    with pytest.raises(ValueError, match="the masks has the unknown ids"):
        meshes.with_labels_of_views(surface, masks + np.uint8(9), *front_of(views)[1:], BALL_LABELS)
