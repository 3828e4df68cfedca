"""Points of a posed body find their faces, and their places in the canonical pose, by each of the three rules."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters import gnarf_golden
from dnerf_jax.ops import articulation, triangles
from dnerf_jax.ops.cameras import Rays

GOLDEN = Path(__file__).parents[1] / "golden" / "gnarf_deform.json"


@pytest.fixture(scope="module")
def recorded():
    """The recorded deformation's arrays, with the surface in both worlds: posed, there; near: points beside it."""
    case = gnarf_golden.load(GOLDEN)
    return dict(case.arrays) | {"posed": case.posed, "there": case.canonical, "near": case.near}


# Compiled as wholes: operation by operation takes many times as long.
to_canonical, nearest_face = jax.jit(articulation.to_canonical, static_argnums=0), jax.jit(articulation.nearest_face)


def mapped(rule, recorded, face, **options):
    surfaces = recorded["posed"], recorded["there"], recorded["faces"]
    return np.asarray(to_canonical(rule, recorded["points"], face.astype(np.int32), *surfaces, **options))


def test_points_far_beside_small_faces_are_carried_as_in_float64(recorded, generator):
    """A thousandth of the surface's size and slender, as of meshes that are much finer than the recorded one."""
    faces = np.arange(300).reshape(100, 3)
    here, there = (generator.uniform(-0.4, 0.4, (100, 1, 3)) + generator.normal(0, 1e-3, (100, 3, 3)) for _ in range(2))
    points = generator.uniform(-0.5, 0.5, (100, 3))
    small = {"posed": here.reshape(-1, 3), "there": there.reshape(-1, 3), "points": points, "faces": faces}
    small = {name: x.astype(np.int32 if name == "faces" else np.float32) for name, x in small.items()}
    a, b, c = np.moveaxis(np.float64(small["posed"][faces]), 1, 0)
    x, y, z = np.moveaxis(np.float64(small["there"][faces]), 1, 0)
    normals, others = (
        n / np.linalg.norm(n, axis=-1, keepdims=True) for n in (np.cross(b - a, c - a), np.cross(y - x, z - x))
    )
    offset = np.stack([b - a, c - a, normals], axis=-1)
    v, w, height = np.linalg.solve(offset, (small["points"] - a)[..., None])[..., 0].T[..., None]
    expected = x + v * (y - x) + w * (z - x) + height * others
    error = np.abs(mapped("triangle", small, np.arange(100)) - expected).max(axis=-1)
    assert np.median(error / np.abs(expected).max(axis=-1)) < 1e-6 and np.abs(expected).max() > 1


def test_it_does_not_matter_which_of_two_faces_is_found_at_their_edge(recorded):
    found = nearest_face(recorded["points"], recorded["posed"], recorded["faces"])
    turned = jnp.broadcast_to(jnp.eye(3), (len(recorded["posed"]), 3, 3))
    ours, theirs = (
        mapped("blend", recorded, face, turned=turned) for face in (np.asarray(found.face), recorded["true_face"])
    )
    assert (np.asarray(found.face) != recorded["true_face"]).mean() > 0.05
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize("shape", [(), (7,), (5, 3)])
def test_points_may_have_any_shape_and_number(recorded, shape, monkeypatch):
    monkeypatch.setattr(triangles, "_NEAR_AT_ONCE", 4)
    points = np.resize(recorded["points"], (*shape, 3))
    # Made anew: what is changed here is compiled in.
    found = jax.jit(lambda *at: articulation.nearest_face(*at))(points, recorded["posed"], recorded["faces"])
    assert found.face.shape == found.distance.shape == shape
    expected = np.resize(recorded["true_distance"], shape)
    np.testing.assert_allclose(found.distance, expected, atol=2e-7)


def test_a_body_that_stays_leaves_points_where_they_are(recorded):
    recorded = recorded | {"there": recorded["posed"]}
    turned = jnp.broadcast_to(jnp.eye(3), (len(recorded["posed"]), 3, 3))
    for rule in articulation.RULES:
        moved = mapped(rule, recorded, recorded["face"], turned=turned)
        np.testing.assert_allclose(moved[recorded["near"]], recorded["points"][recorded["near"]], atol=2e-6)


def test_a_body_turned_as_a_whole_is_turned_back(recorded, generator):
    """Rigid motions are undone exactly, near and far, by the rule that turns offsets, whichever the face."""
    turn = np.linalg.qr(generator.standard_normal((3, 3)))[0].astype(np.float32)
    turn *= np.sign(np.linalg.det(turn))
    moved = recorded | {"posed": (recorded["there"] @ turn.T + 0.3).astype(np.float32)}
    points = generator.uniform(-0.4, 0.4, recorded["points"].shape).astype(np.float32)
    moved["points"] = (points @ turn.T + 0.3).astype(np.float32)
    turned = jnp.broadcast_to(turn, (len(recorded["posed"]), 3, 3))
    np.testing.assert_allclose(mapped("blend", moved, recorded["true_face"], turned=turned), points, atol=5e-6)


def turns(recorded):
    """What turns the surroundings of each vertex (V, 3, 3), from the canonical to the posed body: Kabsch's fit."""
    edges = np.concatenate([recorded["faces"][:, [i, j]] for i in range(3) for j in range(3) if i != j])
    ways = [recorded[name][edges[:, 1]] - recorded[name][edges[:, 0]] for name in ("posed", "there")]
    summed = np.zeros((len(recorded["posed"]), 3, 3))
    np.add.at(summed, edges[:, 0], np.einsum("ei,ej->eij", *ways))
    u, _, v = np.linalg.svd(summed)
    sign = np.linalg.det(u @ v)
    return jnp.asarray(
        np.einsum("vij,vjk->vik", u * np.stack([np.ones_like(sign)] * 2 + [sign], -1)[:, None], v), jnp.float32
    )


def test_blended_offsets_do_not_jump_at_edges(recorded):
    """Few short steps beside the surface have images that are five times as long: of `triangle` far more."""
    rng, turned = np.random.default_rng(5), turns(recorded)
    points = recorded["points"][recorded["point_kind"] == 0]
    ways, length = rng.standard_normal(points.shape), 3e-4  # 1 mm of a body in these units
    steps = (length * ways / np.linalg.norm(ways, axis=-1, keepdims=True)).astype(np.float32)
    leaps = {}
    for rule in ("blend", "triangle"):
        ends = []
        for moved in (points, points + steps):
            found = nearest_face(moved, recorded["posed"], recorded["faces"])
            ends.append(mapped(rule, recorded | {"points": moved}, np.asarray(found.face), turned=turned))
        leaps[rule] = np.mean(np.linalg.norm(ends[0] - ends[1], axis=-1) > 5 * length)
    assert 5 * leaps["blend"] < leaps["triangle"] and leaps["blend"] < 0.005


def test_gradients_reach_points_vertices_and_rotations(recorded):
    inside = np.flatnonzero(recorded["point_kind"] == 0)[:40]
    points, face = recorded["points"][inside], recorded["true_face"][inside].astype(np.int32)
    at = points, recorded["posed"], np.asarray(turns(recorded))
    there, rng = jnp.asarray(recorded["there"]), np.random.default_rng(0)

    def image(*at):
        return articulation.to_canonical("blend", at[0], face, at[1], there, recorded["faces"], turned=at[2])

    along, image = jax.jit(lambda at, way: jax.jvp(image, at, way)[1]), jax.jit(image)
    for which, x in enumerate(at):
        way = rng.standard_normal(x.shape).astype(np.float32)
        found = along(at, tuple(way if i == which else np.zeros_like(y) for i, y in enumerate(at)))
        ends = [image(*at[:which], x + np.float32(step) * way, *at[which + 1 :]) for step in (2e-4, -2e-4)]
        expected = (np.asarray(ends[0]) - np.asarray(ends[1])) / 4e-4
        # Steps that cross from a face's inside to its edge meet a kink.
        agree = np.abs(found - expected).max(axis=-1) < 0.02 * np.abs(expected).max()
        assert agree.mean() > 0.8 and np.abs(found).max() > 1e-3
    query = jax.grad(lambda x: jnp.sum(articulation.nearest_face(x, at[1], recorded["faces"]).distance))
    assert not jax.jit(query)(points).any()


def test_rays_meet_a_surface_where_planes_say(generator):
    """Of a lopsided tetrahedron: a ray is inside from the last plane that it enters to the first that it leaves."""
    corners = np.float32([[0.1, 0, 0], [1.3, 0.2, -0.1], [0.3, 0.9, 0.2], [0.2, 0.1, 1.1]])
    faces = np.int32([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    origins = np.float32(generator.standard_normal((400, 3)) * 2)
    ways = np.float32(corners.mean(0) + 0.5 * generator.standard_normal((400, 3))) - origins
    ways /= np.linalg.norm(ways, axis=-1, keepdims=True)
    a, b, c = np.moveaxis(corners[faces].astype(np.float64), 1, 0)
    normals = np.cross(b - a, c - a)
    slope, height = ways @ normals.T, np.sum((a - origins[:, None]) * normals, axis=-1)
    at = height / slope
    enter, leave = np.where(slope < 0, at, -np.inf).max(-1), np.where(slope > 0, at, np.inf).min(-1)
    expected = (enter < leave) & (leave > 0)
    near, far, hit = jax.jit(articulation.ray_limits)(Rays(jnp.asarray(origins), jnp.asarray(ways)), corners, faces)
    np.testing.assert_array_equal(hit, expected)
    assert 0.2 < expected.mean() < 0.8
    outside = expected & (enter > 0)
    np.testing.assert_allclose(np.asarray(near)[outside], enter[outside], atol=1e-5)
    np.testing.assert_allclose(np.asarray(far)[expected], leave[expected], atol=1e-5)
    assert not np.asarray(near)[~expected].any() and not np.asarray(far)[~expected].any()


def test_a_grown_surface_is_so_much_farther_out(recorded):
    faces, by = recorded["faces"], 0.01
    larger = jax.jit(articulation.grown)(recorded["posed"], faces, by)
    np.testing.assert_allclose(np.linalg.norm(larger - recorded["posed"], axis=-1), by, rtol=1e-3)
    found = nearest_face(larger, recorded["posed"], faces)
    assert np.median(found.distance) == pytest.approx(by, rel=0.1)


def test_wrong_rules_and_surfaces_are_refused(recorded):
    with pytest.raises(ValueError, match="rule is 'nearest'"):
        mapped("nearest", recorded, recorded["face"])
    with pytest.raises(ValueError, match="pass turned"):
        mapped("blend", recorded, recorded["face"])
    with pytest.raises(ValueError, match="vertex 3 is in no face"):
        articulation.incident(np.array([[0, 1, 2]]), 4)
